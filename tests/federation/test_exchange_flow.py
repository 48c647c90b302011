"""The whole way of an envelope between two nodes, with real tables, real keys and the real doors."""

import asyncio
import os
from dataclasses import replace

import httpx
import pytest

from federation.exchange.envelope import detach
from federation.exchange.storage.sending_proofs import ProofUnit
from registry.trust.encoding import b64u
from tests.support.exchange_pair import PARK, QUICK, WORKS, StubbornClock, a_pair, until

CHALLENGE = ("POST", "/federation/v1/challenge")


def numbers(count):
    return [{"n": number} for number in range(count)]


def chance():
    return int.from_bytes(os.urandom(4)) / (1 << 32)


async def test_what_was_written_arrives_once_and_in_order_and_is_acknowledged(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", *numbers(600))
        async with pair.works.running():
            await pair.settled("register")
        rows = pair.works.sent("register")
        assert [row.seq for row in rows] == list(range(1, 601))
        assert {(row.outcome, row.code) for row in rows} == {("accepted", "ok")}
        assert pair.park.desk.got == [b64u(row.env) for row in rows]
        assert pair.works.lane("register").acked_seq == 600
        assert all(row.ack_index > row.out_index for row in rows)


async def test_each_final_rejection_is_counted_and_holds_up_nothing(tmp_path):
    async with a_pair(tmp_path) as pair:
        bodies = [{"n": n, "refuse": True} if n % 3 == 0 else {"n": n} for n in range(30)]
        pair.works.write("register", *bodies, {"wrong": True}, {"identifier": "88.107.2/X"})
        async with pair.works.running():
            await pair.settled("register")
        codes = [row.code for row in pair.works.sent("register")]
        assert codes[:30] == ["business" if n % 3 == 0 else "ok" for n in range(30)]
        assert codes[30:] == ["bad_schema", "forbidden_prefix"]
        assert pair.works.lane("register").rejected == 12
        assert pair.works.sender.counts.rejected == 12


async def test_fault_11_loss_and_doubles_in_both_directions_lose_nothing_and_apply_nothing_twice(tmp_path):
    quick = replace(QUICK, batch_envelopes=16)
    async with a_pair(tmp_path, config=quick, chance=chance) as pair:
        pair.link.lose, pair.link.double = 0.3, 0.3
        for stream in ("register", "flow", "alarm"):
            pair.works.write(stream, *numbers(200))
        async with pair.works.running():
            await pair.settled("register", "flow", "alarm")
        for stream in ("register", "flow", "alarm"):
            rows = pair.works.sent(stream)
            assert [row.seq for row in rows] == list(range(1, 201))
            assert all(row.receipt for row in rows)
        assert pair.park.desk.got == [b64u(row.env) for row in pair.works.sent("register")]


async def test_fault_11_after_a_partition_an_alarm_is_through_at_once_and_the_rest_follows(tmp_path):
    clock = StubbornClock()
    async with a_pair(tmp_path, clock=clock) as pair:
        pair.works.sender._entropy = lambda count: b"\xff" * count
        pair.link.down = True
        pair.works.write("register", *numbers(2_000))
        pair.works.write("alarm", {"n": 1})
        async with pair.works.running():
            # both lanes back off, and nothing but a sign of life will ever end that
            await until(lambda: sum(pause >= 0.9 for pause in clock.pauses) >= 2)
            asked = pair.link.seen.count(CHALLENGE)
            await until(lambda: pair.link.seen.count(CHALLENGE) > asked + 2)
            pair.link.down = False
            await pair.settled("alarm")
            await pair.settled("register")
        assert len(pair.park.desk.got) == 2_000
        sent = [path for _, path in pair.link.seen if path in ("/exchange/alarm", "/exchange/register")]
        assert sent[0] == "/exchange/alarm", "bulk was on the way before the alarm"


async def test_fault_17_an_alarm_does_not_wait_behind_bulk(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("report", *numbers(4_000))
        async with pair.works.running():
            await until(
                lambda: (pair.works.lane("report") or 0) and pair.works.lane("report").acked_seq > 200
            )
            pair.works.write("alarm", {"n": 1})
            await pair.settled("alarm")
            assert pair.works.lane("report").unsent + _pending(pair.works) > 0
            await pair.settled("report")


def _pending(side):
    from federation.exchange.storage.sending import SendingUnit

    with side.database.read() as connection:
        return SendingUnit(connection).count_pending()


async def test_fault_23_a_busy_receiver_is_obeyed_and_everything_still_arrives(tmp_path):
    async with a_pair(tmp_path) as pair:
        refused = []

        def busy(request):
            if request.url.path == "/exchange/register" and len(refused) < 3:
                refused.append(pair.works.clock.monotonic())
                return httpx.Response(429, headers={"retry-after": "1"}, json={"detail": "busy"})
            return None

        pair.link.before = busy
        pair.works.write("register", *numbers(300))
        async with pair.works.running():
            await pair.settled("register")
        assert len(refused) == 3
        assert len(pair.park.desk.got) == 300


async def test_a_detached_body_goes_before_its_envelope(tmp_path):
    async with a_pair(tmp_path) as pair:
        text = {"text": "x" * 100_000}
        pair.works.write("report", {"n": 1}, os.urandom(200_000), text, detach(b"%PDF", "application/pdf"))
        async with pair.works.running():
            await pair.settled("report")
        rows = pair.works.sent("report")
        assert [row.outcome for row in rows] == ["unapplied"] * 4
        assert [row.body is not None for row in rows] == [False, True, True, True]
        assert [path for method, path in pair.link.seen if method == "PUT"] == [
            f"/exchange/bodies/{b64u(row.body)}" for row in rows if row.body
        ]


async def test_a_receiver_that_lost_its_chains_is_shown_them_again(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", {"n": 1})
        async with pair.works.running():
            await pair.settled("register")
        with pair.park.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM exchange_chain")
        pair.park.homes.delegated.clear()
        pair.park.desk.chains.__init__(
            database=pair.park.database,
            anchor=pair.park.desk.chains._anchor,
            marks=pair.park.desk.marks,
            delegations=pair.park.desk.homes,
            clock=pair.park.clock,
        )
        pair.works.write("register", {"n": 2})
        async with pair.works.running():
            await pair.settled("register")
        assert len(pair.park.desk.got) == 2


async def test_what_the_superior_says_is_fetched_and_acknowledged(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.park.write("control", *numbers(100), aud=WORKS)
        pair.park.write("query", {"q": 1}, os.urandom(100_000), aud=WORKS)
        async with pair.park.running(), pair.works.running("poller"):
            await until(lambda: _acked(pair.park, "control", 100) and _acked(pair.park, "query", 2))
        assert [row.outcome for row in pair.park.sent("control", WORKS)] == ["unapplied"] * 100
        assert pair.works.desk.chains.newest(PARK).subject == PARK


def _acked(side, stream, count):
    lane = side.lane(stream, WORKS)
    return lane is not None and lane.acked_seq == count


async def test_a_receipt_lost_on_its_way_up_is_given_again(tmp_path):
    async with a_pair(tmp_path, chance=chance) as pair:
        pair.link.lose = 0.3
        pair.park.write("query", *numbers(100), aud=WORKS)
        async with pair.park.running(), pair.works.running("poller"):
            await until(lambda: _acked(pair.park, "query", 100))


async def test_proofs_are_fetched_verified_and_kept_and_only_then_may_an_envelope_go(tmp_path):
    async with a_pair(tmp_path) as pair:
        works, park = pair.works, pair.park
        works.write("register", *numbers(300))
        async with works.running():
            await pair.settled("register")
        with works.database.write() as connection:
            assert ProofUnit(connection).prune(works.clock.now() + 10, 1_000) == 0
        park.log.publish()
        await works.prover.once()
        rows = works.sent("register")
        assert all(row.proof is not None and row.proof_size == 300 for row in rows)
        key = works.proofs.key(WORKS, PARK)
        for row in rows[:3]:
            proof = works.proofs.proof(row)
            (leaf,) = _leaves(park, row.leaf_index)
            assert proof.verify(leaf, key).checkpoint.size == 300
        works.write("register", *numbers(300))
        async with works.running():
            await pair.settled("register")
        park.log.publish()
        await works.prover.once()
        assert {row.proof_size for row in works.sent("register")} == {300, 600}
        with works.database.write() as connection:
            assert ProofUnit(connection).prune(works.clock.now() + 10, 1_000) == 600


def _leaves(side, first, count=1):
    from federation.log.storage import LogUnit

    with side.database.read() as connection:
        return LogUnit(connection).leaves(first, count)


@pytest.mark.parametrize("part", ["index", "hashes", "missing"])
async def test_a_proof_that_does_not_hold_is_not_kept(tmp_path, part):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", *numbers(5))
        async with pair.works.running():
            await pair.settled("register")
        pair.park.log.publish()
        honest = pair.park.proofs.proofs

        def lie(peer, envs):
            told = honest(peer, envs)
            first = envs[0]
            if part == "missing":
                del told["proofs"][first]
            elif part == "index":
                told["proofs"][first]["index"] += 1
            else:
                told["proofs"][first]["hashes"].reverse()
            return told

        pair.park.proofs.proofs = lie
        await pair.works.prover.once()
        assert pair.works.sent("register")[0].proof is None


async def test_heads_cross_both_ways_and_show_the_lag(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", *numbers(7))
        pair.park.write("query", *numbers(3), aud=WORKS)
        pair.works.sealer.seal("register", 100)
        pair.park.sealer.seal("query", 100)
        await pair.works.head_sender.once()
        from federation.exchange.storage.received import ReceivedUnit

        with pair.park.database.read() as connection:
            (lane,) = ReceivedUnit(connection).lanes()
        assert (lane.stream, lane.head_epoch, lane.head_seq, lane.next_seq) == ("register", 1, 7, 1)
        with pair.works.database.read() as connection:
            (lane,) = ReceivedUnit(connection).lanes()
        assert (lane.stream, lane.head_seq) == ("query", 3)


async def test_a_whole_day_of_everything_at_once(tmp_path):
    async with a_pair(tmp_path, chance=chance) as pair:
        pair.link.lose = 0.1
        for turn in range(5):
            pair.works.write("register", *numbers(50))
            pair.works.write("alarm", {"turn": turn})
            pair.park.write("control", {"turn": turn}, aud=WORKS)
        parts = ("sender", "poller", "prover", "head_sender")
        async with pair.works.running(*parts), pair.park.running(*parts):
            await pair.settled("register", "alarm")
            await until(lambda: _acked(pair.park, "control", 5))
            pair.park.log.publish()
            await until(lambda: all(row.proof is not None for row in pair.works.sent("register")))
            await asyncio.sleep(0)
