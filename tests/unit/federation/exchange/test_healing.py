import pytest

from federation.exchange.assessing import assess, is_behind
from federation.exchange.envelope import Position
from federation.exchange.recovery import healed_only
from federation.exchange.storage.healing import HealingUnit
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import LaneState, SendingUnit
from federation.log.leaf import Leaf
from federation.marks.content import RESERVED_AT_ONCE, CheckpointMark, Content, LaneMark, lane_name
from registry.errors import ConflictError, UnavailableError, UntrustedError
from registry.storage.engine import Database
from registry.trust.encoding import b64u
from registry.trust.historical import HistoricalKey, issue_history
from registry.trust.statement import StatementKey
from tests.support.exchange_healing import (
    LANE,
    FakeReceivers,
    a_works,
    restored,
    whole_picture,
)
from tests.support.exchange_nodes import a_desk
from tests.support.exchange_wire import PARK, WORKS, sealed
from tests.support.trust import DAY, NOW, a_chain, a_signer

NAME = lane_name(*LANE)
ORIGIN = "88.107.1001/log1"


# deciding


def marks(epoch=1, bound=1_000, *, sure=True, checkpoint=None):
    lanes = {NAME: LaneMark(epoch, bound)} if bound else {}
    return Content(bytes(16), 1, sure, lanes, {ORIGIN: checkpoint} if checkpoint else {})


def lane(next_seq=1, epoch=1, **other):
    return LaneState(LANE, epoch, next_seq, bytes(32), **other)


def mark(size, fill=1):
    return CheckpointMark(size, bytes([fill]) * 32)


def test_a_database_that_covers_everything_is_consistent():
    found = assess(marks(checkpoint=mark(9)), [lane(200)], origin=ORIGIN, size=9, witnessed=[mark(9)])
    assert found.consistent


def test_a_crash_between_reserving_and_committing_is_no_restore():
    assert not is_behind(LaneMark(1, RESERVED_AT_ONCE), None)
    assert not is_behind(LaneMark(1, 500 + RESERVED_AT_ONCE - 1), lane(400))


@pytest.mark.parametrize(
    ("state", "known"),
    [(None, LaneMark(2, 1_000)), (lane(50), LaneMark(2, 1_000)), (lane(50), LaneMark(1, 90_000))],
)
def test_numbers_that_were_certainly_used_show_a_lane_that_is_behind(state, known):
    assert is_behind(known, state)
    found = assess(
        Content(bytes(16), 1, lanes={NAME: known}), [state] if state else [], origin=ORIGIN, size=0
    )
    assert found.lanes == {NAME}
    assert not found.consistent


def test_a_lane_whose_receiver_knew_more_is_behind():
    found = assess(marks(), [lane(5, state="stopped", failure="behind")], origin=ORIGIN, size=0)
    assert found.lanes == {NAME}
    found = assess(marks(), [lane(5, state="stopped", failure="equivocation")], origin=ORIGIN, size=0)
    assert not found.lanes


def test_the_log_has_to_reach_the_furthest_checkpoint_that_was_signed():
    found = assess(marks(checkpoint=mark(9)), [], origin=ORIGIN, size=8)
    assert found.log == mark(9)
    found = assess(marks(checkpoint=mark(9)), [], origin=ORIGIN, size=9, witnessed=[mark(12, 2), mark(4)])
    assert found.log == mark(12, 2)
    assert assess(marks(checkpoint=mark(9)), [], origin="another/log1", size=0).log is None


def test_marks_made_anew_are_never_consistent():
    assert not assess(marks(sure=False, bound=0), [], origin=ORIGIN, size=0).consistent


# the sender was restored


async def test_where_nothing_was_lost_the_node_runs_at_once_whether_or_not_anybody_answers(works, park):
    works.send(park, 1, 2)
    works.publish()
    works.elected()
    works.mirror.silent = True
    done = await works.healer(FakeReceivers(park, silent=True)).heal(works.fence)
    assert (done.leaves, done.envelopes, done.epochs, done.new_log) == (0, 0, (), False)
    with works.database.read() as connection:
        assert HealingUnit(connection).is_healed()


