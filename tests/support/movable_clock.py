"""A node by a clock that others can put forward while it serves: three days pass in a minute, in a real process.

python -m tests.support.movable_clock DATA CLOCK      `hazlink serve` by that clock
"""

import mmap
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import orjson

from registry.clock import SystemClock
from tests.support.processes import ROOT, Served, environment, until

__all__ = ["ClockFile", "MovableClock", "MovableServed"]

_MACHINE = time.time


class ClockFile:
    """How far the clocks of some processes are ahead of the machine's, in a file they all map."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    @property
    def ahead(self) -> float:
        """Seconds."""
        found: float = struct.unpack("d", self._map[:8])[0]
        return found

    def forward(self, seconds: float) -> None:
        """Put all those clocks forward."""
        self._map[:8] = struct.pack("d", self.ahead + seconds)


class MovableClock(SystemClock):
    """The machine's clock and a `ClockFile`: who waits for an hour waits until the clock says that it is over."""

    def __init__(self, file: ClockFile) -> None:
        self._file = file

    def now(self) -> float:
        return _MACHINE() + self._file.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self._file.ahead

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        await super().sleep(min(max(seconds, 0.0), 0.25))
        while (left := end - self.monotonic()) > 0:
            await super().sleep(min(left, 0.25))


class MovableServed(Served):
    """`hazlink serve` by a movable clock."""

    def __init__(self, data: Path, clock: Path, **settings: str) -> None:
        super().__init__(data, **settings)
        self._clock = clock

    def start(self) -> Self:
        """Start it, and wait until it is ready."""
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.movable_clock", str(self.data), str(self._clock)],
                cwd=ROOT,
                env=environment(**self._settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        line = self.process.stdout.readline()
        assert line, self.log.read_text()[-4_000:]
        ready = orjson.loads(line)
        self.url, self.grpc = ready["http"], ready["grpc"]
        until(lambda: self.client.get("/health/ready").status_code == 200, f"{self.data} ready")
        return self


def _serve(data: Path, clock: Path) -> None:
    from node.serving import serve
    from node.settings import load

    def tell(ready: Any) -> None:
        sys.stdout.buffer.write(orjson.dumps({"http": ready.http, "grpc": ready.grpc}) + b"\n")
        sys.stdout.buffer.flush()

    movable = MovableClock(ClockFile(clock))
    # the date of each HTTP answer, which is not ours to make, goes by it too: peers read it
    time.time = movable.now
    serve(load(data), clock=movable, given={}, on_ready=tell)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), Path(sys.argv[2]))
