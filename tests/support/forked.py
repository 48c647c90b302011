"""Nodes that are started by a fork of a process that has read all the code, instead of by a new interpreter.

    with Zygote() as zygote, ForkedServed(zygote, folder) as served:
        served.kill(); served.start()

For tests that start nodes very often. What is the same and what is not: see `tests.support.zygote`.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from tests.support.processes import PATIENCE, ROOT, Served, environment
from tests.support.zygote import MOST_BYTES, STATUS

__all__ = ["Forked", "ForkedServed", "Zygote"]


class Forked:
    """A forked process, as its `subprocess.Popen` would show it.

    Attributes:
        pid: its number.
        stdout: what it prints.
        returncode: its exit status, -n for signal n; None while it runs.
    """

    def __init__(self, pid: int, handle: int, stdout: IO[bytes], status: int) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        # they own their handles, which close with this object, and not while another thread may look
        self._handle = os.fdopen(handle, "rb", buffering=0)
        self._status = os.fdopen(status, "rb", buffering=0)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return its exit status when it has ended."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; return its exit status.

        Raises:
            subprocess.TimeoutExpired: it runs still.
        """
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("a forked node", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended."""
        with self._lock:
            if self.returncode is None:
                # by its handle: its number may belong to somebody else by now
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._handle.fileno(), number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a word."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            with self._lock:
                if self.returncode is None:
                    raw = self._status.read(STATUS.size)
                    if not raw:
                        raise ChildProcessError("the process that forks is gone")
                    (self.returncode,) = STATUS.unpack(raw)
        return self.returncode


class Zygote:
    """The process that forks. Any thread may ask it."""

    def __init__(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE)
        self._control = ours
        self._lock = threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote", str(its.fileno())],
            cwd=ROOT,
            # what a serving process sets before it imports gRPC
            env=environment(GRPC_ENABLE_FORK_SUPPORT="0"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(its.fileno(),),
        )
        its.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and with it whatever it forked and still runs."""
        self._control.close()
        self.process.wait(PATIENCE)

    def start(self, words: Sequence[str], given: dict[str, str], errors: IO[bytes]) -> Forked:
        """Start `hazlink WORDS…` in a process of its own.

        Args:
            words: of the command line.
            given: the whole environment.
            errors: where its standard error goes.
        """
        order = json.dumps({"words": list(words), "environment": given, "folder": str(ROOT)}).encode()
        assert len(order) < MOST_BYTES
        out, its_out = os.pipe()
        status, its_status = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._control, [order], [its_out, errors.fileno(), its_status])
                raw, handles, _, _ = socket.recv_fds(self._control, MOST_BYTES, 1)
        except OSError:
            os.close(out)
            os.close(status)
            raise
        finally:
            os.close(its_out)
            os.close(its_status)
        assert raw, "the process that forks is gone; what it said stands above"
        return Forked(json.loads(raw)["pid"], handles[0], os.fdopen(out, "rb"), status)


class ForkedServed(Served):
    """`hazlink serve` on a data folder, forked.

    Args:
        zygote: what forks.
        data: the folder.
        settings: environment variables that stand over the folder's settings.
    """

    def __init__(self, zygote: Zygote, data: Path, **settings: str) -> None:
        super().__init__(data, **settings)
        self._zygote = zygote

    def launch(self) -> None:
        """Start it, and do not wait."""
        with self.log.open("ab") as errors:
            self.process = self._zygote.start(
                ["serve", "--data", str(self.data), "--json"], environment(**self._settings), errors
            )