async def test_fault_14_a_sender_restored_from_an_old_backup_notices_and_takes_everything_back(works, park):
    works.send(park, 1, 2)
    works.publish()
    works.write(3)  # waits for its number in the backup, and is sent after it
    picture = works.picture()
    works.send(park, 4, 5, 6, 7)
    works.publish()
    before, leaves = works.everything(), works.leaves()
    works.restore(picture)
    assert works.state().next_seq == 3
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.envelopes == 5
    assert done.leaves > 0
    assert done.new_log is False
    assert works.everything() == before
    assert works.leaves()[: len(leaves)] == leaves
    assert kinds(works)[len(leaves) :] == ["epoch"]
    assert works.publish() is not None  # continues what was signed
    # nothing is sent twice, and what comes now has a number that nobody can have used
    assert works.seal() == 0
    works.send(park, 8)
    assert works.everything().keys() == {*((1, seq) for seq in range(1, 8)), (2, 1)}
    assert works.state().acked_seq == 1
    assert works.unanswered() == []
    with park.database.read() as connection:
        row = ReceivedUnit(connection).lane((WORKS.key, PARK.key, "register"))
    assert (row.epoch, row.next_seq) == (2, 2)


@pytest.mark.parametrize("listed", [True, False])
async def test_fault_14_what_a_key_signed_that_was_rotated_since_comes_back_by_the_list_of_keys(
    works, park, listed
):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.send(park, 2, 3)
    works.publish()
    before, old = works.everything(), a_signer(WORKS.key)
    works.restore(picture)
    new = StatementKey.of(a_signer("the works' next key"), nbf=NOW)
    works.homes.tree = a_chain("88", "88.107", "88.107.1001", changed={WORKS.key: {"keys": (new,), "ver": 2}})
    kept = HistoricalKey(kid=old.kid, alg=old.alg, jwk=old.jwk, use="sig", iat=NOW - DAY, exp=NOW + DAY)
    token = issue_history(a_signer("88.107"), issuer=PARK, subject=WORKS, ver=1, iat=NOW, keys=[kept])
    works.history = {WORKS: token if listed else None}.get
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    # without the list the node no longer knows its own hand
    assert done.envelopes == (2 if listed else 0)
    assert (works.everything() == before) is listed
    assert (done.epochs, done.stopped) == ((LANE,), ())


@pytest.mark.parametrize("told", [True, False])
async def test_fault_14_what_was_sealed_and_never_witnessed_comes_back_from_the_receiver_alone(
    works, park, told
):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.send(park, 2, 3)  # no checkpoint after these
    before = works.everything()
    works.restore(picture, told=told)
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    # marks and log agree: where nobody said that it was restored, a short look at the receiver is what finds it
    assert done.envelopes == 2
    assert works.everything() == before
    assert done.epochs == (LANE,)
    works.publish()
    works.send(park, 4)
    assert works.everything().keys() == {(1, 1), (1, 2), (1, 3), (2, 1)}
    assert works.state().acked_seq == 1


async def test_fault_14_a_restored_sender_signs_nothing_while_nobody_can_be_asked(works, park):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.send(park, 2)
    works.publish()
    works.restore(picture)
    for silent in ("mirror", "receiver"):
        works.mirror.silent = silent == "mirror"
        with pytest.raises(UnavailableError):
            await works.healer(FakeReceivers(park, silent=silent == "receiver")).heal(works.fence)
        with works.database.read() as connection:
            assert not HealingUnit(connection).is_healed()
        if silent == "mirror":
            with pytest.raises(
                UntrustedError
            ):  # the log is behind its mark: the writer refuses on its own as well
                works.writer().publish()
    works.mirror.silent = False
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.envelopes == 1


async def test_fault_14_what_nobody_has_any_more_goes_on_in_a_new_epoch(works, park):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.write(2)
    works.seal()  # signed, logged and witnessed, but it never arrived
    works.publish()
    used = works.everything()
    works.restore(picture)
    works.write(3)
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.epochs == (LANE,)
    assert not done.new_log
    state = works.state()
    assert (state.epoch, state.next_seq) == (2, 1)
    lines = works.send(park, 4)
    assert [line.status for line in lines] == [200, 200]
    assert works.everything().keys() == {(1, 1), (2, 1), (2, 2)}
    assert set(works.everything()) & (set(used) - {(1, 1)}) == set()
    works.publish()


