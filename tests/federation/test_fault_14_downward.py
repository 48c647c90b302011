"""A superior restored from an old backup: its lanes to its children, whom it cannot reach, go on in new epochs."""

import orjson
import pytest

from federation.exchange import envelope as wire
from federation.exchange import epoch as epochs
from federation.exchange.healing import Healer
from federation.exchange.healing_log import LogHealing
from federation.exchange.healing_peers import HomeKeys
from federation.exchange.recovery import Recovery
from federation.exchange.sealing import fenced
from federation.exchange.storage.received import ReceivedUnit
from registry.errors import UntrustedError
from registry.identifier import Prefix
from tests.support.exchange_healing import FakeMirror, restored, whole_picture
from tests.support.exchange_nodes import Noted, a_desk
from tests.support.exchange_pair import PARK, TREE, WORKS, Side, a_database, a_pair
from tests.support.trust import a_signer

TOP = Prefix.parse("88")


class TopOnly:
    """The superior of the park consents; the children come and fetch. Implements `Receivers`."""

    def __init__(self, top):
        self.top = top

    def reaches(self, lane):
        return False

    def superiors(self):
        return []

    async def sent(self, lane, epoch, after):
        raise AssertionError

    async def countersign(self, iss, statement):
        return self.top.inbound.countersign(iss, statement)


@pytest.fixture
def top(tmp_path):
    database = a_database(tmp_path / "top")
    desk = a_desk(database, "88", tree=TREE)
    desk.inbound.introduce(PARK, TREE.tokens_of("88.107"))
    yield desk
    database.close()


def a_healer(park: Side, mirror: FakeMirror, top) -> Healer:
    return Healer(
        recovery=Recovery(
            database=park.database,
            own_keys=HomeKeys(park.homes),
            receiver_keys=park.reaching,
            may_sign=fenced(park.marks.fence),
            clock=park.clock,
        ),
        marks=park.marks,
        log=LogHealing(
            database=park.database,
            origin=lambda: f"{PARK.key}/log1",
            mirrors=lambda: [mirror],
            executor=park.executor,
        ),
        receivers=TopOnly(top),
        speakers=park.homes,
        renew_log=lambda last: None,
        clock=park.clock,
        executor=park.executor,
    )


async def say(pair, *numbers):
    """The park says something, and the works fetch it."""
    pair.park.write("control", *({"n": n} for n in numbers), aud=WORKS)
    pair.park.sealer.seal("control", 100)
    await fetch(pair)


async def fetch(pair):
    for _ in range(3):
        if not await pair.works.poller.once(WORKS, PARK, "control"):
            break


def arrived(pair):
    """What the works took in, in order: number of the epoch and content."""
    with pair.works.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT token FROM exchange_in ORDER BY epoch, seq").all()
    made = [wire.read(wire.parse(bytes(token))) for (token,) in rows]
    return [(one.epoch, one.body["n"]) for one in made]


def acting(pair):
    """Let the works act on what they are told; return what they acted on, in order."""
    handler = Noted(type="control.note", stream="control")
    pair.works.desk.handlers.register(handler)
    return handler.got


async def restore(pair, top, *, said_after=(4, 5), answered=True):
    """Say 1 to 3, take a backup, say some more, and come back as of the backup."""
    park, mirror = pair.park, FakeMirror()
    await say(pair, 1, 2, 3)
    if not answered:
        with park.database.write() as connection:
            connection.exec_driver_sql("UPDATE exchange_lane SET acked_seq = 2")
            connection.exec_driver_sql("UPDATE exchange_out SET receipt = NULL WHERE seq = 3")
    picture = whole_picture(park.database)
    await say(pair, *said_after)
    park.log.publish()
    mirror.follow(park.database)
    restored(park.database, picture)
    return await a_healer(park, mirror, top).heal(park.marks.fence())


async def test_fault_14_a_restored_superior_goes_on_with_its_child_in_an_epoch_its_own_superior_consented_to(
    tmp_path, top
):
    async with a_pair(tmp_path) as pair:
        done = await restore(pair, top)
        assert [tuple(lane) for lane in done.epochs] == [(PARK, WORKS, "control")]
        assert (done.stopped, done.new_log) == ((), False)
        state = pair.park.lane("control", WORKS)
        assert (state.epoch, state.next_seq, state.state) == (2, 1, "open")
        await say(pair, 6, 7)
        assert arrived(pair) == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 6), (2, 7)]
        assert pair.park.lane("control", WORKS).acked_seq == 2
        await say(pair, 8)
        assert arrived(pair)[-1] == (2, 8)


