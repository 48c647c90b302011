"""HTTP door of the exchange: `/exchange/…`, for other nodes alone. Refusals are raised; the application answers them.

Batches are NDJSON: a token a line (a JWS has no character that JSON or a line break would need to escape), and one
JSON line back for each. Every route but the session asks for the role `node` at exactly one prefix: that is the peer.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from federation.exchange.inbound import Inbound
from federation.exchange.pressure import Pressure
from federation.exchange.receipt import MAX_RECEIPT_BYTES, Line
from federation.exchange.streams import (
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_BODY_BYTES,
    MAX_ENVELOPE_BYTES,
    STREAMS,
    is_stream,
)
from registry.errors import (
    ForbiddenError,
    InvalidValueError,
    LimitError,
    MalformedError,
    NotFoundError,
)
from registry.identifier import Prefix
from registry.principal import Principal, Role
from registry.trust import strict_json
from registry.trust.claims import Claims
from registry.trust.encoding import from_b64u
from resolver.pool import in_pool

__all__ = ["LARGER", "Exchange", "ExchangeNode", "Outbound", "make_router"]

NDJSON = "application/x-ndjson"
_NO_STORE = {"cache-control": "no-store"}
_MAX_FORM_BYTES = 1_048_576
_MAX_PROOFS = 1_000
_MAX_HEADS = 256
_MAX_WAIT_SECONDS = 60.0
_MAX_DIGITS = 16
_DIGEST_BYTES = 32
_SENT_LIMIT = 64

#: Doors that take larger bodies than the rest of the node: path prefix → bytes. The first that fits counts.
LARGER = {
    "/exchange/bodies/": MAX_BODY_BYTES,
    # a last envelope of the greatest size may begin just below the limit of a batch
    "/exchange/": MAX_BATCH_BYTES + MAX_ENVELOPE_BYTES,
}


class Outbound(Protocol):
    """What waits here for a peer, and what it brings back about that; the sending side of this node.

    Consistency: what is returned was committed before. Concurrency: any number of tasks and threads. Errors:
    HazlinkError; nothing was stored then.
    """

    async def poll(self, peer: Prefix, stream: str, after: tuple[int, int], wait: float) -> Sequence[bytes]:
        """Return envelopes for `peer` behind `after` (epoch, seq); wait up to `wait` seconds for the first."""
        ...

    def take_receipts(self, peer: Prefix, receipts: Sequence[str]) -> Sequence[Line]:
        """Take the lines of a peer about what it polled; one line back for each."""
        ...

    def sent(self, peer: Prefix, stream: str, epoch: int, after: int, limit: int) -> Sequence[bytes]:
        """Return the peer's own envelopes as received here, each as a JSON line with its receipt, for healing."""
        ...

    def take_heads(self, peer: Prefix, heads: Sequence[str]) -> Sequence[str]:
        """Take the peer's signed heads; return the heads of the lanes that lead to it."""
        ...

    def proofs(self, peer: Prefix, envs: Sequence[str]) -> dict[str, Any]:
        """Return the checkpoint and, for each envelope of the peer that it covers, its place and hashes."""
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """The exchange of a node as its door sees it.

    Attributes:
        inbound: takes in what peers bring.
        outbound: gives them what waits here.
        pressure: how much is taken in at the same time.
        urgent: a pool for the alarms they bring; bulk never fills it. None: there is only the node's.
    """

    inbound: Inbound
    outbound: Outbound
    pressure: Pressure = field(default_factory=Pressure)
    urgent: Executor | None = None

    def pool(self, stream: str) -> Executor | None:
        """Return the pool of its own in which a stream is taken in."""
        return self.urgent if stream == "alarm" else None


class ExchangeNode(Protocol):
    """What the routes take from `request.app.state.node`."""

    @property
    def exchange(self) -> Exchange:
        """The exchange of this node."""
        ...

    @property
    def executor(self) -> Executor:
        """The bounded pool for blocking calls."""
        ...


