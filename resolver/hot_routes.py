"""The small ASGI dispatcher in front of FastAPI, for the two HTTP routes that are asked most.

- `GET /api/handles/{handle}` without parameters and credentials: answered from `Ready`, else resolved here and kept;
- `POST /resolver/v1/batch`, by which nodes ask each other: `BatchResolveRequest` in, `BatchResolveReply` out.

Everything else, and everything that is not a plain success, goes on to the application behind, which has the same
routes with all their parameters, answers and errors, and describes them in the OpenAPI. A body that was already read
is handed on with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import orjson
from fastapi import APIRouter, Request, Response

from registry.access import ANYONE, Access
from registry.clock import Clock
from registry.errors import HazlinkError, LimitError, MalformedError
from registry.identifier import fold, from_url_path
from registry.principal import ANONYMOUS, Principal
from resolver.answer import Answer, Outcome, Query, Source
from resolver.ready import Fragment, Ready
from resolver.servicer_guard import Throttle
from resolver.servicer_hot import KEEP_SECONDS, PREFETCH_SHARE, Answers, HotResolver, keepable

__all__ = ["ACCESS", "BATCH_PATH", "PROTOBUF", "BatchNode", "HotRoutes", "router"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BATCH_PATH = "/resolver/v1/batch"
PROTOBUF = "application/x-protobuf"
#: 2,000 identifiers of 255 bytes fit twice.
MAX_BODY_BYTES = 1 << 20
#: What takes longer to arrive is left to the application, which waits for it as for any other body.
_BODY_SECONDS = 10.0

ACCESS: Access = {f"POST {BATCH_PATH}": ANYONE}

_ENCODING = "handle"
_HANDLES = b"/api/handles/"
_BATCH = BATCH_PATH.encode()
_OPENING = b'{"responseCode":1,"handle":'
_JSON_HEADERS = (
    (b"content-type", b"application/json;charset=UTF-8"),
    (b"access-control-allow-origin", b"*"),
    (b"vary", b"Authorization"),
    (b"x-content-type-options", b"nosniff"),
)


class HotRoutes:
    """Answers what it can at once; hands the rest to the application.

    Args:
        app: the application behind.
        resolver: answers what is not kept.
        hot: answers batches.
        ready: keeps encoded answers; shared with the gRPC door.
        clock: the clock.
        handle_tail: the Handle JSON body of a found answer from after the handle on (`,"values":[…]}`).
        throttle: refuses addresses that ask too often; the application then says so.

    Attributes:
        hits: handles answered from what is kept.
        misses: handles asked of the resolver.
    """

    def __init__(
        self,
        app: Application,
        *,
        resolver: Answers,
        hot: HotResolver,
        ready: Ready,
        clock: Clock,
        handle_tail: Callable[[Answer], bytes],
        throttle: Throttle | None = None,
    ) -> None:
        self._app = app
        self._resolver = resolver
        self._hot = hot
        self._ready = ready
        self._now = clock.monotonic
        self._get = ready.table(_ENCODING).get
        self._tail = handle_tail
        self._throttle = throttle
        self.hits = 0
        self.misses = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event of the ASGI server."""
        if scope["type"] == "http" and not scope["query_string"]:
            path: bytes = scope["raw_path"]
            if path.startswith(_HANDLES):
                if scope["method"] == "GET" and self._may_pass(scope) and await self._handle(path, send):
                    return
            elif path == _BATCH and scope["method"] == "POST" and self._may_pass(scope):
                await self._batch(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        """Say whether the call is anonymous and within its rate; the application deals with the others."""
        for name, _ in scope["headers"]:
            if name == b"authorization":
                return False
        if self._throttle is not None and scope["client"]:
            try:
                self._throttle.admit(scope["client"][0])
            except HazlinkError:
                return False
        return True

    async def _handle(self, path: bytes, send: Send) -> bool:
        raw = path[len(_HANDLES) :]
        try:
            asked = from_url_path(raw)
        except HazlinkError:
            return False
        fragment = self._get(asked.upper() if asked.isascii() else fold(asked))
        now = self._now()
        if fragment is not None and now <= fragment.until:
            self.hits += 1
        else:
            self.misses += 1
            fragment = await self._resolved(asked)
            if fragment is None:
                return False
        body = _OPENING + orjson.dumps(asked) + fragment.data
        headers = [*_JSON_HEADERS, (b"content-length", b"%d" % len(body)), (b"etag", fragment.etag)]
        if not fragment.authoritative:
            headers.append((b"age", b"%d" % (self._now() - fragment.since)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    async def _resolved(self, asked: str) -> Fragment | None:
        mark = self._ready.mark()
        try:
            answer = await self._resolver.resolve(Query(asked), ANONYMOUS)
        except HazlinkError:
            return None
        if answer.outcome is Outcome.DELETED or not keepable(answer, ANONYMOUS):
            return None
        record = answer.record
        if record is None or not record.values:  # nothing is left to show: another response code
            return None
        own = answer.source is Source.AUTHORITATIVE
        now = self._now()
        fragment = Fragment(
            data=self._tail(answer),
            authoritative=own,
            since=now - answer.age,
            ttl_ends=now + answer.ttl,
            until=now + (min(answer.ttl, KEEP_SECONDS) if own else answer.ttl * PREFETCH_SHARE),
            etag=b'"%d"' % record.version,
        )
        self._ready.put(_ENCODING, record.identifier.key, fragment, mark=mark)
        return fragment

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        events, body = await _read(receive)
        reply = await self._batched(_content_type(scope), body) if body is not None else None
        if reply is None:
            await self._app(scope, _replayed(events, receive), send)
            return
        headers = [(b"content-type", PROTOBUF.encode()), (b"content-length", b"%d" % len(reply))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    async def _batched(self, content_type: str, body: bytes) -> bytes | None:
        try:
            _check(content_type, body)
            return await self._hot.batch(body, ANONYMOUS)
        except HazlinkError:
            return None


class BatchNode(Protocol):
    """What the batch route finds at `request.app.state.node`."""

    @property
    def hot(self) -> HotResolver:
        """Answers encoded questions."""
        ...


router = APIRouter(tags=["resolver"])


@router.post(
    BATCH_PATH,
    response_class=Response,
    responses={200: {"content": {PROTOBUF: {}}, "description": "hazlink.resolver.v1.BatchResolveReply"}},
    openapi_extra={"requestBody": {"required": True, "content": {PROTOBUF: {}}}},
)
async def batch(request: Request) -> Response:
    """Answer up to 2,000 identifiers at once; `hazlink.resolver.v1.BatchResolveRequest` in protobuf encoding."""
    node: BatchNode = request.app.state.node
    principal: Principal = request.state.principal
    body = await request.body()
    _check(request.headers.get("content-type", ""), body)
    return Response(await node.hot.batch(body, principal), media_type=PROTOBUF)


def _content_type(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return str(value, "latin-1")
    return ""


def _check(content_type: str, body: bytes) -> None:
    if content_type.partition(";")[0].strip().lower() != PROTOBUF:
        raise MalformedError("resolver.door.media_type", field="Content-Type", value=content_type)
    if len(body) > MAX_BODY_BYTES:
        raise LimitError("resolver.door.body_large", field="body", limit=MAX_BODY_BYTES)


async def _read(receive: Receive) -> tuple[list[MutableMapping[str, Any]], bytes | None]:
    """Read the body, or as much of it as is allowed; None when it does not come."""
    events: list[MutableMapping[str, Any]] = []
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while size <= MAX_BODY_BYTES:
                event = await receive()
                events.append(event)
                if event["type"] != "http.request":
                    break
                chunk: bytes = event.get("body", b"")
                chunks.append(chunk)
                size += len(chunk)
                if not event.get("more_body", False):
                    break
    except TimeoutError:
        return events, None
    return events, b"".join(chunks)


def _replayed(events: list[MutableMapping[str, Any]], receive: Receive) -> Receive:
    """Return a `receive` that gives what was read already, then goes on."""
    waiting = iter(events)

    async def again() -> MutableMapping[str, Any]:
        return next(waiting, None) or await receive()

    return again
