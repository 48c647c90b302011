import asyncio
import os

import httpx
import pytest

from federation.exchange import receipt as receipts
from federation.exchange.lane import Lane, Send
from federation.exchange.receipt import Expected, Line
from federation.exchange.settling import read_answer
from federation.exchange.storage.sending import LaneName, SendingUnit
from federation.log.leaf import Leaf
from federation.log.merkle import leaf_hash
from federation.log.storage import LogUnit
from registry.errors import ConflictError, HazlinkError, UnavailableError, UntrustedError
from registry.trust.encoding import b64u
from tests.support.exchange_pair import PARK, WORKS, a_pair, a_side, until
from tests.support.plans import plans
from tests.support.prefixes import NOW, MovedClock
from tests.support.trust import a_signer

LANE = LaneName(WORKS, PARK, "register")


@pytest.fixture
def works(database, tmp_path):
    side = a_side(database, tmp_path, WORKS, MovedClock(), superior=PARK)
    side.write("register", *({"n": n} for n in range(5)))
    side.sealer.seal("register", 10)
    yield side
    side.executor.shutdown()
    side.urgent.shutdown()


def an_answer(row, code="ok", *, signer=None, index=None, **other):
    """The line of a receiver that logged the envelope, or did not."""
    content = {
        "iss": PARK,
        "aud": WORKS,
        "env": b64u(row.env),
        "stream": row.lane.stream,
        "epoch": row.epoch,
        "seq": row.seq,
        "code": code,
        "received_at": NOW,
        "credit": 256,
    }
    made = receipts.CODES[code]
    if made.outcome in receipts.FINAL:
        leaf = Leaf(
            kind="in",
            env=content["env"],
            iss=WORKS.handle.text,
            aud=PARK.handle.text,
            stream=row.lane.stream,
            epoch=row.epoch,
            seq=row.seq,
            at=NOW,
            outcome=made.outcome,
            code=code,
        )
        content |= {"leaf_index": index or row.seq, "leaf": b64u(leaf_hash(leaf.encode()))}
    return Line(made.status, receipts.issue(signer or a_signer("88.107"), **{**content, **other}))


def settled(side, lines, *, rows=None):
    rows = rows or side.sent("register")[: len(lines)]
    memory = Lane(WORKS, PARK, "register", epoch=1, acked_seq=0, entropy=os.urandom)
    plan = memory.plan(5, 0.0)
    side.settlement.settle(memory, Send(1, plan.first, len(rows)), rows, lines, 0.0)
    return memory


def test_receipts_are_stored_with_a_leaf_each_and_move_the_lane_on(works):
    rows = works.sent("register")
    lines = [an_answer(rows[0]), an_answer(rows[1], "business"), an_answer(rows[2], "unknown_type")]
    settled(works, lines)
    state = works.lane("register")
    assert (state.acked_seq, state.rejected, state.unsent, state.failure) == (3, 1, 2, None)
    found = works.sent("register")
    assert [(row.outcome, row.code) for row in found[:3]] == [
        ("accepted", "ok"),
        ("rejected", "business"),
        ("unapplied", "unknown_type"),
    ]
    assert [row.receipt.decode() for row in found[:3]] == [line.receipt for line in lines]
    with works.database.read() as connection:
        acks = [Leaf.decode(raw) for raw in LogUnit(connection).leaves(5, 10)]
    assert [(leaf.kind, leaf.env, leaf.at, leaf.rcpt) for leaf in acks] == [
        ("ack", b64u(row.env), NOW, receipts.read(line.receipt).sha256)
        for row, line in zip(rows, lines, strict=False)
    ]
    assert [row.ack_index for row in found[:3]] == [5, 6, 7]


def wrong_leaf(row):
    return an_answer(row, leaf=b64u(bytes(32)))


def wrong_signature(row):
    line = an_answer(row)
    head, payload, signature = line.receipt.split(".")
    return Line(line.status, f"{head}.{payload}.{signature[:-4]}AAAA")


@pytest.mark.parametrize(
    "lie",
    [
        lambda row: an_answer(row, signer=a_signer("somebody")),
        lambda row: an_answer(row, signer=a_signer("88.107.1001")),
        lambda row: an_answer(row, env=b64u(bytes(32))),
        lambda row: an_answer(row, seq=9),
        lambda row: an_answer(row, stream="flow"),
        lambda row: an_answer(row, aud=PARK),
        lambda row: an_answer(row, iss=WORKS),
        wrong_leaf,
        wrong_signature,
        lambda _: Line(200, "no.receipt.atall"),
        lambda _: Line(200, code="ok"),
    ],
)
def test_what_is_not_a_signed_receipt_about_this_envelope_is_no_receipt(works, lie):
    row = works.sent("register")[0]
    memory = settled(works, [lie(row)], rows=[row])
    assert works.lane("register").acked_seq == 0
    assert works.sent("register")[0].receipt is None
    assert works.lane("register").failure is not None
    assert memory.attempt == 1


