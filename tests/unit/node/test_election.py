import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text, update

from federation.marks.file import FILE_NAME, MarkFile
from node.election.lock import FileLock
from node.election.service import Election
from node.election.storage import SessionLock, fence, raise_fence, require_fence
from registry.clock import SystemClock
from registry.errors import ConflictError, UnavailableError
from registry.storage.engine import Database
from registry.storage.tables import counter

ROOT = Path(__file__).parents[3]
PATIENCE = 60


class QuickClock(SystemClock):
    """The machine's clock, for which a second is soon over."""

    async def sleep(self, seconds):
        await asyncio.sleep(seconds / 200)


@pytest.fixture
def executor():
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture
def instance(database, executor, tmp_path):
    """Makes instances of the one node over the one database; each has its machine, on SQLite they share it."""
    opened = []

    def make(name="a", *, over=None):
        data = tmp_path / ("a" if database.is_sqlite else name)
        data.mkdir(exist_ok=True)
        marks = MarkFile(data / FILE_NAME)
        if not marks.exists():
            marks.create(bytes(16))
        own = over or Database(database.url.render_as_string(hide_password=False))
        opened.append(own)
        return an_election(own, data, marks, executor)

    yield make
    for own in opened:
        own.close()


def an_election(database, data, marks, executor):
    return Election(
        database=database,
        data=data,
        marks=marks,
        clock=QuickClock(),
        entropy=os.urandom,
        executor=executor,
    )


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


async def test_whoever_is_elected_holds_fence_marks_and_instance_and_gives_them_back(instance, database):
    election = instance()
    async with election.hold() as tenure:
        assert election.tenure is tenure
        assert tenure.fence == fence(database) == 1
        assert election._marks.fence() == 1
        assert election._marks.content().instance == tenure.instance
        assert await election.check() is None
    assert tenure.lost.is_set()
    assert election.tenure is None
    assert election._marks.fence() == 0


async def test_fault_16_of_two_instances_one_is_elected_and_the_other_when_it_has_gone(instance, database):
    first, second = instance("a"), instance("b")
    async with first.hold() as tenure:
        waiting = asyncio.ensure_future(second.hold().__aenter__())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        assert second.tenure is None
        assert await second.check() is None  # waiting is no fault
    later = await asyncio.wait_for(waiting, PATIENCE)
    assert later.fence > tenure.fence
    assert later.instance != tenure.instance
    with pytest.raises(ConflictError), database.write() as connection:
        require_fence(connection, tenure.fence)
    with database.write() as connection:
        require_fence(connection, later.fence)


async def test_fault_16_a_holder_that_was_overtaken_notices_stops_and_can_sign_nothing_more(
    instance, database
):
    election = instance()
    stopped = []

    async def work(tenure):
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append((tenure.lost.is_set(), election._marks.fence()))

    running = asyncio.ensure_future(election.run(work))
    await until(lambda: election.tenure is not None)
    tenure = election.tenure
    with database.write() as connection:
        connection.execute(update(counter).where(counter.c.name == "fence").values(next=tenure.fence + 7))
    with pytest.raises(ConflictError), database.write() as connection:
        require_fence(connection, tenure.fence)
    await until(lambda: stopped)
    assert stopped == [(True, 0)]
    # nobody else was there after all: it stands for election again, above what it has seen
    await until(lambda: election.tenure is not None)
    assert election.tenure.fence == tenure.fence + 8
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert election.tenure is None


async def test_what_the_work_raises_ends_the_run_with_the_lock_given_back(instance):
    election = instance()

    async def work(_tenure):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await election.run(work)
    async with asyncio.timeout(PATIENCE), instance("b").hold():
        pass


async def test_cancelled_while_it_is_being_elected_it_leaves_nothing_locked(instance):
    for _ in range(5):
        trying = asyncio.ensure_future(instance().hold().__aenter__())
        await asyncio.sleep(0)
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
    async with asyncio.timeout(PATIENCE), instance().hold():
        pass


async def test_a_missing_mark_file_is_not_replaced_once_the_database_was_used(database, executor, tmp_path):
    marks = MarkFile(tmp_path / FILE_NAME)
    async with an_election(database, tmp_path, marks, executor).hold() as tenure:
        assert tenure.fence == 1  # a new node: the file was made
    marks.path.unlink()
    election = an_election(database, tmp_path, marks, executor)
    trying = asyncio.ensure_future(election.hold().__aenter__())
    await until(lambda: election._problem is not None)
    assert (await election.check()).code == "federation.marks.missing"
    assert not marks.exists()
    assert fence(database) == 1
    marks.create(bytes(16), sure=False)  # the operator has said that it is lost
    assert (await asyncio.wait_for(trying, PATIENCE)).fence == 2
    assert await election.check() is None


