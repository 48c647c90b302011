"""`hazlink serve`: the process that owns the writes, and the workers beside it.

Order of a start: settings, lock, listening socket, schema, node, doors, workers, ready. Order of a stop (SIGTERM or
SIGINT): not ready any more, workers and public doors within one grace, the workers' sockets, the node, the lock.
A second signal ends at once.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node import logs
from node.doors import HttpDoor, listen, listen_unix
from node.forwarding import Forwarder, FromWorker
from node.settings import Settings, load
from node.tls import TlsFiles, check_doors
from node.tls import load as load_tls
from node.workers import Workers, WorkerTask
from registry.clock import Clock
from registry.errors import UnavailableError

if TYPE_CHECKING:
    from node.wiring import Node

__all__ = ["Ready", "serve", "work"]

_RESTART_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What a started node tells whoever started it."""

    prefixes: tuple[str, ...]
    http: str
    grpc: str


def serve(
    settings: Settings,
    *,
    clock: Clock,
    given: dict[str, dict[str, object]],
    on_ready: Callable[[Ready], None],
) -> None:
    """Serve until a signal comes; the first process.

    Raises:
        UnavailableError: another process serves this folder, or a port is taken.
        InvalidValueError: the settings do not fit together.
    """
    logs.configure(settings.logs)
    # Workers are fresh programs, never forked copies that would go on using gRPC's threads.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    _run(_first(settings, clock, given, on_ready))


def work(line: bytes, *, clock: Clock) -> None:
    """Serve until a signal comes or the first process is gone; a worker."""
    task = WorkerTask.from_line(line)
    settings = load(Path(task.data), **task.given)
    logs.configure(settings.logs, process=f"worker-{task.number}")
    _run(_worker(settings, task, clock))


def _run(main: Any) -> None:
    import uvloop  # noqa: PLC0415 — only a serving process needs it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def _first(
    settings: Settings,
    clock: Clock,
    given: dict[str, dict[str, object]],
    on_ready: Callable[[Ready], None],
) -> None:
    doors = settings.doors
    tls = load_tls(settings.tls, settings.data)
    check_doors(doors, settings.tls, encrypted=tls is not None)
    stop = _stop_event(second_ends=True)
    async with AsyncExitStack() as stack:
        if settings.storage.database_url.startswith("sqlite") or not settings.storage.database_url:
            stack.callback(_lock(settings.data / "serve.lock"))
        several = doors.workers > 1
        patience = _RESTART_PATIENCE_SECONDS if several else 0.0
        listener = await listen(doors.http_host, doors.http_port, clock=clock, patience_seconds=patience)
        stack.callback(listener.close)
        private = _private_folder(stack) if several else None
        if private is not None:
            # The metrics of all processes; must be known before the library is imported.
            (private / "metrics").mkdir()
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(private / "metrics")
        node = _build(settings, clock)
        stack.push_async_callback(node.stop)
        await node.start(first=True)
        grpc_doors = await _grpc_doors(node, settings, tls, private)
        http_door = HttpDoor(node.asgi(), listener=listener, config=doors, tls=tls, clock=clock)
        inner = _inner_door(node, settings, clock, private)
        workers = Workers(
            _tasks(settings, given, listener, grpc_doors.port, private),
            clock=clock,
            grace_seconds=doors.stop_grace_seconds + 2,
        )
        if inner is not None:
            await inner.start()
        await http_door.start()
        workers.start()
        on_ready(_ready(settings, node, listener, grpc_doors.port, tls))
        await stop.wait()
        node.begin_stopping()
        # One grace for all: the doors of every process at the same time.
        grace = doors.stop_grace_seconds
        await asyncio.gather(workers.stop(), http_door.stop(), grpc_doors.public.stop(grace))
        # The workers' doors close last: nothing is lost that is still under way to them.
        if grpc_doors.inner is not None and inner is not None:
            await asyncio.gather(grpc_doors.inner.stop(grace), inner.stop())


