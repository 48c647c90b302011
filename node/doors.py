"""The listening doors of one process: HTTP by uvicorn, gRPC by grpc.aio, both in the one event loop."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from node.config import DoorsConfig
from node.tls import TlsFiles
from registry.clock import Clock
from registry.errors import UnavailableError

__all__ = ["HttpDoor", "listen", "listen_unix"]

_BACKLOG = 2_048
_KEEP_ALIVE_SECONDS = 30
#: A connection on which no whole request head arrives within one to two of these is closed.
_HEAD_SECONDS = 10.0
#: And the head itself may be this long, give or take what is read at once.
_HEAD_BYTES = 65_536
_REFUSED = b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_LATE, _LONG = _REFUSED % b"408 Request Timeout", _REFUSED % b"431 Request Header Fields Too Large"
_TRY_AGAIN_SECONDS = 0.2


class _Connection(HttpToolsProtocol):
    """A connection that reads no endless request head."""

    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what came in; refuse when it is all head and never a request."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before or not _is_over(before):
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > _HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_LONG)
            self.transport.close()


class _Server(uvicorn.Server):
    """A server that leaves signals to the program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def listen(host: str, port: int, *, clock: Clock, patience_seconds: float) -> socket.socket:
    """Return a listening TCP socket.

    Args:
        host: the address; IPv6 is recognised by its colons.
        port: the port; 0 takes a free one.
        clock: the clock.
        patience_seconds: how long to try again when the port is taken: workers of a killed first process need a
            moment to notice that it is gone.

    Raises:
        UnavailableError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    until = clock.monotonic() + patience_seconds
    while True:
        try:
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if clock.monotonic() >= until:
                field = f"{host}:{port}"
                raise UnavailableError("node.serving.port", field=field, reason=error.strerror) from error
        await clock.sleep(_TRY_AGAIN_SECONDS)


def listen_unix(path: str) -> socket.socket:
    """Return a listening socket at `path`, which stands in a folder only the node can enter."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(_BACKLOG)
    return listener


class HttpDoor:
    """One uvicorn server on one socket."""

    def __init__(
        self,
        app: Any,
        *,
        listener: socket.socket,
        config: DoorsConfig,
        tls: TlsFiles | None,
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._clock = clock
        proxies = list(config.trusted_proxies) if listener.family != socket.AF_UNIX else []
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="none",
                http=_Connection,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(config.stop_grace_seconds)),
                ssl_certfile=str(tls.certificate) if tls else None,
                ssl_keyfile=str(tls.private_key) if tls else None,
                ssl_version=ssl.PROTOCOL_TLS_SERVER,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve until `stop`.

        Raises:
            UnavailableError: the server did not come up.
        """
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="http")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise UnavailableError("node.serving.port", field="http", reason="stopped")
            await self._clock.sleep(0.005)
        self._sweep = asyncio.create_task(self._close_idlers(), name="http idlers")

    async def stop(self) -> None:
        """Accept nothing new, let what runs end within the grace, close."""
        if self._task is not None:
            if self._sweep is not None:
                self._sweep.cancel()
            self._server.should_exit = True
            await self._task
            self._task = None

    async def _close_idlers(self) -> None:
        """Close connections that keep a request head to themselves; the server below waits for it without end.

        Looked at from time to time, so that requests pay nothing for it: a connection is late when it waited for a
        head at two looks, and no request came in between.
        """
        connections: set[Any] = self._server.server_state.connections
        waiting: dict[Any, Any] = {}
        while True:
            await self._clock.sleep(_HEAD_SECONDS)
            now = {connection: connection.cycle for connection in connections if _awaits_head(connection)}
            for connection, cycle in now.items():
                if connection in waiting and waiting[connection] is cycle:
                    connection.transport.write(_LATE)
                    connection.transport.close()
            waiting = now


def _awaits_head(connection: Any) -> bool:
    """Say whether a connection has no request under way, and the server's own timer of idle ones does not run."""
    return connection.timeout_keep_alive_task is None and _is_over(connection.cycle)


def _is_over(request: Any) -> bool:
    """Say whether a connection's latest request is answered, or there was none."""
    return request is None or bool(request.response_complete)
