"""A process that has read all the code of a node and forks a node for each start; `tests.support.forked` talks to it.

python -m tests.support.zygote HANDLE      HANDLE: a Unix socket of packets it was given

What the fork stands for is the start of the interpreter and its imports, about two seconds of processor time that
show nothing; and the seed of `hash(str)` is the same for all children. All else is as in `python -m node …`: the same
main function with its words, environment, folder and files of its own, in a process of its own, with its own sockets,
database connections, threads, locks, randomness; it ends by itself or by a signal, and its status is handed on.

Forking is sound only while there is nothing that does not survive it. So this process starts no thread, makes no
gRPC channel or server (the gRPC core stays asleep), no event loop, opens no database, and refuses to fork when it
finds a second thread in itself. Only nodes of one process: the metrics of several must know their folder before they
are imported.
"""

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

__all__ = ["MOST_BYTES", "STATUS", "become", "orders"]

#: An order is at most so long.
MOST_BYTES = 1 << 18
#: How the exit status of a child is written to its pipe: as `Popen.returncode` has it.
STATUS = struct.Struct("i")
#: What a serving node imports, also what it imports late.
_CODE = (
    "node.cli",
    "node.serving",
    "node.wiring",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlite3.dbapi2",
    "typer._adapters",
    "uvicorn.lifespan.off",
    "uvloop",
)


@dataclass(frozen=True, slots=True)
class _Order:
    """One start."""

    words: list[str]
    environment: dict[str, str]
    folder: str


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    handle: int
    status: int

    def forget(self) -> None:
        os.close(self.handle)
        os.close(self.status)


def orders(control: socket.socket) -> _Order | None:
    """Fork for each order, and tell how each child ended.

    Returns:
        In a child its order; in the first process None, when nobody can give orders any more. Its children are gone
        then.
    """
    children: dict[int, _Child] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    try:
        while True:
            for handle, _ in poll.poll():
                if handle != control.fileno():
                    poll.unregister(handle)
                    _told(children.pop(handle))
                    continue
                raw, files, _, _ = socket.recv_fds(control, MOST_BYTES, 3)
                if not raw:
                    raise EOFError
                child = _fork(control, files, children)
                if child is None:
                    return _Order(**json.loads(raw))
                children[child.handle] = child
                poll.register(child.handle, select.POLLIN)
    except (EOFError, KeyboardInterrupt):
        _end(children)
        return None


def _fork(control: socket.socket, files: list[int], children: dict[int, _Child]) -> _Child | None:
    """Fork; return the child, and None inside it, which has its own files and nothing of the others' then."""
    out, errors, status = files
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        _end(children)
        raise SystemExit(f"there are {threads} threads: a fork would lose them")
    pid = os.fork()
    if pid:
        os.close(out)
        os.close(errors)
        handle = os.pidfd_open(pid)
        socket.send_fds(control, [json.dumps({"pid": pid}).encode()], [handle])
        return _Child(pid, handle, status)
    control.close()
    os.close(status)
    for other in children.values():
        other.forget()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for given, place in ((nothing, 0), (out, 1), (errors, 2)):
        os.dup2(given, place)
        os.close(given)
    return None


def _told(child: _Child) -> None:
    """Take leave of a child that has ended."""
    _, waited = os.waitpid(child.pid, 0)
    # nobody may want to know any more
    with suppress(BrokenPipeError):
        os.write(child.status, STATUS.pack(os.waitstatus_to_exitcode(waited)))
    child.forget()


def _end(children: dict[int, _Child]) -> None:
    for child in children.values():
        signal.pidfd_send_signal(child.handle, signal.SIGKILL)
        _told(child)


def become(order: _Order) -> None:
    """Do what `python -m node` does."""
    os.environ.clear()
    os.environ.update(order.environment)
    os.chdir(order.folder)
    sys.argv = ["hazlink", *order.words]
    import_module("node.cli").main()


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in _CODE:
        import_module(name)
    # the collector of a child need not look through what it was born with, nor copy those pages
    gc.collect()
    gc.freeze()
    order = orders(control)
    if order is not None:
        become(order)


if __name__ == "__main__":
    _main()
