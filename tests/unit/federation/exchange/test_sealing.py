import os

import pytest

from federation.exchange import envelope as wire
from federation.exchange.epoch import first_position
from federation.exchange.rotating import require_in_life
from federation.exchange.sealing import Sealer, fenced
from federation.exchange.storage.sending import LaneName, SendingUnit
from federation.log.leaf import Leaf
from federation.log.storage import LogUnit
from registry.errors import ConflictError, ForbiddenError, HazlinkError, UnavailableError, UntrustedError
from registry.identifier import Prefix
from registry.trust.chain import chain_sha256
from registry.trust.encoding import b64u
from registry.trust.statement_key import LEEWAY_SECONDS, StatementKey
from tests.support.exchange_pair import PARK, TREE, WORKS, a_side
from tests.support.exchange_wire import a_draft
from tests.support.prefixes import NOW, MovedClock
from tests.support.trust import a_chain, a_signer

LANE = LaneName(WORKS, PARK, "register")


@pytest.fixture
def works(database, tmp_path):
    side = a_side(database, tmp_path, WORKS, MovedClock(), superior=PARK)
    yield side
    side.executor.shutdown()
    side.urgent.shutdown()


def leaves(side):
    with side.database.read() as connection:
        return [Leaf.decode(raw) for raw in LogUnit(connection).leaves(0, 10_000)]


def counted(side):
    with side.database.read() as connection:
        unit = SendingUnit(connection)
        return unit.count_pending(), unit.count_unsendable()


def test_drafts_get_numbers_without_gaps_each_linked_to_the_one_before(works):
    works.write("register", *({"n": n} for n in range(20)))
    assert works.sealer.seal("register", 15) == 15
    assert works.sealer.seal("register", 15) == 5
    assert works.sealer.seal("register", 15) == 0
    rows = works.sent("register")
    made = [wire.read(wire.parse(row.token)) for row in rows]
    assert [one.seq for one in made] == list(range(1, 21))
    assert [one.body for one in made] == [{"n": n} for n in range(20)]
    previous = first_position(WORKS, PARK, "register").prev
    for one in made:
        assert one.prev == previous
        previous = one.env
    assert made[0].chain == TREE.tokens_of("88.107.1001")
    assert {one.chain for one in made[1:]} == {chain_sha256(TREE.tokens_of("88.107.1001"))}
    assert [row.jti for row in rows] == [one.jti for one in made]
    assert [(leaf.kind, leaf.env, leaf.seq, leaf.at) for leaf in leaves(works)] == [
        ("out", one.env, one.seq, NOW) for one in made
    ]
    assert [row.out_index for row in rows] == list(range(20))
    assert counted(works) == (0, 0)


def test_lanes_and_streams_count_for_themselves(works):
    works.write("register", {"n": 1}, {"n": 2})
    works.write("alarm", {"n": 3})
    works.write("register", {"n": 4}, aud=Prefix.parse("88"))
    assert works.sealer.seal("alarm", 10) == 1
    assert works.sealer.seal("register", 10) == 3
    assert works.lane("alarm").next_seq == 2
    assert works.lane("register").next_seq == 3
    assert works.lane("register", Prefix.parse("88")).next_seq == 2


def test_no_lane_takes_all_the_room_of_a_chunk(works):
    works.write("register", *({"n": n} for n in range(50)))
    works.write("register", {"n": 50}, aud=Prefix.parse("88"))
    assert works.sealer.seal("register", 10) == 10
    assert works.lane("register", Prefix.parse("88")).next_seq == 2


def test_a_renewed_chain_goes_out_whole_once(works):
    works.write("register", {"n": 1}, {"n": 2})
    works.sealer.seal("register", 10)
    works.homes.tree = a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": {"ver": 2}})
    works.write("register", {"n": 3}, {"n": 4})
    works.sealer.seal("register", 10)
    made = [wire.read(wire.parse(row.token)) for row in works.sent("register")]
    assert [isinstance(one.chain, tuple) for one in made] == [True, False, True, False]
    for one in (made[1], made[3]):
        assert works.settlement.chain(one.chain) is not None


