"""Resolver processes beside the first one: started, watched, started again, stopped.

Each is a fresh `python -m node worker`: it inherits the listening HTTP socket, joins the gRPC port, and learns the
rest from one JSON line on its standard input. That pipe stays open as long as the first process lives; its end tells
the worker to stop, however the first process ended.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

import orjson

from node.logs import logger
from registry.clock import Clock

__all__ = ["WorkerTask", "Workers"]

_SHORT_LIFE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a worker is told.

    Attributes:
        data: the data folder.
        number: 1, 2 …
        http_socket: number of the inherited listening socket.
        grpc_address: where to listen beside the others.
        first: path of the first process's socket for HTTP.
        first_grpc: path of the first process's socket for gRPC.
        given: settings that the command line gave.
    """

    data: str
    number: int
    http_socket: int
    grpc_address: str
    first: str
    first_grpc: str
    given: dict[str, dict[str, object]]

    def to_line(self) -> bytes:
        """Return it as one line."""
        return orjson.dumps(asdict(self)) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "WorkerTask":
        """Read the line."""
        return cls(**orjson.loads(line))


class Workers:
    """The worker processes of one node. Owner of the state: the first process's event loop."""

    def __init__(self, tasks: list[WorkerTask], *, clock: Clock, grace_seconds: float) -> None:
        self._tasks = tasks
        self._clock = clock
        self._grace = grace_seconds
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._log = logger("node.workers")

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [process.pid for process in self._running.values()]

    def start(self) -> None:
        """Start them all and watch them."""
        self._watchers = [asyncio.create_task(self._watch(task)) for task in self._tasks]

    async def stop(self) -> None:
        """Ask them to end, and end them when they do not."""
        self._stopping = True
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        processes = list(self._running.values())
        for process in processes:
            _quietly(process.terminate)
        try:
            async with asyncio.timeout(self._grace):
                await asyncio.gather(*(process.wait() for process in processes))
        except TimeoutError:
            for process in processes:
                _quietly(process.kill)
            await asyncio.gather(*(process.wait() for process in processes))

    async def _watch(self, task: WorkerTask) -> None:
        pause = 0.5
        while not self._stopping:
            started = self._clock.monotonic()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "node", "worker"),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(task.http_socket,),
            )
            self._running[task.number] = process
            if process.stdin is not None:
                process.stdin.write(task.to_line())
            code = await process.wait()
            del self._running[task.number]
            lived = self._clock.monotonic() - started
            pause = 0.5 if lived > _SHORT_LIFE_SECONDS else min(pause * 2, _LONGEST_PAUSE_SECONDS)
            self._log.error(
                "worker ended", number=task.number, pid=process.pid, code=code, again_in_seconds=pause
            )
            await self._clock.sleep(pause)


def _quietly(act: Callable[[], None]) -> None:
    with suppress(ProcessLookupError):
        act()
