"""What a node does beside answering: each task watched, started again when it fails, ended with the node."""

import asyncio
from collections.abc import Awaitable, Callable

from node.logs import logger
from registry.clock import Clock
from registry.errors import HazlinkError, UnavailableError

__all__ = ["Background"]

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class Background:
    """The background tasks of one process. Owner of the state: its event loop."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._failing: dict[str, str] = {}
        self._log = logger("node.background")

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run something for ever."""
        self._tasks.append(asyncio.create_task(self._keep(name, run), name=name))

    def every(self, name: str, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """Do something again and again, with this pause between."""

        async def repeat() -> None:
            while True:
                await act()
                await self._clock.sleep(seconds)

        self.start(name, repeat)

    async def stop(self) -> None:
        """End all tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def check(self) -> HazlinkError | None:
        """Say which task does not run as it should."""
        if not self._failing:
            return None
        name, reason = next(iter(self._failing.items()))
        return UnavailableError("node.health.background", name=name, reason=reason)

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            started = self._clock.monotonic()
            try:
                await run()
                reason = "ended"
            except Exception as error:  # noqa: BLE001 — whatever ends a task, it is noted and started again
                reason = type(error).__name__
                self._log.error("background task failed", name=name, exc_info=error)
            lived = self._clock.monotonic() - started
            pause = (
                _FIRST_PAUSE_SECONDS
                if lived > _LONGEST_PAUSE_SECONDS
                else min(pause * 2, _LONGEST_PAUSE_SECONDS)
            )
            self._failing[name] = reason
            await self._clock.sleep(pause)
            self._failing.pop(name, None)
