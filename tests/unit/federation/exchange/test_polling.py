import asyncio
import os

import orjson
import pytest

from federation.exchange import envelope as wire
from federation.exchange.polling import POLLED, Poller
from federation.exchange.storage.received import ReceivedUnit
from registry.errors import HazlinkError, UnavailableError
from registry.identifier import Prefix
from registry.trust.encoding import b64u, from_b64u
from tests.support.exchange_pair import PARK, WORKS, StubbornClock, a_pair, until


def position(side, stream):
    with side.database.read() as connection:
        row = ReceivedUnit(connection).lane((PARK.key, WORKS.key, stream))
    return row.epoch, row.next_seq - 1


def outbound(side):
    return side.app.state.node.exchange.outbound


async def test_what_waits_is_given_in_order_from_where_the_child_is(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.park.write("query", *({"n": n} for n in range(5)), aud=WORKS)
        pair.park.sealer.seal("query", 10)
        whole = await outbound(pair.park).poll(WORKS, "query", (0, 0), 0)
        made = [wire.read(wire.parse(token)) for token in whole if not token.startswith(b"{")]
        assert [one.seq for one in made] == [1, 2, 3, 4, 5]
        assert await outbound(pair.park).poll(WORKS, "control", (0, 0), 0) == []
        assert await outbound(pair.park).poll(Prefix.parse("88.9"), "query", (0, 0), 0) == []
        # no receipt came: it does not matter what the child says it has
        assert await outbound(pair.park).poll(WORKS, "query", (1, 3), 0) == whole
        with pair.park.database.write() as connection:
            connection.exec_driver_sql("UPDATE exchange_lane SET acked_seq = 4")
        (last,) = [t for t in await outbound(pair.park).poll(WORKS, "query", (1, 4), 0) if t[:1] != b"{"]
        assert wire.read(wire.parse(last)).seq == 5
        # and a child that was restored gets again what it lost
        again = await outbound(pair.park).poll(WORKS, "query", (1, 2), 0)
        assert [wire.read(wire.parse(token)).seq for token in again if token[:1] != b"{"] == [3, 4, 5]


async def test_the_chain_an_envelope_names_and_its_body_stand_before_it(tmp_path):
    async with a_pair(tmp_path) as pair:
        body = os.urandom(100)
        pair.park.write("query", {"n": 1}, {"n": 2}, body, {"n": 4}, aud=WORKS)
        pair.park.sealer.seal("query", 10)
        lines = await outbound(pair.park).poll(WORKS, "query", (0, 0), 0)
        kinds = [next(iter(orjson.loads(line))) if line[:1] == b"{" else "token" for line in lines]
        assert kinds == ["token", "chain", "token", "body", "token"]
        assert from_b64u(orjson.loads(lines[3])["body"]) == body


async def test_a_poll_waits_for_the_first_and_for_no_longer_than_agreed(tmp_path):
    async with a_pair(tmp_path) as pair:
        assert await outbound(pair.park).poll(WORKS, "query", (0, 0), 0.3) == []
        waiting = asyncio.create_task(outbound(pair.park).poll(WORKS, "query", (0, 0), 30))
        await asyncio.sleep(0.05)
        pair.park.write("query", {"n": 1}, aud=WORKS)
        pair.park.sealer.seal("query", 10)
        assert len(await waiting) == 1


async def test_waiting_children_cost_one_look_for_all_of_them(tmp_path):
    async with a_pair(tmp_path) as pair:
        looks = []
        unsent = pair.park.settlement.unsent
        pair.park.settlement.unsent = lambda stream: looks.append(stream) or unsent(stream)
        await asyncio.gather(*(outbound(pair.park).poll(WORKS, "query", (0, 0), 0.1) for _ in range(50)))
        assert len(looks) <= 3


async def test_one_round_fetches_takes_in_and_brings_receipts(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.park.write("control", {"n": 1}, os.urandom(10), {"n": 3}, aud=WORKS)
        pair.park.sealer.seal("control", 10)
        assert await pair.works.poller.once(WORKS, PARK, "control")
        assert position(pair.works, "control") == (1, 2)
        assert await pair.works.poller.once(WORKS, PARK, "control")
        assert pair.park.lane("control", WORKS).acked_seq == 3
        assert not await pair.works.poller.once(WORKS, PARK, "control")


async def test_a_superior_that_stopped_a_lane_gives_nothing_more(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.park.write("control", {"n": 1}, aud=WORKS)
        pair.park.sealer.seal("control", 10)
        with pair.park.database.write() as connection:
            connection.exec_driver_sql("UPDATE exchange_lane SET state = 'stopped'")
        assert await outbound(pair.park).poll(WORKS, "control", (0, 0), 0) == []


@pytest.mark.parametrize(
    "line", [b'{"body":"not base64url!"}', b'{"chain":["x"]}', b"{", b'{"body":1,"body":2}']
)
async def test_a_superior_that_talks_nonsense_changes_nothing(tmp_path, line):
    async with a_pair(tmp_path) as pair:
        pair.park.write("control", {"n": 1}, aud=WORKS)
        pair.park.sealer.seal("control", 10)
        honest = pair.park.app.state.node.exchange.outbound._downward.waiting
        pair.park.app.state.node.exchange.outbound._downward.waiting = lambda *asked: [line, *honest(*asked)]
        with pytest.raises(HazlinkError):
            await pair.works.poller.once(WORKS, PARK, "control")
        assert position(pair.works, "control") == (1, 0)


async def test_a_superior_that_never_lets_us_wait_is_not_asked_in_circles(tmp_path):
    clock = StubbornClock()
    async with a_pair(tmp_path, clock=clock) as pair:

        async def at_once(*_):
            return []

        pair.park.app.state.node.exchange.outbound.poll = at_once
        async with pair.works.running("poller"):
            await until(lambda: sum(pause == 1 for pause in clock.pauses) >= len(POLLED))
            await asyncio.sleep(0.2)
        polls = [path for method, path in pair.link.seen if method == "GET"]
        assert len(polls) == len(POLLED)


async def test_a_superior_that_is_away_is_asked_again_and_its_return_is_told(tmp_path):
    async with a_pair(tmp_path) as pair:
        told = []
        pair.works.poller._on_contact = told.append
        pair.works.poller._entropy = lambda count: b"\x01" * count
        pair.link.down = True
        async with pair.works.running("poller"):
            await until(lambda: pair.link.count > 6)
            pair.link.down = False
            await until(lambda: told)
        assert set(told) == {PARK}


async def test_a_prefix_that_leaves_is_not_polled_for_any_more(tmp_path):
    async with a_pair(tmp_path, clock=None) as pair, pair.works.running("poller"):
        await until(lambda: len(pair.works.poller._tasks) == len(POLLED))
        pair.works.homes.superiors.clear()
        await until(lambda: not pair.works.poller._tasks)


async def test_receipts_that_cannot_be_brought_are_asked_for_again(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.park.write("control", *({"n": n} for n in range(3)), aud=WORKS)
        pair.park.sealer.seal("control", 10)
        whole = Poller._bring

        async def lost(*_):
            raise UnavailableError("federation.exchange_sending.unreachable", url="x", reason="cut")

        pair.works.poller._bring = lost
        with pytest.raises(UnavailableError):
            await pair.works.poller.once(WORKS, PARK, "control")
        assert position(pair.works, "control") == (1, 3)
        assert pair.park.lane("control", WORKS).acked_seq == 0
        pair.works.poller._bring = whole.__get__(pair.works.poller)
        await pair.works.poller.once(WORKS, PARK, "control")
        assert pair.park.lane("control", WORKS).acked_seq == 3
        first = pair.park.sent("control", WORKS)[0]
        with pair.works.database.read() as connection:
            kept = connection.exec_driver_sql("SELECT receipt FROM exchange_in WHERE seq = 1").scalar()
        assert first.receipt == bytes(kept)
        assert b64u(first.env)


async def test_own_envelopes_are_given_back_with_their_receipts(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", *({"n": n} for n in range(10)))
        async with pair.works.running():
            await pair.settled("register")
        lines = [orjson.loads(line) for line in outbound(pair.park).sent(WORKS, "register", 1, 4, 3)]
        rows = pair.works.sent("register")
        assert [(line["token"].encode(), line["receipt"].encode()) for line in lines] == [
            (row.token, row.receipt) for row in rows[4:7]
        ]
        assert outbound(pair.park).sent(Prefix.parse("88.9"), "register", 1, 0, 9) == []