async def test_fault_14_the_announcement_stands_before_the_first_envelope_and_only_for_who_needs_it(
    tmp_path, top
):
    async with a_pair(tmp_path) as pair:
        await restore(pair, top)
        pair.park.write("control", {"n": 6}, aud=WORKS)
        pair.park.sealer.seal("control", 100)
        outbound = pair.park.app.state.node.exchange.outbound

        async def kinds(*after):
            lines = await outbound.poll(WORKS, "control", after, 0)
            return [next(iter(orjson.loads(line))) if line[:1] == b"{" else "token" for line in lines]

        assert await kinds(1, 5) == ["epoch", "token"]
        assert await kinds(2, 0) == ["token"]
        # a child that was restored as well gets again what was answered, then the epoch
        assert await kinds(1, 1) == ["chain", "token", "token", "epoch", "token"]


async def test_fault_14_a_child_that_lost_its_store_as_well_goes_through_both_epochs(tmp_path, top):
    async with a_pair(tmp_path) as pair:
        await restore(pair, top)
        await say(pair, 6)
        with pair.works.database.write() as connection:
            for table in ("exchange_in", "exchange_in_position", "exchange_epoch", "exchange_chain"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        pair.works.desk.chains._newest.clear()
        await say(pair, 7)
        # what nobody has any more is named by the announcement: 4 and 5
        assert arrived(pair) == [(1, 1), (1, 2), (1, 3), (2, 6), (2, 7)]
        with pair.works.database.read() as connection:
            (opened,) = ReceivedUnit(connection).epochs((PARK.key, WORKS.key, "control"))
        assert (opened.old_epoch, opened.last_seq_known, opened.epoch) == (1, 5, 2)


async def test_fault_14_what_the_old_epoch_left_without_a_receipt_is_given_in_the_new_one_alone(
    tmp_path, top
):
    async with a_pair(tmp_path) as pair:
        await restore(pair, top, answered=False)
        pair.park.sealer.seal("control", 100)
        lines = await pair.park.app.state.node.exchange.outbound.poll(WORKS, "control", (1, 2), 0)
        made = [wire.read(wire.parse(line)) for line in lines if line[:1] != b"{"]
        assert [(one.epoch, one.seq, one.body["n"]) for one in made] == [(2, 1, 3)]


@pytest.mark.parametrize("waited", [False, True])
async def test_fault_14_what_a_child_took_in_before_the_restore_has_its_effect_once(tmp_path, top, waited):
    """Number 3 was sealed, or waited for its number, at the backup; the child got it after, and acted on it."""
    async with a_pair(tmp_path) as pair:
        done_below = acting(pair)
        park, mirror = pair.park, FakeMirror()
        await say(pair, 1, 2)
        park.write("control", {"n": 3}, aud=WORKS)
        if not waited:
            park.sealer.seal("control", 100)
        picture = whole_picture(park.database)
        park.sealer.seal("control", 100)
        await fetch(pair)
        assert [one.body["n"] for one in done_below] == [1, 2, 3]
        park.log.publish()
        mirror.follow(park.database)
        restored(park.database, picture)
        done = await a_healer(park, mirror, top).heal(park.marks.fence())
        assert [tuple(lane) for lane in done.epochs] == [(PARK, WORKS, "control")]
        await say(pair, 4)
        assert arrived(pair) == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4)]
        assert [one.body["n"] for one in done_below] == [1, 2, 3, 4]
        # its number is used up and it has its receipt, like any other
        assert park.lane("control", WORKS).acked_seq == 2


async def test_fault_14_other_content_under_a_name_that_was_used_has_its_own_effect(tmp_path, top):
    async with a_pair(tmp_path) as pair:
        done_below = acting(pair)
        await restore(pair, top)
        park = pair.park
        with pair.works.database.read() as connection:
            name = connection.exec_driver_sql("SELECT jti FROM exchange_in WHERE seq = 1").scalar_one()
        assert name is not None
        for number in (1, 9):
            park.write("control", {"n": number}, aud=WORKS)
            with park.database.write() as connection:
                connection.exec_driver_sql("UPDATE exchange_pending SET jti = ?", (name,))
            park.sealer.seal("control", 100)
        await fetch(pair)
        assert arrived(pair)[-2:] == [(2, 1), (2, 9)]
        assert [one.body["n"] for one in done_below] == [1, 2, 3, 4, 5, 9]


@pytest.mark.parametrize("by", ["88.107", "88.107.1001", "thief"])
async def test_fault_14_an_announcement_without_the_right_consent_opens_nothing(tmp_path, top, by):
    async with a_pair(tmp_path) as pair:
        await restore(pair, top)
        with pair.park.database.write() as connection:
            (opened,) = ReceivedUnit(connection).epochs((PARK.key, WORKS.key, "control"))
            forged = epochs.countersign(a_signer(by), epochs.read(opened.statement), iss=TOP, iat=opened.at)
            connection.exec_driver_sql("UPDATE exchange_epoch SET countersigned = ?", (forged,))
        with pytest.raises(UntrustedError):
            await say(pair, 6)
        assert arrived(pair)[-1] == (1, 5)
