from dataclasses import replace

import pytest

from federation.exchange.config import ExchangeConfig
from federation.exchange.status import ExchangeStatus, Level, Reason
from federation.exchange.storage.sending import LaneName, SendingUnit
from federation.log.reading import LogReader
from registry.errors import UnavailableError, UntrustedError
from tests.support.exchange_pair import PARK, WORKS, a_side
from tests.support.prefixes import NOW, MovedClock
from tests.support.trust import DAY
from tests.unit.federation.exchange.test_heads import a_head


class Around:
    """What the status is told from outside the database."""

    def __init__(self):
        self.stopped, self.skews, self.disk = None, {}, 0.1
        self.besides = ()


@pytest.fixture
def around():
    return Around()


@pytest.fixture
def side(database, tmp_path):
    made = a_side(database, tmp_path, WORKS, MovedClock(), superior=PARK)
    yield made
    made.executor.shutdown()
    made.urgent.shutdown()


@pytest.fixture
def status(side, around):
    return ExchangeStatus(
        database=side.database,
        homes=side.homes,
        log=LogReader(side.database),
        writer_stopped=lambda: around.stopped,
        skews=lambda: around.skews,
        disk=lambda: around.disk,
        clock=side.clock,
        config=ExchangeConfig(),
        besides=lambda: around.besides,
    )


def codes(report):
    return [(reason.level.value, reason.error.code.rpartition(".")[2]) for reason in report.reasons]


def test_what_those_above_the_exchange_have_to_say_counts_as_well(status, around):
    said = Reason(Level.AMBER, UnavailableError("federation.escrow.serving"), whole=False)
    around.besides = (said,)
    report = status.report()
    assert (report.level, report.reasons) == (Level.AMBER, (said,))
    assert status.check() is None
    around.besides = (replace(said, level=Level.RED, whole=True),)
    assert status.check() is said.error


def test_a_node_that_does_nothing_is_green(status):
    report = status.report()
    assert (report.level, report.reasons) == (Level.GREEN, ())
    assert status.check() is None
    assert set(report.numbers().values()) == {0, 0.1}


def test_what_waits_is_counted_and_turns_amber_and_red_with_its_age(status, side):
    side.write("register", {"n": 1}, {"n": 2})
    side.sealer.seal("register", 1)
    side.log.publish()
    report = status.report()
    assert (report.pending, report.sending[0].state.unsent, report.sending[0].oldest_at) == (1, 1, NOW)
    assert report.level is Level.GREEN
    side.clock.time += 1_000
    report = status.report()
    assert codes(report) == [("amber", "unsent"), ("amber", "pending")]
    assert status.check() is None
    assert report.numbers()["exchange_oldest_unsent_seconds"] == 1_000
    side.clock.time += DAY
    assert ("red", "unsent") in codes(status.report())
    assert status.check().code.endswith("unsent")


def test_a_clock_that_stands_before_the_life_of_the_key_is_red(status, side):
    assert codes(status.report()) == []
    # the keys of the tree are good from a month ago
    side.clock.time -= 31 * DAY
    assert codes(status.report()) == [("red", "key")]
    assert str(side.clock.time) in status.check().message("zh")


def test_fault_25_a_key_that_cannot_be_used_is_red(status, side):
    def locked(prefix):
        raise UnavailableError("registry.trust.key_locked", field="passphrase", value=prefix.key)

    side.homes.signer_for = locked
    assert codes(status.report()) == [("red", "key")]
    error = status.check()
    assert "88.107.1001" in error.message("zh")
    assert error.message("zh") != error.message("en")


def test_fault_25_a_log_writer_that_stopped_or_stands_still_is_red(status, side, around):
    around.stopped = UntrustedError("federation.log.proof_inclusion", field="index", value=3)
    assert codes(status.report()) == [("red", "writer")]
    around.stopped = None
    side.write("register", {"n": 1})
    side.sealer.seal("register", 1)
    assert status.report().level is Level.GREEN
    side.clock.time += 120
    assert codes(status.report()) == [("red", "stuck")]
    side.log.publish()
    assert status.report().level is Level.GREEN