def make_router() -> APIRouter:
    """Return the routes; those with a fixed name come before those with a stream."""
    router = APIRouter(tags=["exchange"])
    json_body, lines = _body_of("application/json"), _body_of(NDJSON)
    for path, call, method, summary, extra in (
        ("session", _session, "POST", "Open a session", json_body),
        ("receipts", _receipts, "POST", "Bring receipts for what was polled", lines),
        ("heads", _heads, "POST", "Exchange signed heads", lines),
        ("epochs", _epochs, "POST", "Announce an epoch", json_body),
        ("proofs", _proofs, "POST", "Get proofs of inclusion in bulk", json_body),
        ("bodies/{sha256}", _put_body, "PUT", "Bring a detached body", _body_of("application/octet-stream")),
        ("bodies/{sha256}", _has_body, "GET", "See whether a detached body is here", None),
        ("{stream}", _post, "POST", "Send envelopes", lines),
        ("{stream}", _poll, "GET", "Fetch envelopes, waiting for the first", None),
        ("{stream}/sent", _sent, "GET", "Get one's own envelopes back", None),
        ("{stream}/{epoch}/{seq}", _post_one, "POST", "Send one envelope", _body_of("application/jose")),
    ):
        lines_back = path in _LINES_BACK
        router.add_api_route(
            f"/exchange/{path}",
            call,
            methods=[method],
            summary=summary,
            openapi_extra=extra,
            response_class=Response if lines_back or path.startswith("bodies") else JSONResponse,
            responses=_ANSWERS if lines_back else None,
        )
    return router


#: Routes that answer with a line for each line; the line's own status is that of a single envelope's answer.
_LINES_BACK = frozenset({"receipts", "heads", "{stream}", "{stream}/sent", "{stream}/{epoch}/{seq}"})
_ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"content": {NDJSON: {}, "application/problem+json": {}}, "description": "one line for each"}
    for status in (200, 400, 401, 403, 409, 413, 421, 424, 425, 429, 503)
}


def _body_of(kind: str) -> dict[str, Any]:
    schema = {"type": "object"} if kind == "application/json" else {"type": "string"}
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


async def _session(request: Request) -> Response:
    form = await _form(request, _MAX_FORM_BYTES)
    node = _node(request)
    opened = await in_pool(node.executor, node.exchange.inbound.open, form)
    return _json(opened.to_form())


async def _post(request: Request, stream: str) -> Response:
    peer, node = _peer(request), _node(request)
    _require_stream(stream)
    with node.exchange.pressure.admitted(peer, stream):
        tokens = _lines(await _read(request, LARGER["/exchange/"]), MAX_BATCH)
        pool = node.exchange.pool(stream) or node.executor
        lines = await in_pool(pool, node.exchange.inbound.receive, peer, stream, tokens)
    return _ndjson([line.encode() for line in lines])


async def _post_one(request: Request, stream: str, epoch: str, seq: str) -> Response:
    peer, node = _peer(request), _node(request)
    _require_stream(stream)
    at = (_number(epoch), _number(seq))
    with node.exchange.pressure.admitted(peer, stream):
        # one byte more than a token may have: the receiver says 413, as it does within a batch
        token = (await _read(request, MAX_ENVELOPE_BYTES + 2)).removesuffix(b"\n")
        pool = node.exchange.pool(stream) or node.executor
        lines = await in_pool(pool, node.exchange.inbound.receive, peer, stream, [token], at=at)
    line = lines[0]
    headers = {} if line.retry_after is None else {"retry-after": str(max(1, round(line.retry_after)))}
    return _ndjson([line.encode()], status=line.status, headers=headers)


async def _poll(request: Request, stream: str, after: str = "1/0", wait: float = 0.0) -> Response:
    peer, node = _peer(request), _node(request)
    _require_stream(stream)
    epoch, slash, seq = after.partition("/")
    if not slash:
        raise MalformedError("federation.exchange_receiving.position", field="after", value=after[:64])
    behind = (_number(epoch, least=0), _number(seq, least=0))
    wait = min(max(wait, 0.0), _MAX_WAIT_SECONDS) if wait == wait else 0.0  # noqa: PLR0124 — NaN is not itself
    return _ndjson(await node.exchange.outbound.poll(peer, stream, behind, wait))


async def _receipts(request: Request) -> Response:
    peer, node = _peer(request), _node(request)
    raw = _lines(await _read(request, MAX_BATCH * (MAX_RECEIPT_BYTES + 1)), MAX_BATCH)
    found = await in_pool(node.executor, node.exchange.outbound.take_receipts, peer, _texts(raw))
    return _ndjson([line.encode() for line in found])


async def _sent(request: Request, stream: str, epoch: str = "1", after: str = "0") -> Response:
    peer, node = _peer(request), _node(request)
    _require_stream(stream)
    found = await in_pool(
        node.executor,
        node.exchange.outbound.sent,
        peer,
        stream,
        _number(epoch),
        _number(after, least=0),
        _SENT_LIMIT,
    )
    return _ndjson(found)


