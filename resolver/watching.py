"""The change table as the one truth about what is new: it empties the caches and feeds those who watch.

- polled at least twice a second, sooner when woken; `catch_up` returns when everything committed before is known;
- a position that went back (a restored database) or a gap empties everything;
- who watches reads from memory what is recent and from the table what is older, without a gap between the two.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from itertools import islice

from registry.clock import Clock
from registry.errors import HazlinkError, NotResponsibleError
from registry.identifier import Identifier, Prefix
from registry.principal import Operation, Principal
from resolver.config import ResolverConfig
from resolver.pool import in_pool
from resolver.ports import Authority, Change

__all__ = ["Changes"]

_LOG = logging.getLogger(__name__)


class Changes:
    """Follows the change table; belongs to one event loop.

    Args:
        authority: the change table.
        clock: the clock.
        executor: the bounded pool.
        config: settings.
        on_change: called for each change.
        on_lost: called when changes may have been missed.
        on_news: awaited after changes were found.
    """

    def __init__(
        self,
        *,
        authority: Authority,
        clock: Clock,
        executor: Executor,
        config: ResolverConfig,
        on_change: Callable[[Change], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._executor = executor
        self._config = config
        self._on_change = on_change
        self._on_lost = on_lost
        self._position: int | None = None
        self._recent: deque[Change] = deque(maxlen=config.changes_kept)
        self._reading = asyncio.Lock()
        self._moved = asyncio.Event()
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def position(self) -> int:
        """The newest change that is known."""
        return self._position or 0

    def wake(self) -> None:
        """Have the table looked at now; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._woken.set)

    async def catch_up(self) -> bool:
        """Take in every change committed before this call; say whether there was one.

        Raises:
            UnavailableError: the database cannot be read.
        """
        async with self._reading:
            last = await in_pool(self._executor, self._authority.last_change)
            if self._position is None or last < self._position:
                if self._position is not None:
                    _LOG.warning("the change table went back from %d to %d", self._position, last)
                self._recent.clear()
                self._position = last
                self._on_lost()
                self._move()
                return False
            if last == self._position:
                return False
            while self._position < last:
                page = await in_pool(
                    self._executor, self._authority.changes, self._position, self._config.changes_page
                )
                if not page:
                    break
                self._take(page)
            return True

    async def follow(self) -> None:
        """Keep up with the table until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            try:
                await self.catch_up()
            except HazlinkError as error:
                _LOG.warning("the change table cannot be read: %s", error)
            await self._pause()

    async def watch(
        self, identifiers: Sequence[str], prefix: Prefix | None, after: int, principal: Principal
    ) -> AsyncIterator[Change]:
        """Yield every change of what is named, in order; see `resolver.service.Resolver.watch`."""
        wanted = self._wanted(identifiers, prefix, principal)
        if self._position is None:
            await self.catch_up()
        position = after or self.position
        while True:
            moved = self._moved
            page = await self._after(position)
            for change in page:
                position = change.position
                if change.identifier in wanted or (prefix is not None and self._belongs(change, prefix)):
                    yield change
            if not page:
                await moved.wait()

    def _take(self, page: Sequence[Change]) -> None:
        if self._position is not None and page[0].position != self._position + 1:
            self._on_lost()
            self._recent.clear()
        for change in page:
            self._recent.append(change)
            self._on_change(change)
        self._position = page[-1].position
        self._move()

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _pause(self) -> None:
        woken = asyncio.ensure_future(self._woken.wait())
        timer = asyncio.ensure_future(self._clock.sleep(self._config.changes_poll_seconds))
        try:
            await asyncio.wait({woken, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            timer.cancel()

    async def _after(self, position: int) -> Sequence[Change]:
        size = self._config.changes_page
        if position >= self.position:
            return ()
        if self._recent and self._recent[0].position <= position + 1:
            start = position + 1 - self._recent[0].position
            return list(islice(self._recent, start, start + size))
        return await in_pool(self._executor, self._authority.changes, position, size)

    def _wanted(
        self, identifiers: Sequence[str], prefix: Prefix | None, principal: Principal
    ) -> frozenset[str]:
        if prefix is not None:
            principal.require(Operation.RECORD_LIST, prefix)
            self._require_homed(prefix.key, Identifier(f"{prefix.key}/*", prefix, "*"))
        keys = []
        for number, spelling in enumerate(identifiers):
            identifier = Identifier.parse(spelling, field=f"identifiers[{number}]")
            self._require_homed(spelling, identifier)
            keys.append(identifier.key)
        return frozenset(keys)

    def _require_homed(self, spelling: str, identifier: Identifier) -> None:
        if not self._authority.homes(identifier):
            raise NotResponsibleError("resolver.walk.watch_elsewhere", field="identifiers", value=spelling)

    def _belongs(self, change: Change, prefix: Prefix) -> bool:
        identifier = Identifier.parse(change.identifier)
        return self._authority.homes(identifier) and self._authority.owner(identifier) == prefix