async def test_fault_14_a_log_that_cannot_be_rebuilt_is_closed_and_lanes_begin_anew(works, park):
    works.send(park, 1)
    works.publish()
    works.write(2)
    works.seal()  # in the backup already, and never arrives
    picture = works.picture()
    works.write(3)
    works.seal()
    works.publish(witnessed=False)  # signed, but the witness has not got the leaves
    works.restore(picture)
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.new_log
    assert done.epochs == (LANE,)
    assert works.origins[-1] == "88.107.1001/log2"
    # what was sealed in the old epoch and never answered gets a new number
    assert works.seal() == 1
    assert [line.status for line in works.deliver(park)] == [200]
    assert works.everything().keys() == {(1, 1), (1, 2), (2, 1)}
    assert works.publish().origin == "88.107.1001/log2"


async def test_with_a_new_mark_file_every_peer_is_asked_before_anything_is_signed(works, park):
    works.send(park, 1, 2)
    works.publish()
    picture = works.picture()
    works.send(park, 3)
    works.publish()
    works.marks.path.unlink()
    works.marks.create(bytes(16), sure=False)
    works.restore(picture)
    works.mirror.silent = True
    with pytest.raises(UnavailableError):
        await works.healer(FakeReceivers(park)).heal(works.fence)
    works.mirror.silent = False
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.envelopes == 1
    assert works.marks.content().sure
    # nobody knows which numbers and which checkpoints were signed and never arrived
    assert (done.epochs, done.new_log) == ((LANE,), True)
    works.send(park, 4)
    assert works.everything().keys() == {(1, 1), (1, 2), (1, 3), (2, 1)}
    assert works.publish().origin == "88.107.1001/log2"
    works.elected()
    again = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert (again.epochs, again.new_log) == ((), False)


async def test_a_healing_that_was_interrupted_is_gone_on_with(works, park):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.send(park, 2, 3, 4, 5)
    works.publish()
    before, leaves = works.everything(), works.leaves()
    works.restore(picture)
    receivers = FakeReceivers(park)
    receivers.silent = True  # the leaves come back, then the receiver is gone
    with pytest.raises(UnavailableError):
        await works.healer(receivers).heal(works.fence)
    assert works.leaves() == leaves
    works.elected()
    receivers.silent = False
    assert works.recovery().under_way()
    await works.healer(receivers).heal(works.fence)
    assert works.everything() == before
    assert works.leaves()[: len(leaves)] == leaves
    assert kinds(works)[len(leaves) :] == ["epoch"]
    assert not works.recovery().under_way()


async def test_a_lane_stopped_because_its_receiver_knew_more_is_opened_again(works, park):
    works.send(park, 1)
    picture = works.picture()
    works.send(park, 2)
    works.restore(picture)
    works.recovery().stop_lane(LANE, "behind")
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.envelopes == 1
    assert done.epochs == (LANE,)
    assert works.state().state == "open"
    works.send(park, 3)
    assert works.everything().keys() == {(1, 1), (1, 2), (2, 1)}
    assert works.state().acked_seq == 1


async def test_receipts_that_were_lost_come_back_too(works, park):
    works.send(park, 1)
    works.write(2)
    works.seal()
    works.deliver(park, keep_answer=True)
    picture = works.picture()
    works.deliver(park)
    works.send(park, 3)
    works.publish()
    works.restore(picture)
    await works.healer(FakeReceivers(park)).heal(works.fence)
    assert works.unanswered() == []
    assert works.everything().keys() == {(1, 1), (1, 2), (1, 3)}
    assert all(receipts(works))


@pytest.mark.parametrize("harm", ["other receipt", "skipped", "flipped", "others", "for ever"])
async def test_what_a_receiver_gives_back_wrongly_is_not_believed_and_the_lane_begins_anew(works, park, harm):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.send(park, 2, 3, 4)
    works.publish()
    works.restore(picture)
    first = []

    def altered(found):
        first.extend(found[:1])
        if harm == "other receipt":
            return [type(one)(one.token, found[-1].receipt) for one in found]
        if harm == "skipped":
            return found[1:]
        if harm == "flipped":
            token = bytearray(found[0].token)
            token[-9] = ord("A") if token[-9] != ord("A") else ord("B")
            return [type(found[0])(bytes(token), found[0].receipt)]
        if harm == "others":
            alien = sealed(signer=a_signer("somebody else"), position=Position(1, 2, b64u(bytes(32))))
            return [type(found[0])(alien.token.encode(), found[0].receipt)]
        return first[:1]

    done = await works.healer(FakeReceivers(park, altered=lambda found: found and altered(found))).heal(
        works.fence
    )
    assert done.epochs == (LANE,)
    assert set(works.everything()) == {(1, 1)} | ({(1, 2)} if harm == "for ever" else set())
    works.send(park, 5)
    assert (works.state().epoch, works.state().acked_seq) == (2, 1)