async def _worker(settings: Settings, task: WorkerTask, clock: Clock) -> None:
    tls = load_tls(settings.tls, settings.data)
    # A worker gets two as a rule: from whoever stops all processes of the service, and from the first one.
    stop = _stop_event(second_ends=False)
    _stop_when_orphaned(stop, Path(task.first).parent)
    async with AsyncExitStack() as stack:
        node = _build(settings, clock)
        stack.push_async_callback(node.stop)
        await node.start(first=False)
        calls = node.call_forwarder(task.first_grpc)
        stack.push_async_callback(calls.close)
        grpc_door = node.grpc_door(address=task.grpc_address, share_port=True, tls=tls, writes=calls)
        await grpc_door.start()
        app = node.asgi(lambda inner: Forwarder(inner, path=task.first, written=node.catch_up))
        listener = socket.socket(fileno=task.http_socket)
        http_door = HttpDoor(app, listener=listener, config=settings.doors, tls=tls, clock=clock)
        await http_door.start()
        logs.logger("node.serving").info("worker ready", number=task.number)
        await stop.wait()
        node.begin_stopping()
        grace = settings.doors.stop_grace_seconds
        await asyncio.gather(http_door.stop(), grpc_door.stop(grace))


def _build(settings: Settings, clock: Clock) -> "Node":
    from node.wiring import build  # noqa: PLC0415 — after the environment of the metrics is set

    return build(settings, clock)


@dataclass(frozen=True, slots=True)
class _GrpcDoors:
    port: int
    public: Any
    inner: Any = None


async def _grpc_doors(
    node: "Node", settings: Settings, tls: TlsFiles | None, private: Path | None
) -> _GrpcDoors:
    doors = settings.doors
    address = _address(doors.grpc_host, doors.grpc_port)
    public = node.grpc_door(address=address, share_port=private is not None, tls=tls)
    port = await public.start()
    if private is None:
        return _GrpcDoors(port, public)
    inner = node.grpc_door(address=f"unix:{private / 'grpc'}", share_port=False, tls=None, limited=False)
    await inner.start()
    return _GrpcDoors(port, public, inner)


def _inner_door(node: "Node", settings: Settings, clock: Clock, private: Path | None) -> HttpDoor | None:
    if private is None:
        return None
    app = FromWorker(node.application)
    listener = listen_unix(str(private / "http"))
    return HttpDoor(app, listener=listener, config=settings.doors, tls=None, clock=clock)


def _tasks(
    settings: Settings,
    given: dict[str, dict[str, object]],
    listener: socket.socket,
    grpc_port: int,
    private: Path | None,
) -> list[WorkerTask]:
    if private is None:
        return []
    return [
        WorkerTask(
            data=str(settings.data),
            number=number,
            http_socket=listener.fileno(),
            grpc_address=_address(settings.doors.grpc_host, grpc_port),
            first=str(private / "http"),
            first_grpc=str(private / "grpc"),
            given=given,
        )
        for number in range(1, settings.doors.workers)
    ]


def _ready(
    settings: Settings, node: "Node", listener: socket.socket, grpc_port: int, tls: TlsFiles | None
) -> Ready:
    doors = settings.doors
    port = listener.getsockname()[1]
    scheme = "https" if tls else "http"
    return Ready(
        prefixes=tuple(prefix.key for prefix in node.homed()),
        http=f"{scheme}://{_address(doors.http_host, port)}",
        grpc=_address(doors.grpc_host, grpc_port),
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _private_folder(stack: AsyncExitStack) -> Path:
    # Not in the data folder: the name of a Unix socket may have 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="hazlink-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _stop_event(*, second_ends: bool) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def once() -> None:
        if stop.is_set() and second_ends:
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, once)
    return stop


def _stop_when_orphaned(stop: asyncio.Event, private: Path) -> None:
    """Stop when the pipe from the first process ends, however that process ended; clear up what it left."""
    loop = asyncio.get_running_loop()
    pipe = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(pipe, 1):
            loop.remove_reader(pipe)
            shutil.rmtree(private, ignore_errors=True)
            stop.set()

    loop.add_reader(pipe, readable)


def _lock(path: Path) -> Callable[[], None]:
    """Take the lock of a data folder whose database is a file; the kernel drops it with the process."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.read(handle, 20).decode(errors="replace").strip() or "?"
        os.close(handle)
        raise UnavailableError("node.serving.locked", field=str(path.parent), pid=pid) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return lambda: os.close(handle)
