"""The log side of a healing: what witnesses have seen of this node's log, and the leaves they give back."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Protocol

from federation.log.rebuild import LogRebuild
from federation.log.storage import LogUnit
from federation.marks.content import CheckpointMark
from registry.errors import HazlinkError, UnavailableError, UntrustedError
from registry.storage.engine import Database
from resolver.pool import in_pool

__all__ = ["LogHealing", "Mirror"]

_LOG = logging.getLogger("federation.exchange.healing")
_GLANCE_SECONDS = 5.0


class Mirror(Protocol):
    """A witness of this node's log that keeps its leaves too.

    Consistency: what it says is verified. Concurrency: any number of tasks. Errors: HazlinkError when it does not
    answer.
    """

    async def checkpoint(self) -> CheckpointMark | None:
        """Return the newest checkpoint it cosigned, signatures verified; None when there is none."""
        ...

    async def entries(self, first: int) -> Sequence[bytes]:
        """Return leaves from `first` on; nothing at the end."""
        ...


class LogHealing:
    """Asks the witnesses. Owner of no state.

    Args:
        database: where the log is.
        origin: gives the name of the open log.
        mirrors: gives the witnesses of this node's log.
        executor: where blocking calls run.
    """

    def __init__(
        self,
        *,
        database: Database,
        origin: Callable[[], str],
        mirrors: Callable[[], Sequence[Mirror]],
        executor: Executor,
    ) -> None:
        self._database = database
        self._origin = origin
        self._mirrors = mirrors
        self._executor = executor

    @property
    def origin(self) -> str:
        """Name of the open log."""
        return self._origin()

    async def witnessed(self, *, required: bool) -> list[CheckpointMark]:
        """Return the newest checkpoint each witness cosigned.

        Args:
            required: every one of them must answer; else those that do not are passed over.

        Raises:
            UnavailableError: a required one does not answer.
        """
        seen: list[CheckpointMark] = []
        for mirror in self._mirrors():
            try:
                async with asyncio.timeout(_GLANCE_SECONDS):
                    mark = await mirror.checkpoint()
            except (HazlinkError, TimeoutError) as error:
                if required:
                    raise _silent(error) from error
                continue
            if mark is not None:
                seen.append(mark)
        return seen

    async def rebuild(self, wanted: CheckpointMark) -> int | None:
        """Get leaves back until the log covers a checkpoint that was signed.

        Returns:
            How many came; None when nobody has them all, or they do not give the root that was signed.

        Raises:
            UnavailableError: a witness that may have them does not answer.
        """
        rebuild = LogRebuild(self._database, size=wanted.size, root=wanted.root)
        _, left = await in_pool(self._executor, lambda: rebuild.missing)
        came = 0
        silent: HazlinkError | None = None
        for mirror in self._mirrors() if left else ():
            try:
                came += await self._feed(rebuild, mirror)
            except UnavailableError as error:
                silent = error
            _, left = await in_pool(self._executor, lambda: rebuild.missing)
            if not left:
                break
        if left and silent is not None:
            raise _silent(silent) from silent
        if left:
            _LOG.error("no witness has all leaves of %s: %d are missing", self.origin, left)
            return None
        try:
            await in_pool(self._executor, rebuild.finish)
        except UntrustedError as error:
            _LOG.error("the leaves of %s do not give the root that was signed: %s", self.origin, error)
            return None
        return came

    async def contradicted(self, known: Iterable[CheckpointMark]) -> CheckpointMark | None:
        """Return a checkpoint that was signed once and that the log, as it is now, does not continue; None: all fit.

        Args:
            known: every checkpoint of this log that anybody who was asked knows, this node's own mark as well.
        """
        wanted = {(mark.size, mark.root): mark for mark in known}
        return await in_pool(self._executor, self._contradicted, sorted(wanted))

    def _contradicted(self, wanted: Sequence[tuple[int, bytes]]) -> CheckpointMark | None:
        with self._database.read() as connection:
            size = LogUnit(connection).size()
        for at, root in wanted:
            mark = CheckpointMark(at, root)
            if at > size or LogRebuild(self._database, size=at, root=root).root() != root:
                _LOG.error("log %s does not continue the checkpoint over %d leaves", self.origin, at)
                return mark
        return None

    async def _feed(self, rebuild: LogRebuild, mirror: Mirror) -> int:
        came = 0
        while True:
            first, missing = await in_pool(self._executor, lambda: rebuild.missing)
            leaves = list(await mirror.entries(first))[:missing] if missing else []
            if not leaves:
                return came
            await in_pool(self._executor, rebuild.feed, first, leaves)
            came += len(leaves)


def _silent(error: Exception) -> UnavailableError:
    return UnavailableError(
        "federation.exchange_healing.witness", retry_after=5, reason=str(error) or type(error).__name__
    )