@pytest.mark.parametrize(
    ("share", "found"), [(0.5, []), (0.85, [("amber", "disk")]), (0.95, [("red", "disk")])]
)
def test_fault_25_a_disk_nearly_full_is_red(status, around, share, found):
    around.disk = share
    assert codes(status.report()) == found


@pytest.fixture
def park(database, tmp_path):
    made = a_side(database, tmp_path, PARK, MovedClock())
    made.homes.delegated[WORKS.key] = made.desk.homes.tree.tokens_of(WORKS.key)
    yield made
    made.executor.shutdown()
    made.urgent.shutdown()


@pytest.fixture
def park_status(park, around):
    return ExchangeStatus(
        database=park.database,
        homes=park.homes,
        log=LogReader(park.database),
        writer_stopped=lambda: None,
        skews=lambda: around.skews,
        disk=lambda: around.disk,
        clock=park.clock,
        config=ExchangeConfig(),
    )


def test_fault_25_the_lag_is_the_senders_word_and_one_that_is_hidden_is_red(park, park_status):
    park.heads.take(WORKS, [a_head(last_seq=12)])
    report = park_status.report()
    assert [(one.lag, one.silent, one.hidden) for one in report.receiving] == [(12, False, False)]
    assert report.level is Level.GREEN
    for _ in range(7):
        park.clock.time += 60
        park.heads.take(WORKS, [a_head(last_seq=12, at=park.clock.time)])
        report = park_status.report()
    assert codes(report) == [("red", "hidden")]
    assert park_status.check() is not None


def test_a_sender_that_says_nothing_any_more_is_amber(park, park_status):
    park.heads.take(WORKS, [a_head(last_seq=2)])
    park.clock.time += 3_600
    assert codes(park_status.report()) == [("amber", "silent")]


def test_a_large_lag_that_moves_is_amber(park, park_status):
    park.heads.take(WORKS, [a_head(last_seq=50_000)])
    assert codes(park_status.report()) == [("amber", "lag")]
    park.heads.take(WORKS, [a_head(epoch=2, last_seq=20_000, at=NOW + 1)])
    assert park_status.report().receiving[0].lag == 20_000


def test_a_lane_that_stopped_is_red_but_the_node_serves_on(status, side):
    side.write("register", {"n": 1})
    side.sealer.seal("register", 1)
    with side.database.write() as connection:
        SendingUnit(connection).stop(LaneName(WORKS, PARK, "register"), "equivocation", NOW)
    report = status.report()
    assert codes(report) == [("red", "stopped")]
    assert report.level is Level.RED
    assert status.check() is None


def test_fault_18_a_clock_that_is_off_only_warns(status, around):
    around.skews = {"88.107": -86_400.0, "88": 10.0}
    assert codes(status.report()) == [("amber", "skew")]
    assert status.report().numbers()["exchange_skew_seconds"] == 86_400
    assert status.check() is None


def test_the_end_of_a_chain_is_seen_coming(status, side):
    side.clock.time = NOW + 80 * DAY
    assert codes(status.report()) == [("amber", "expires")]
    side.clock.time = NOW + 91 * DAY
    assert codes(status.report()) == [("red", "expired")]


def test_what_could_not_be_sent_at_all_is_shown(status, side):
    side.write("register", {"n": 1}, type_="no type !")
    side.sealer.seal("register", 1)
    assert codes(status.report()) == [("amber", "unsendable")]


def test_every_reason_is_told_in_both_languages(status, side, around):
    around.skews, around.disk = {"88": 9_999.0}, 0.99
    side.write("register", {"n": 1}, {"n": 2})
    side.sealer.seal("register", 1)
    side.clock.time += 100 * DAY
    report = status.report()
    assert len(report.reasons) >= 5
    for reason in report.reasons:
        assert reason.error.message("zh") != reason.error.message("en")
        assert "{" not in reason.error.message("zh") + reason.error.message("en")
    assert replace(report, reasons=()).level is Level.GREEN
