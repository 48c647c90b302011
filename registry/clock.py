"""Time as an argument.

One `Clock` is made by the composition root and handed to whoever needs time; nothing else in the product
reads it (ruff TID251 bans the alternatives). One decision uses one instant.
"""

import asyncio
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """The time of day, a steady counter, and waiting."""

    def now(self) -> float:
        """Return seconds since 1970-01-01T00:00:00Z (POSIX time)."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a counter that never runs backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` without blocking the event loop."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return seconds since 1970-01-01T00:00:00Z."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of the machine's monotonic counter."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)