async def _heads(request: Request) -> Response:
    peer, node = _peer(request), _node(request)
    raw = _lines(await _read(request, _MAX_FORM_BYTES), _MAX_HEADS)
    found = await in_pool(node.executor, node.exchange.outbound.take_heads, peer, _texts(raw))
    return _ndjson([head.encode() for head in found])


async def _epochs(request: Request) -> Response:
    peer, node = _peer(request), _node(request)
    claims = Claims(await _form(request, _MAX_FORM_BYTES))
    statement = claims.text("statement", MAX_RECEIPT_BYTES)
    consent = claims.optional_text("countersignature", MAX_RECEIPT_BYTES)
    inbound = node.exchange.inbound
    if consent is None:
        consent = await in_pool(node.executor, inbound.countersign, peer, statement)
    else:
        await in_pool(node.executor, inbound.announce, peer, statement, consent)
    return _json({"countersignature": consent})


async def _proofs(request: Request) -> Response:
    peer, node = _peer(request), _node(request)
    envs = Claims(await _form(request, _MAX_FORM_BYTES)).texts("envs", most=_MAX_PROOFS)
    return _json(await in_pool(node.executor, node.exchange.outbound.proofs, peer, envs))


async def _put_body(request: Request, sha256: str) -> Response:
    peer, node = _peer(request), _node(request)
    digest = _digest(sha256)
    with node.exchange.pressure.admitted(peer, "bodies"):
        data = await _read(request, MAX_BODY_BYTES)
        await in_pool(node.executor, node.exchange.inbound.put_body, peer, digest, data)
    return Response(status_code=204, headers=_NO_STORE)


async def _has_body(request: Request, sha256: str) -> Response:
    _peer(request)
    node = _node(request)
    if not await in_pool(node.executor, node.exchange.inbound.has_body, _digest(sha256)):
        raise NotFoundError("federation.exchange.body_missing", field="sha256", value=sha256)
    return Response(status_code=204, headers=_NO_STORE)


# what all of them need


def _node(request: Request) -> ExchangeNode:
    node: ExchangeNode = request.app.state.node
    return node


def _peer(request: Request) -> Prefix:
    """Return the one prefix the session is good for; a person's login is none."""
    principal: Principal = request.state.principal
    found = [grant.prefix for grant in principal.grants if grant.role is Role.NODE]
    if len(found) != 1 or len(principal.grants) != 1:
        raise ForbiddenError("federation.exchange_receiving.not_a_node", field="Authorization")
    return found[0]


def _require_stream(stream: str) -> None:
    if not is_stream(stream):
        raise InvalidValueError(
            "federation.exchange_receiving.stream",
            field="stream",
            value=stream[:32],
            right=", ".join(STREAMS),
        )


def _number(spelling: str, *, least: int = 1) -> int:
    plain = spelling.isascii() and spelling.isdigit() and len(spelling) < _MAX_DIGITS
    if not plain or int(spelling) < least or str(int(spelling)) != spelling:
        raise MalformedError("federation.exchange_receiving.position", field="position", value=spelling[:64])
    return int(spelling)


def _digest(spelling: str) -> bytes:
    raw = from_b64u(spelling)
    if raw is None or len(raw) != _DIGEST_BYTES:
        raise MalformedError("federation.exchange_receiving.body_name", field="sha256", value=spelling[:64])
    return raw


async def _read(request: Request, most: int) -> bytes:
    """Read a body, stopping as soon as it is too large."""
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > most:
            raise LimitError("federation.exchange_receiving.bytes", field="body", limit=most)
    return bytes(raw)


async def _form(request: Request, most: int) -> dict[str, Any]:
    content = strict_json.loads(await _read(request, most))
    if not isinstance(content, dict):
        raise MalformedError("federation.exchange_receiving.object", field="body")
    return content


def _lines(raw: bytes, most: int) -> list[bytes]:
    """Split a batch; the LF after the last line may be missing."""
    lines = raw.removesuffix(b"\n").split(b"\n") if raw else []
    if len(lines) > most:
        raise LimitError("federation.exchange_receiving.batch", field="body", count=len(lines), limit=most)
    return lines


def _texts(lines: Sequence[bytes]) -> list[str]:
    try:
        return [line.decode("ascii") for line in lines]
    except UnicodeDecodeError:
        raise MalformedError("registry.trust.jws_alphabet", field="body") from None


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), headers=_NO_STORE, media_type="application/json")


def _ndjson(lines: Sequence[bytes], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = b"".join(line + b"\n" for line in lines)
    return Response(body, status_code=status, headers={**_NO_STORE, **(headers or {})}, media_type=NDJSON)
