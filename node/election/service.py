"""The election: of all processes of a node one signs, and it stops at once when it is no longer the one.

Rules (facts on federation, (b) "Two instances"):

1. the lock is taken (a file's on SQLite, the session's on PostgreSQL), and watched every second;
2. who has it takes the fence: in the mark file above everything the file and the database know, then in the database;
   with it goes an instance number drawn anew, by which peers tell two copies of a node apart;
3. a mark file that is missing beside a database whose fence was taken before is not replaced: somebody must say
   that it is lost;
4. whoever loses the lock, or finds another fence in the database, lets go of the mark file first, so that nothing
   more can be reserved or signed; only then its work is stopped.

A lock alone would not do: its holder may sleep for minutes and wake up believing in it. The fence in the database is
what stops it then, in the very transaction in which it would sign.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from federation.marks.content import INSTANCE_BYTES
from federation.marks.file import MarkFile
from node.election.lock import FileLock, Lock
from node.election.storage import SessionLock, fence, raise_fence
from node.logs import logger
from registry.clock import Clock
from registry.errors import HazlinkError, UnavailableError
from registry.storage.engine import Database
from resolver.pool import in_pool

__all__ = ["LOCK_NAME", "Election", "Tenure"]

#: The lock file below the data folder of a node on SQLite.
LOCK_NAME = "exchange.lock"

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Tenure:
    """One election won.

    Attributes:
        fence: its number; every signing transaction checks it.
        instance: 16 bytes that no other tenure has, told to the peers.
        lost: set at the moment this process must sign nothing more.
    """

    fence: int
    instance: bytes
    lost: asyncio.Event = field(compare=False, repr=False)


class Election:
    """Takes part in the election of one process. Owner of the state: its event loop.

    Args:
        database: the node's.
        data: its data folder.
        marks: its mark file; the election holds the fence in it.
        clock: paces the watching.
        entropy: gives instance numbers.
        executor: where blocking calls run.
    """

    def __init__(
        self,
        *,
        database: Database,
        data: Path,
        marks: MarkFile,
        clock: Clock,
        entropy: Callable[[int], bytes],
        executor: Executor,
    ) -> None:
        self._database = database
        self._marks = marks
        self._clock = clock
        self._entropy = entropy
        self._executor = executor
        self._lock: Lock = FileLock(data / LOCK_NAME) if database.is_sqlite else SessionLock(database)
        self._tenure: Tenure | None = None
        self._problem: HazlinkError | None = None
        self._log = logger("node.election")

    @property
    def tenure(self) -> Tenure | None:
        """The election this process has won and not lost yet."""
        return self._tenure

    def last_fence(self) -> int:
        """Return the fence of the last election that any process won over this database; 0 when there was none.

        Raises:
            UnavailableError: the database cannot be read.
        """
        return fence(self._database)

    async def check(self) -> HazlinkError | None:
        """Say why this process could not be elected although the lock was free; for the health report."""
        return self._problem

    async def run(self, work: Callable[[Tenure], Awaitable[None]]) -> None:
        """Do `work` whenever this process is the elected one; for ever.

        Args:
            work: runs until it is cancelled. What it raises ends this call, after the lock was given back.
        """
        while True:
            async with self.hold() as tenure:
                await _until_lost(tenure, work)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Tenure]:
        """Wait until this process is elected; give the office back at the end.

        The caller watches `Tenure.lost`; `run` does so for it.
        """
        tenure = await self._win()
        watching = asyncio.create_task(self._watch(tenure), name="election")
        try:
            yield tenure
        finally:
            self._lose(tenure)
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await in_pool(self._executor, self._lock.release)

    # inside

    async def _win(self) -> Tenure:
        while True:
            try:
                taken = await self._try()
            except HazlinkError as error:
                if self._problem is None or self._problem.code != error.code:
                    self._log.error("not elected", reason=str(error))
                self._problem = error
                taken = None
            if taken is not None:
                self._problem = None
                self._tenure = Tenure(*taken, asyncio.Event())
                self._log.debug("elected", fence=self._tenure.fence)
                return self._tenure
            await self._clock.sleep(_LOOK_SECONDS)

    async def _try(self) -> tuple[int, bytes] | None:
        trying = asyncio.ensure_future(in_pool(self._executor, self._take))
        try:
            return await asyncio.shield(trying)
        except asyncio.CancelledError:
            # the thread goes on: what it has taken must not stay taken
            with suppress(HazlinkError):
                if await trying is not None:
                    self._marks.release()
                    self._lock.release()
            raise

    def _take(self) -> tuple[int, bytes] | None:
        """Try once; return fence and instance, or None when another process has the lock."""
        if not self._lock.acquire():
            self._problem = None
            return None
        try:
            known = fence(self._database)
            self._have_marks(known)
            instance = self._entropy(INSTANCE_BYTES)
            taken = self._marks.take(instance, known)
            raise_fence(self._database, taken)
        except BaseException:
            self._marks.release()
            self._lock.release()
            raise
        return taken, instance

    def _have_marks(self, known: int) -> None:
        if self._marks.exists():
            return
        if known:
            raise UnavailableError("federation.marks.missing", field=str(self._marks.path))
        self._marks.create(self._entropy(INSTANCE_BYTES))

    async def _watch(self, tenure: Tenure) -> None:
        while not tenure.lost.is_set():
            await self._clock.sleep(_LOOK_SECONDS)
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    held = await in_pool(self._executor, self._still, tenure)
            except TimeoutError:
                held = False
            if not held:
                self._log.warning("no longer elected", fence=tenure.fence)
                self._lose(tenure)

    def _still(self, tenure: Tenure) -> bool:
        if not self._lock.holds():
            return False
        try:
            return fence(self._database) == tenure.fence
        except UnavailableError:
            # The lock is held, so nobody else can have been elected; nothing can be committed now anyway.
            return True

    def _lose(self, tenure: Tenure) -> None:
        self._marks.release()
        tenure.lost.set()
        if self._tenure is tenure:
            self._tenure = None


async def _until_lost(tenure: Tenure, work: Callable[[Tenure], Awaitable[None]]) -> None:
    working = asyncio.ensure_future(work(tenure))
    losing = asyncio.ensure_future(tenure.lost.wait())
    try:
        await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        losing.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(working, losing, return_exceptions=True)
    if not working.cancelled() and (error := working.exception()) is not None:
        raise error