def test_a_receipt_that_comes_again_must_be_the_same_and_is_not_logged_twice(works):
    row = works.sent("register")[0]
    line = an_answer(row)
    settled(works, [line], rows=[row])
    with works.database.read() as connection:
        size = LogUnit(connection).size()
    (stored,) = works.sent("register")[:1]
    settled(works, [line], rows=[stored])
    assert works.lane("register").failure is None
    settled(works, [an_answer(row, index=99)], rows=[stored])
    assert works.lane("register").failure == "receipt_changed"
    assert works.sent("register")[0].receipt.decode() == line.receipt
    with works.database.read() as connection:
        assert LogUnit(connection).size() == size


@pytest.mark.parametrize("step", ["acknowledge", "put_lane"])
def test_fault_13_receipts_that_cannot_be_stored_are_asked_for_again(works, monkeypatch, step):
    whole = getattr(SendingUnit, step)

    def broken(self, *args, **other):
        whole(self, *args, **other)
        raise UnavailableError("registry.storage.unavailable", reason="disk full")

    monkeypatch.setattr(SendingUnit, step, broken)
    row = works.sent("register")[0]
    with pytest.raises(UnavailableError):
        settled(works, [an_answer(row)], rows=[row])
    monkeypatch.undo()
    assert works.lane("register").acked_seq == 0
    with works.database.read() as connection:
        assert LogUnit(connection).size() == 5
    settled(works, [an_answer(row)], rows=[row])
    assert works.lane("register").acked_seq == 1


def test_who_lost_the_fence_stores_no_receipt(works):
    works.marks.release()
    row = works.sent("register")[0]
    with pytest.raises(UnavailableError):
        settled(works, [an_answer(row)], rows=[row])
    works.marks.take(bytes(16), 7)
    with pytest.raises(ConflictError):
        settled(works, [an_answer(row)], rows=[row])


def test_an_equivocation_stops_the_lane(works):
    row = works.sent("register")[0]
    settled(works, [an_answer(row, "equivocation")], rows=[row])
    state = works.lane("register")
    assert (state.state, state.failure) == ("stopped", "equivocation")
    assert works.settlement.unsent("register") == []


def test_the_same_failure_keeps_its_first_moment(works):
    row = works.sent("register")[0]
    settled(works, [Line(503, code="busy")], rows=[row])
    works.clock.time += 60
    settled(works, [Line(503, code="busy")], rows=[row])
    state = works.lane("register")
    assert (state.failure, state.failed_at) == ("busy", NOW)
    settled(works, [Line(403, code="suspended")], rows=[row])
    assert works.lane("register").failed_at == NOW + 60
    settled(works, [an_answer(row)], rows=[row])
    assert works.lane("register").failure is None


def test_what_is_no_longer_kept_cannot_be_sent(works):
    with works.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM exchange_out WHERE seq = 1")
    with pytest.raises(UnavailableError):
        works.settlement.load(LANE, Send(1, 1, 5), 1 << 20)
    assert [row.seq for row in works.settlement.load(LANE, Send(1, 2, 2), 1 << 20)] == [2, 3]
    assert works.settlement.load(LANE, Send(1, 6, 2), 1 << 20) == []


def test_a_batch_ends_where_it_would_be_too_large_but_is_never_empty(works):
    first = works.sent("register")[0]
    assert len(works.settlement.load(LANE, Send(1, 1, 5), 1)) == 1
    assert len(works.settlement.load(LANE, Send(1, 1, 5), len(first.token) + 2_000)) >= 2


def test_what_goes_next_is_found_without_sorting_all_that_waits(works):
    for first in (1, 4):
        made = plans(
            works.database, lambda first=first: works.settlement.load(LANE, Send(1, first, 2), 1 << 20)
        )
        assert len(made) == 2
        assert not [plan for plan in made.values() if "TEMP B-TREE" in plan or "Sort" in plan]
    assert [row.seq for row in works.settlement.load(LANE, Send(1, 4, 2), 1 << 20)] == [4, 5]