async def test_another_process_that_took_over_ends_the_healing(works, park):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.send(park, 2)
    works.publish()
    works.restore(picture)
    healer = works.healer(FakeReceivers(park))
    stale = works.fence
    works.marks.take(bytes(16), 0)
    with pytest.raises(ConflictError):
        await healer.run(stale)


async def test_fault_06_nothing_is_signed_while_a_superior_names_a_key_that_is_not_here(works, park):
    works.send(park, 1)
    works.publish()
    works.restore(works.picture())

    async def confirm():
        raise UntrustedError("registry.prefixes.key_foreign", field="chain", prefix="88.107.1001", value="k")

    works.confirm = confirm
    healer = works.healer(FakeReceivers(park))
    before = works.leaves()
    with pytest.raises(UntrustedError):
        await healer.heal(works.fence)
    assert works.leaves() == before
    assert works.state().epoch == 1
    with works.database.read() as connection:
        assert not HealingUnit(connection).is_healed()


# the gate for what is received


def test_fault_13_nothing_is_received_before_the_term_of_office_has_looked(works):
    works.elected()
    gate = healed_only(works.marks.fence, alone=True)
    with works.database.read() as connection, pytest.raises(UnavailableError):
        gate(connection)
    works.recovery().finish(works.fence)
    with works.database.read() as connection:
        gate(connection)
    works.elected()  # a new term has to look again
    with works.database.read() as connection, pytest.raises(UnavailableError):
        gate(connection)
    works.recovery().finish(works.fence)
    works.marks.release()
    with works.database.read() as connection:
        healed_only(works.marks.fence, alone=False)(connection)
        with pytest.raises(UnavailableError):
            gate(connection)


# the receiver was restored


async def test_fault_15_a_restored_receiver_makes_the_same_receipts_and_its_log_does_not_fork(
    works, tmp_path
):
    park_works = a_works_of_the_park(tmp_path)
    park = a_desk(park_works.database)
    works.send(park, 1, 2)
    park_works.publish()
    picture = whole_picture(park_works.database)
    works.send(park, 3, 4, 5)
    park_works.publish()
    rows = sorted(works.everything().items())
    kept = receipts(works)
    leaves = park_works.leaves()
    restored(park_works.database, picture)
    park_works.elected()
    await park_works.healer(NobodyAbove()).heal(park_works.fence)
    assert park_works.leaves() == leaves
    # the sender fills the gap again, and goes on
    tokens = [token for _, token in sorted(tokens_of(works).items())]
    lines = park.receiver.receive(WORKS, "register", tokens[2:])
    assert [line.receipt.encode() for line in lines] == kept[2:]
    assert park_works.leaves() == leaves
    works.send(park, 6)
    assert works.state().acked_seq == 6
    assert park_works.leaves()[: len(leaves)] == leaves
    assert kinds(park_works).count("in") == 6
    assert park_works.publish() is not None
    assert len(rows) == 5
    park_works.executor.shutdown()
    park_works.database.close()


class NobodyAbove(FakeReceivers):
    """The park of this test sends nothing."""

    def __init__(self):
        super().__init__(desk=None)

    def reaches(self, lane):
        return False

    def superiors(self):
        return []


def a_works_of_the_park(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'park2.sqlite3'}")
    made = a_works(database, tmp_path / "park2")
    made.origins = ["88.107/log1"]
    return made


def kinds(works):
    return [Leaf.decode(raw).kind for raw in works.leaves()]


def tokens_of(works):
    with works.database.read() as connection:
        rows = SendingUnit(connection).batch(LANE, (0, 0), limit=1_000, max_bytes=1 << 24)
    return {(row.epoch, row.seq): row.token for row in rows}


def receipts(works):
    with works.database.read() as connection:
        rows = SendingUnit(connection).batch(LANE, (0, 0), limit=1_000, max_bytes=1 << 24)
    return [row.receipt for row in rows]
