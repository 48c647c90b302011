"""From a worker to the first process: whole HTTP requests over a socket in a folder only the node can enter.

A worker answers reads by itself. Anything else goes, as it came, to the first process, which owns every write; what
travels with it is who asked, from where, and whether the connection was encrypted, in one header that the first
process reads on this socket and nowhere else.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httptools

from registry.errors import MalformedError, UnavailableError

__all__ = ["Forwarder", "FromWorker"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_FROM = b"x-hazlink-from"
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
#: POST requests that only read.
_READING_POSTS = frozenset({"/resolver/v1/batch"})
#: Headers that speak about one connection, and those that the worker's own edge adds.
_OF_CONNECTION = frozenset(
    {
        *(b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer", b"expect"),
        *(b"content-length", b"x-request-id", b"x-content-type-options", b"date", b"server"),
    }
)
_CHUNK = 65_536
_PATIENCE_SECONDS = 120.0


class Forwarder:
    """In a worker: hands what is not a read to the first process.

    Args:
        app: answers reads.
        path: the socket of the first process.
        written: awaited after each forwarded request, so that this worker's next read sees the write.
    """

    def __init__(self, app: Application, *, path: str, written: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self._path = path
        self._written = written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event of the ASGI server."""
        if (
            scope["type"] != "http"
            or scope["method"] in _READS
            or (scope["method"] == "POST" and scope["path"] in _READING_POSTS)
        ):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await self._ask(_request(scope, body))
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            raise UnavailableError("node.serving.first_silent", retry_after=2) from error
        await self._written()
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": bytes(answer.body)})

    async def _ask(self, request: bytes) -> "_Answer":
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            writer.write(request)
            await writer.drain()
            answer = _Answer()
            parser = httptools.HttpResponseParser(answer)
            answer.parser = parser
            while not answer.complete:
                chunk = await reader.read(_CHUNK)
                if not chunk:
                    raise ConnectionResetError
                parser.feed_data(chunk)
            return answer
        finally:
            writer.close()


class FromWorker:
    """In the first process, on the workers' socket only: gives a request back who really asked."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event of the ASGI server.

        Raises:
            MalformedError: somebody else than a worker is talking here.
        """
        if scope["type"] == "http":
            told = next((value for name, value in scope["headers"] if name == _FROM), None)
            parts = told.decode("latin-1").split("|") if told else []
            if len(parts) != 3:  # noqa: PLR2004 — address, scheme, request id
                raise MalformedError("node.serving.not_a_worker")
            address, scheme, request_id = parts
            scope["client"] = (address, 0) if address else None
            scope["scheme"] = scheme
            scope["hazlink.request_id"] = request_id
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != _FROM]
        await self._app(scope, receive, send)


class _Answer:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.status = 502
        self.headers: Headers = []
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that speaks about the answer."""
        if name.lower() not in _OF_CONNECTION:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take the status."""
        self.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """Add the length of what came."""
        self.headers.append((b"content-length", b"%d" % len(self.body)))
        self.complete = True


def _request(scope: Scope, body: bytes) -> bytes:
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    address = scope["client"][0] if scope.get("client") else ""
    told = f"{address}|{scope['scheme']}|{scope.get('hazlink.request_id', '')}".encode("latin-1")
    kept = [pair for pair in scope["headers"] if pair[0] not in _OF_CONNECTION and pair[0] != _FROM]
    lines = [
        b"%s %s HTTP/1.1" % (scope["method"].encode(), target),
        *(b"%s: %s" % pair for pair in kept),
        _FROM + b": " + told,
        b"content-length: %d" % len(body),
        b"connection: close",
        b"",
        b"",
    ]
    return b"\r\n".join(lines) + body


async def _whole(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise UnavailableError("node.serving.gone")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)