def test_a_process_that_lost_the_fence_signs_nothing(works):
    works.write("register", {"n": 1})
    with works.database.write() as connection:
        connection.exec_driver_sql("UPDATE counter SET next = next + 1 WHERE name = 'fence'")
    with pytest.raises(ConflictError):
        works.sealer.seal("register", 10)
    assert works.sent("register") == []
    assert counted(works) == (1, 0)
    works.marks.release()
    with pytest.raises(UnavailableError):
        works.sealer.seal("register", 10)


def test_fault_13_without_a_mark_on_the_disk_nothing_is_signed(works, monkeypatch):
    works.write("register", {"n": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(works.marks, "_fsync", full)
    with pytest.raises(UnavailableError):
        works.sealer.seal("register", 10)
    assert works.sent("register") == []
    assert leaves(works) == []
    monkeypatch.undo()
    assert works.sealer.seal("register", 10) == 1


@pytest.mark.parametrize("step", ["add", "remove_pending", "put_lane", "append"])
def test_fault_13_a_database_that_fails_at_any_step_leaves_nothing_behind(works, monkeypatch, step):
    works.write("register", {"n": 1}, {"n": 2})
    owner = LogUnit if step == "append" else SendingUnit
    whole = getattr(owner, step)

    def broken(self, *args, **other):
        whole(self, *args, **other)
        raise UnavailableError("registry.storage.unavailable", reason="disk I/O error")

    monkeypatch.setattr(owner, step, broken)
    with pytest.raises(UnavailableError):
        works.sealer.seal("register", 10)
    monkeypatch.undo()
    assert works.sent("register") == []
    assert counted(works) == (2, 0)
    assert works.sealer.seal("register", 10) == 2
    assert [row.seq for row in works.sent("register")] == [1, 2]


def test_a_later_epoch_in_the_mark_file_stops_the_signing(works):
    works.marks.reserve("88.107.1001|88.107|register", 3, 1)
    works.write("register", {"n": 1})
    with pytest.raises(UntrustedError):
        works.sealer.seal("register", 10)


def test_what_can_never_be_sealed_is_set_aside_and_nothing_waits_behind_it(works):
    works.write("register", {"n": 1})
    works.write("register", {"n": 2}, type_="no such type !")
    works.write("register", {"n": 3})
    assert works.sealer.seal("register", 10) == 2
    assert counted(works) == (0, 1)
    assert [row.seq for row in works.sent("register")] == [1, 2]


def test_a_suspended_prefix_waits_and_holds_up_no_other(database, tmp_path):
    side = a_side(
        database, tmp_path, PARK, MovedClock(), superior=Prefix.parse("88"), hosted=("88.107.1001",)
    )
    side.homes.superiors["88.107.1001"] = "88.107"
    honest = side.homes.signer_for

    def suspended(prefix):
        if prefix == WORKS:
            raise ForbiddenError("registry.prefixes.home_suspended", field="prefix", prefix=prefix.key)
        return honest(prefix)

    side.homes.signer_for = suspended
    with side.database.write() as connection:
        for n in range(20):
            side.outbox.append(connection, a_draft(body={"n": n}))
    side.write("register", {"n": 21})
    assert side.sealer.seal("register", 10) == 1
    assert counted(side) == (20, 0)
    side.homes.signer_for = honest
    assert side.sealer.seal("register", 100) == 20
    side.executor.shutdown()
    side.urgent.shutdown()


def a_tree_with_key(**life):
    key = StatementKey.of(a_signer("88.107.1001"), **life)
    return a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": {"keys": (key,)}})


def test_nothing_is_sealed_before_its_receiver_would_take_the_key(works):
    works.homes.tree = a_tree_with_key(nbf=NOW + LEEWAY_SECONDS + 60)
    works.write("register", {"n": 1})
    assert works.sealer.seal("register", 10) == 0
    assert counted(works) == (1, 0)
    works.clock.time += 59
    assert works.sealer.seal("register", 10) == 0
    works.clock.time += 1
    assert works.sealer.seal("register", 10) == 1
    (row,) = works.sent("register")
    made = wire.read(wire.parse(row.token))
    chain = works.homes.tree.verified("88.107.1001")
    assert chain.signing_key(made.kid, made.iat).kid == made.kid
    with pytest.raises(UntrustedError):
        chain.signing_key(made.kid, made.iat - 1)


def test_nothing_is_sealed_behind_the_end_of_a_key(works):
    works.homes.tree = a_tree_with_key(nbf=NOW - 1_000, exp=NOW - 1)
    works.write("register", {"n": 1})
    assert works.sealer.seal("register", 10) == 0
    # the clock is put right
    works.clock.time -= 1
    assert works.sealer.seal("register", 10) == 1


def test_a_clock_outside_the_life_of_the_key_is_told_with_both_times():
    chain = a_tree_with_key(nbf=NOW + 1_000).tokens_of("88.107.1001")
    kid = a_signer("88.107.1001").kid
    require_in_life(chain, kid, NOW + 1_000 - LEEWAY_SECONDS)
    require_in_life((), kid, 0)
    with pytest.raises(UnavailableError) as refused:
        require_in_life(chain, kid, NOW)
    for language in ("zh", "en"):
        said = refused.value.message(language)
        assert str(NOW) in said
        assert str(NOW + 1_000) in said


class ASource:
    stream = "flow"

    def __init__(self, *bodies, iss=WORKS, fails=False):
        self.bodies, self.iss, self.fails = list(bodies), iss, fails

    def collect(self, connection, limit):
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS cursor_of_test (n INTEGER)")
        if self.fails:
            raise UnavailableError("registry.storage.unavailable", reason="later")
        taken, self.bodies = self.bodies[:limit], self.bodies[limit:]
        return [a_draft(iss=self.iss, stream="flow", body=body) for body in taken]


def with_source(side, *sources):
    return Sealer(
        database=side.database,
        speakers=side.homes,
        marks=side.marks,
        may_sign=fenced(side.marks.fence),
        clock=side.clock,
        entropy=os.urandom,
        sources=sources,
    )


def test_a_source_is_asked_inside_the_transaction_and_gets_the_room_that_is_left(works):
    sealer = with_source(works, ASource({"n": 1}, {"n": 2}, {"n": 3}))
    works.write("flow", {"n": 0})
    assert sealer.seal("flow", 3) == 3
    assert sealer.seal("flow", 3) == 1
    bodies = [wire.read(wire.parse(row.token)).body for row in works.sent("flow")]
    assert bodies == [{"n": n} for n in range(4)]


def test_a_source_that_fails_does_not_hold_up_the_others(works):
    sealer = with_source(works, ASource(fails=True), ASource({"n": 1}))
    assert sealer.seal("flow", 3) == 1


def test_what_a_source_made_wrong_is_set_aside_and_not_made_again(works):
    sealer = with_source(works, ASource({1: "no text"}, {"n": 1}))
    assert sealer.seal("flow", 3) == 1
    assert counted(works) == (0, 1)
    assert sealer.seal("flow", 3) == 0


def test_what_a_source_made_for_a_prefix_that_may_not_sign_now_is_kept(works):
    sealer = with_source(works, ASource({"n": 1}, iss=PARK))
    assert sealer.seal("flow", 3) == 0
    assert counted(works) == (1, 0)


def test_a_large_body_is_kept_beside_its_envelope(works):
    works.write("report", {"text": "x" * 70_000}, b"\x00" * 10)
    assert works.sealer.seal("report", 10) == 2
    first, second = works.sent("report")
    assert works.settlement.body(second.body) == b"\x00" * 10
    detached = wire.read(wire.parse(first.token)).detached
    assert (detached.media, detached.sha256) == ("application/json", b64u(first.body))
    with pytest.raises(HazlinkError):
        works.settlement.body(bytes(32))


def test_an_envelope_keeps_the_name_its_draft_was_given(works):
    works.write("register", {"n": 1})
    with works.database.read() as connection:
        (waiting,) = SendingUnit(connection).pending(LANE, 10)
    works.sealer.seal("register", 10)
    assert works.sent("register")[0].jti == waiting.jti
