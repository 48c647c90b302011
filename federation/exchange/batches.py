"""One request of a lane and what came back, and what lies ready to go behind it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from federation.exchange.plans import Send
from federation.exchange.receipt import Line
from federation.exchange.storage.sending import Outgoing
from resolver.pool import in_pool

__all__ = ["Ahead", "Batch"]

_TAKEN = 200


@dataclass(frozen=True, slots=True)
class Batch:
    """What was sent, and what came back.

    Attributes:
        plan: what was really sent.
    """

    plan: Send
    rows: Sequence[Outgoing]
    lines: Sequence[Line]

    def taken(self) -> bool:
        """Say whether all of it seems to be taken; the receipts are not verified yet."""
        whole = not self.plan.alone and len(self.lines) == len(self.rows)
        return whole and all(line.status == _TAKEN for line in self.lines)

    def next(self, window: int) -> Send:
        """Return the plan of the batch behind this one.

        Args:
            window: how many the lane lets into one request now; it grows again while everything is taken.
        """
        return Send(self.plan.epoch, self.plan.first + self.plan.count, window)


class Ahead:
    """Reads the envelopes of one lane, those of the next request while the one before is under way.

    What was read ahead counts only when it is exactly what is planned then, whole; whatever else it came to, an error
    too, is read again when it is due. One task at a time.

    Args:
        load: returns the envelopes of a plan.
        executor: where it blocks.
    """

    __slots__ = ("_executor", "_load", "_plan", "_task")

    def __init__(self, load: Callable[[Send], Sequence[Outgoing]], executor: Executor) -> None:
        self._load = load
        self._executor = executor
        self._plan: Send | None = None
        self._task: asyncio.Task[Sequence[Outgoing]] | None = None

    def begin(self, plan: Send) -> None:
        """Begin to read what will probably be asked for next."""
        self.drop()
        self._plan = plan
        self._task = asyncio.ensure_future(self._read(plan))

    async def rows(self, plan: Send) -> Sequence[Outgoing]:
        """Return the envelopes of a plan.

        Raises:
            HazlinkError: as `load`.
        """
        task, same = self._task, self._plan == plan
        if task is not None and same:
            self._task = None
            found = await task
            if len(found) == plan.count:
                return found
        self.drop()
        return await in_pool(self._executor, self._load, plan)

    def drop(self) -> None:
        """Forget what was read ahead."""
        if self._task is not None:
            self._task.cancel()
        self._task = None

    async def _read(self, plan: Send) -> Sequence[Outgoing]:
        try:
            return await in_pool(self._executor, self._load, plan)
        except Exception:  # noqa: BLE001 — it is read again when it is due, and says so then
            return ()
