"""What every HTTP request passes before the application: an id, its limits, its count, its line in the log.

Plain ASGI, because it runs for each request. The body is read here, within its limits and in bounded time, and handed
on whole; nothing behind reads more than `max_body_bytes`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import structlog

from node.config import LimitsConfig
from node.limits import Limiter
from node.logs import logger
from node.metrics import Metrics
from node.problems import refused
from registry.clock import Clock
from registry.errors import HazlinkError, InternalError, LimitError, MalformedError

__all__ = ["Edge", "depth_within"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY_SECONDS = 60.0
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_OPENING = b"[{"


class _SlowError(MalformedError):
    """The body did not arrive in time; HTTP has a status of its own for that."""


def depth_within(body: bytes, limit: int) -> bool:
    """Say whether JSON text is nested at most `limit` deep, without building anything from it."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return True
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in _OPENING else -1
        if depth > limit:
            return False
    return True


class Edge:
    """The outermost layer of the application."""

    def __init__(
        self,
        app: Application,
        *,
        limits: LimitsConfig,
        limiter: Limiter,
        metrics: Metrics,
        clock: Clock,
        new_id: Callable[[], str],
        access_log: bool,
        larger: Mapping[str, int] | None = None,
    ) -> None:
        """Take what stands behind and beside.

        Args:
            app: what is behind the edge.
            limits: what a request may be at most.
            limiter: how often an address may ask.
            metrics: where requests are counted.
            clock: the time.
            new_id: makes the id of a request.
            access_log: whether each request gets a line.
            larger: path prefix → bytes of the few doors that take larger bodies than the rest.
        """
        self._app = app
        self._larger = tuple((larger or {}).items())
        self._limits = limits
        self._limiter = limiter
        self._metrics = metrics
        self._clock = clock
        self._new_id = new_id
        self._log = logger("node.http") if access_log else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event of the ASGI server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id: str = scope.setdefault("hazlink.request_id", "") or self._new_id()
        scope["hazlink.request_id"] = request_id
        structlog.contextvars.bind_contextvars(request=request_id)
        started = self._clock.monotonic()
        status = 500
        begun = False

        async def marked(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                begun = True
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, await self._admitted(scope, receive), marked)
        except HazlinkError as error:
            answer = refused(scope, error, status=408 if isinstance(error, _SlowError) else None)
            # The rest of a body that was refused is still on the wire: the connection cannot be used again.
            answer.headers["connection"] = "close"
            await answer(scope, receive, marked)
        except Exception as error:  # noqa: BLE001 — whatever comes up here must still be answered
            # The application has answered and logged it, and raises it once more for a server that would not.
            if not begun:
                logger("node.http").error("internal", exc_info=error)
                await refused(scope, InternalError("node.problems.internal"))(scope, receive, marked)
        finally:
            self._count(scope, status, self._clock.monotonic() - started)
            structlog.contextvars.unbind_contextvars("request")

    async def _admitted(self, scope: Scope, receive: Receive) -> Receive:
        """Check what can be checked before anything is understood; return a `receive` with the body in it."""
        if scope.get("client"):
            self._limiter.admit(scope["client"][0])
        length = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if length > self._limits.max_target_bytes:
            raise LimitError(
                "node.limits.target", field="url", length=length, limit=self._limits.max_target_bytes
            )
        announced, kind, chunked = _body_headers(scope)
        if not announced and not chunked:
            return receive
        most = self._most(scope["path"])
        if announced > most:
            raise LimitError("node.limits.body", field="body", limit=most)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await _body(receive, most)
        except TimeoutError:
            raise _SlowError("node.limits.slow", field="body", seconds=int(_BODY_SECONDS)) from None
        if body is None:
            return receive
        if b"json" in kind and not depth_within(body, self._limits.max_json_depth):
            raise LimitError("node.limits.depth", field="body", limit=self._limits.max_json_depth)
        return _replayed(body, receive)

    def _most(self, path: str) -> int:
        for start, most in self._larger:
            if path.startswith(start):
                return most
        return self._limits.max_body_bytes

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.request(scope["method"], route, status, seconds)
        if self._log is not None:
            address = scope["client"][0] if scope.get("client") else ""
            self._log.info(
                "request",
                method=scope["method"],
                path=scope["path"][:256],
                status=status,
                milliseconds=round(seconds * 1000, 1),
                address=address,
            )


async def _body(receive: Receive, most: int) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise LimitError("node.limits.body", field="body", limit=most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _body_headers(scope: Scope) -> tuple[int, bytes, bool]:
    announced, kind, chunked = 0, b"", False
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise MalformedError(
                    "node.limits.length", field="Content-Length", value=value[:32].decode("latin-1")
                )
            announced = int(value[:20])
        elif name == b"content-type":
            kind = value.lower()
        elif name == b"transfer-encoding":
            chunked = True
    return announced, kind, chunked


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
