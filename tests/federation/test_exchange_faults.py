"""Faults between two nodes: partitions, clocks, disks, and copies; what was accepted is what was sent, in order, once."""

import tracemalloc
from collections import deque

import httpx
import pytest

from federation.exchange import envelope as wire
from federation.exchange.storage.sending import SendingUnit
from registry.trust.encoding import b64u
from tests.support.exchange_pair import PARK, WORKS, a_pair, until
from tests.support.trust import DAY, NOW


def numbers(count, first=0):
    return [{"n": number} for number in range(first, first + count)]


def same(pair, stream="register"):
    """What the park applied is what the works sent, in order."""
    rows = pair.works.sent(stream)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert pair.park.desk.got == [b64u(row.env) for row in rows]
    return rows


@pytest.mark.parametrize("offset", [-DAY, 3_650 * DAY])
async def test_fault_18_a_clock_that_is_wrong_loses_and_repeats_nothing(tmp_path, offset):
    async with a_pair(tmp_path, clocks=(NOW + offset, NOW)) as pair:
        pair.works.write("register", *numbers(20))
        async with pair.works.running():
            await pair.settled("register")
        rows = same(pair)
        assert {wire.read(wire.parse(row.token)).iat for row in rows} == {NOW + offset}
        assert all(row.acked_at == NOW + offset for row in rows)


async def test_fault_18_a_clock_that_steps_back_in_the_middle_changes_no_number(tmp_path):
    async with a_pair(tmp_path, clocks=(NOW, NOW)) as pair:
        async with pair.works.running():
            for turn, step in enumerate((0, 10 * DAY, -20 * DAY, 3_650 * DAY, -3_651 * DAY)):
                pair.works.clock.time += step
                pair.works.write("register", *numbers(10, turn * 10))
                await pair.settled("register")
        rows = same(pair)
        assert [wire.read(wire.parse(row.token)).body["n"] for row in rows] == list(range(50))


@pytest.mark.slow
async def test_fault_11_72_hours_of_partition_are_caught_up_with_bounded_memory(tmp_path, monkeypatch):
    """Scaled down: the full run has a million envelopes."""
    # the mark file is read with a buffer for the largest there may be; it says nothing about envelopes
    monkeypatch.setattr("federation.marks.file._LARGEST_FILE", 1 << 20, raising=False)
    async with a_pair(tmp_path, clocks=(NOW, NOW)) as pair:
        pair.link.down = True
        pair.park.desk.note.got = deque(maxlen=1)
        async with pair.works.running():
            for hour in range(72):
                pair.works.write("register", *numbers(100, hour * 100))
                pair.works.clock.time += 3_600
                pair.park.clock.time += 3_600
            await until(lambda: (lane := pair.works.lane("register")) and lane.next_seq == 7_201)
            assert pair.works.lane("register").failure == "unreachable"
            tracemalloc.start()
            pair.link.down = False
            pair.works.write("alarm", {"n": 1})
            await pair.settled("alarm")
            await pair.settled("register", seconds=180)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        rows = same(pair)
        assert len(rows) == 7_200
        # what lies in the database has some 15 MB; what is on its way is never more than a few batches
        assert peak < 16 << 20


async def test_fault_11_an_answer_cut_off_in_the_middle_counts_as_far_as_it_came(tmp_path):
    async with a_pair(tmp_path) as pair:
        cut = []
        honest = pair.link._inner.handle_async_request

        async def cutting(request):
            response = await honest(request)
            if request.url.path == "/exchange/register" and len(cut) < 4:
                body = await response.aread()
                cut.append(len(body))
                return httpx.Response(200, content=body[: len(body) // 3])
            return response

        pair.link._inner.handle_async_request = cutting
        pair.works.write("register", *numbers(500))
        async with pair.works.running():
            await pair.settled("register")
        assert len(cut) == 4
        same(pair)


async def test_fault_13_a_sender_whose_disk_is_full_stores_no_receipt_and_goes_on_when_there_is_room(
    tmp_path,
):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", *numbers(100))
        pair.works.sealer.seal("register", 100)
        with pair.works.database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        full = [True]

        def limit(driver, *_):
            driver.execute(f"PRAGMA max_page_count={pages if full[0] else 1_000_000}")

        from sqlalchemy import event

        event.listen(pair.works.database.engine, "checkout", limit)
        async with pair.works.running():
            await until(lambda: pair.works.sender.counts.failures > 2)
            assert pair.works.lane("register").acked_seq == 0
            full[0] = False
            await pair.settled("register")
        same(pair)


async def test_fault_13_a_database_that_only_reads_signs_and_acknowledges_nothing(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", *numbers(10))
        locked = [True]

        def only_read(driver, *_):
            driver.execute(f"PRAGMA query_only={int(locked[0])}")

        from sqlalchemy import event

        event.listen(pair.works.database.engine, "checkout", only_read)
        async with pair.works.running():
            await until(lambda: pair.works.sender.counts.failures > 1)
            assert pair.works.lane("register") is None
            locked[0] = False
            await pair.settled("register")
        same(pair)


async def test_fault_23_many_senders_to_a_busy_receiver_are_all_served(tmp_path):
    async with a_pair(tmp_path) as pair:
        refused = []

        def busy(request):
            if request.url.path.startswith("/exchange/r") and len(refused) < 6:
                refused.append(request.url.path)
                return httpx.Response(503, headers={"retry-after": "0"})
            return None

        pair.link.before = busy
        for stream in ("register", "report"):
            pair.works.write(stream, *numbers(300))
        async with pair.works.running():
            await pair.settled("register", "report")
        same(pair)
        assert set(refused) == {"/exchange/register", "/exchange/report"}


async def test_a_host_hands_over_within_its_own_process(tmp_path):
    """A park that homes its enterprise: the same envelopes, receipts and leaves, without a connection."""
    async with a_pair(tmp_path, hosted=("88.107.1001",)) as pair:
        park = pair.park
        with park.database.write() as connection:
            for number in range(300):
                park.outbox.append(
                    connection,
                    wire.Draft(WORKS, PARK, "register", "note", "note/1", {"n": number}),
                )
        async with park.running("sender", "prover", "head_sender"):
            await until(lambda: (lane := _lane(park)) and lane.acked_seq == 300)
            park.log.publish()
            await until(lambda: all(row.proof is not None for row in _rows(park)))
        assert park.desk.got == [b64u(row.env) for row in _rows(park)]
        assert pair.link.count == 0


def _lane(side):
    from federation.exchange.storage.sending import LaneName

    with side.database.read() as connection:
        return SendingUnit(connection).lane(LaneName(WORKS, PARK, "register"))


def _rows(side):
    from federation.exchange.storage.sending import LaneName

    with side.database.read() as connection:
        return SendingUnit(connection).batch(
            LaneName(WORKS, PARK, "register"), (0, 0), limit=1_000, max_bytes=1 << 30
        )