@pytest.mark.parametrize(
    ("after", "epoch", "seqs"), [((1, 3), 1, [4, 5]), ((0, 9), 1, [1, 2]), ((2, 0), 1, [])]
)
def test_a_batch_of_one_epoch_begins_after_what_is_not_wanted(works, after, epoch, seqs):
    with works.database.read() as connection:
        found = SendingUnit(connection).batch(LANE, after, limit=2, max_bytes=1 << 20, epoch=epoch)
    assert [row.seq for row in found] == seqs


def test_receipts_a_child_brings_count_only_from_that_child_and_in_order(works):
    """The same books serve a superior: here the works asks, the park has fetched."""
    rows = works.sent("register")
    tokens = [an_answer(row).receipt for row in rows]
    assert [line.status for line in works.settlement.take(PARK, [tokens[1]])] == [200]
    assert works.lane("register").acked_seq == 0
    lines = works.settlement.take(PARK, [tokens[1], "no receipt", tokens[0]])
    assert [line.status for line in lines] == [200, 400, 200]
    assert works.lane("register").acked_seq == 2
    assert [line.status for line in works.settlement.take(WORKS, [tokens[2]])] == [502]
    retry = an_answer(rows[2], "stale_chain").receipt
    works.settlement.take(PARK, [retry])
    assert works.lane("register").failure == "stale_chain"
    works.settlement.take(PARK, [an_answer(rows[2], "equivocation").receipt])
    assert works.lane("register").state == "stopped"


def test_a_receipt_of_the_past_holds_by_the_key_of_its_time(works):
    row = works.sent("register")[0]
    early = an_answer(row, received_at=NOW - 100 * 86_400)
    with pytest.raises(UntrustedError):
        # the leaf it names is that of another time
        read_answer(row, early.receipt, works.reaching)


async def test_a_receiver_restored_while_nothing_was_under_way_is_filled_again(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", *({"n": n} for n in range(40)))
        async with pair.works.running():
            await pair.settled("register")
            before = [row.receipt for row in pair.works.sent("register")]
            with pair.park.database.write() as connection:
                connection.exec_driver_sql("DELETE FROM exchange_in WHERE seq > 10")
                prev = connection.exec_driver_sql("SELECT env FROM exchange_in WHERE seq = 10").scalar()
                connection.exec_driver_sql("UPDATE exchange_in_position SET next_seq = 11, prev = ?", (prev,))
            await pair.works.head_sender.once()
            await until(lambda: _inbox(pair.park) == 40)
        assert len(before) == 40


def _inbox(side):
    with side.database.read() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM exchange_in").scalar()


async def test_a_receiver_that_knows_more_than_was_ever_sent_stops_the_lane(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", {"n": 1})
        async with pair.works.running():
            await pair.settled("register")
            pair.works.sender.expected(LANE, Expected(1, 9))
            await until(lambda: pair.works.lane("register").state == "stopped")
        assert pair.works.lane("register").failure == "behind"


async def test_a_fault_of_ours_on_one_lane_leaves_the_others_alone(tmp_path, caplog):
    async with a_pair(tmp_path) as pair:
        load = pair.works.settlement.load

        def broken(lane, plan, most):
            if lane.stream == "flow":
                raise ZeroDivisionError
            return load(lane, plan, most)

        pair.works.settlement.load = broken
        pair.works.write("flow", {"n": 1})
        pair.works.write("register", {"n": 1})
        async with pair.works.running():
            await pair.settled("register")
        assert pair.works.lane("flow").unsent == 1


async def test_after_one_refusal_for_pressure_the_window_grows_again_while_everything_is_taken(tmp_path):
    async with a_pair(tmp_path) as pair:
        sizes, refused = [], []

        def once(request):
            if request.method != "POST" or not request.url.path.endswith("/register"):
                return None
            if not refused:
                refused.append(request)
                return httpx.Response(429, json={"code": "busy"}, headers={"retry-after": "0"})
            sizes.append(request.content.count(b"\n") + (not request.content.endswith(b"\n")))
            return None

        pair.link.before = once
        pair.works.write("register", *({"n": n} for n in range(1_500)))
        while pair.works.sealer.seal("register", 500):
            pass
        async with pair.works.running():
            await pair.settled("register")
        assert refused
        assert sizes[0] == 128
        assert 256 in sizes


async def test_losing_the_election_ends_everything_at_once(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", *({"n": n} for n in range(2_000)))
        async with pair.works.running():
            await until(lambda: (lane := pair.works.lane("register")) and lane.acked_seq)
        pair.works.marks.release()
        # whatever was sealed by then: there is something left to seal
        pair.works.write("register", {"n": 2_000})
        with pytest.raises(HazlinkError):
            pair.works.sealer.seal("register", 10)
        count = pair.link.count
        await asyncio.sleep(0.2)
        assert pair.link.count == count