async def test_a_restored_database_does_not_bring_an_old_fence_back(instance, database):
    election = instance()
    for _ in range(3):
        async with election.hold() as tenure:
            pass
    with database.write() as connection:
        connection.execute(update(counter).where(counter.c.name == "fence").values(next=1))
    async with election.hold() as later:
        assert later.fence == tenure.fence + 1 == fence(database)


def test_a_fence_that_was_overtaken_meanwhile_is_not_written(database):
    raise_fence(database, 4)
    for late in (3, 4):
        with pytest.raises(ConflictError):
            raise_fence(database, late)
    assert fence(database) == 4


async def test_a_database_that_does_not_answer_for_a_moment_is_no_lost_election(
    sqlite_database, executor, tmp_path
):
    class Away(Database):
        away = False

        def read(self):
            if self.away:
                raise UnavailableError("registry.storage.unavailable", reason="away")
            return super().read()

    own = Away(sqlite_database.url.render_as_string(hide_password=False))
    election = an_election(own, tmp_path, MarkFile(tmp_path / FILE_NAME), executor)
    async with election.hold() as tenure:
        own.away = True
        await asyncio.sleep(0.1)
        assert not tenure.lost.is_set()
    own.close()


# the locks


def test_a_lock_file_put_in_the_place_of_the_held_one_is_noticed(tmp_path):
    lock = FileLock(tmp_path / "exchange.lock")
    assert lock.acquire()
    assert lock.acquire()
    assert not FileLock(tmp_path / "exchange.lock").acquire()
    (tmp_path / "other").touch()
    (tmp_path / "other").rename(tmp_path / "exchange.lock")
    assert not lock.holds()
    assert not lock.acquire()
    lock.release()
    assert lock.acquire()
    (tmp_path / "exchange.lock").unlink()
    assert not lock.holds()
    lock.release()
    lock.release()


def test_a_lock_file_that_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(UnavailableError) as refused:
        FileLock(tmp_path / "nowhere" / "exchange.lock").acquire()
    assert refused.value.message("zh")


@pytest.fixture
def postgres(database):
    if database.is_sqlite:
        pytest.skip("the session's lock is PostgreSQL's")
    return database


async def test_fault_16_when_the_server_drops_the_session_the_office_is_lost(postgres, instance):
    election = instance()
    lost = asyncio.Event()

    async def work(tenure):
        await tenure.lost.wait()
        lost.set()
        await asyncio.Event().wait()

    running = asyncio.ensure_future(election.run(work))
    await until(lambda: election.tenure is not None)
    before = election.tenure
    with postgres.write() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )
    await asyncio.wait_for(lost.wait(), PATIENCE)
    await until(lambda: election.tenure is not None)
    assert election.tenure.fence > before.fence
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_session_takes_its_lock_once_and_another_one_when_it_is_free(postgres):
    first, second = SessionLock(postgres), SessionLock(postgres)
    assert not first.holds()
    assert first.acquire()
    assert first.acquire()
    assert first.holds()
    assert not second.acquire()
    first.release()
    first.release()
    assert second.acquire()
    second.release()


def test_a_server_that_is_not_there_is_said():
    gone = Database("postgresql+psycopg2://nobody@/none?host=/nonexistent")
    with pytest.raises(UnavailableError):
        SessionLock(gone).acquire()


# real processes

_HOLDER = """
import asyncio, os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from federation.marks.file import MarkFile
from node.election.service import Election
from registry.clock import SystemClock
from registry.storage.engine import Database

async def main():
    data = Path(sys.argv[2])
    election = Election(
        database=Database(sys.argv[1]), data=data, marks=MarkFile(data / "marks" / "exchange.json"),
        clock=SystemClock(), entropy=os.urandom, executor=ThreadPoolExecutor(2),
    )
    async with election.hold() as tenure:
        print(f"holds {tenure.fence}", file=sys.stderr, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.slow
async def test_fault_16_when_the_elected_process_is_killed_another_one_is_elected(
    database, instance, tmp_path
):
    election = instance("b")
    data = tmp_path / "a"
    data.mkdir(exist_ok=True)
    MarkFile(data / FILE_NAME).exists() or MarkFile(data / FILE_NAME).create(bytes(16))
    url = database.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, url, str(data)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as holder:
        try:
            said = await asyncio.to_thread(holder.stderr.readline)
            theirs = int(said.removeprefix(b"holds "))
            waiting = asyncio.ensure_future(election.hold().__aenter__())
            await asyncio.sleep(0.1)
            assert not waiting.done()
        finally:
            holder.kill()
    tenure = await asyncio.wait_for(waiting, PATIENCE)
    assert tenure.fence > theirs
