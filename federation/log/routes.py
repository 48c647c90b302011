"""HTTP doors of the log and of the witness: `/log/…`, `/proof/…`, `/witness/…` (C2SP tlog-tiles and tlog-witness)."""

from concurrent.futures import Executor
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response

from federation.log.reading import LogReader, bundle
from federation.log.tiles import parse_name
from federation.log.watched import owner_of
from federation.log.witness import SIZE_TYPE, Answer, Witness
from federation.log.witness_client import unbundle
from federation.log.witness_request import MAX_REQUEST_BYTES, Status
from registry.errors import ConflictError, LimitError, MalformedError, NotFoundError
from registry.identifier import Prefix
from registry.principal import Operation, Principal, Role
from resolver.pool import in_pool

__all__ = ["MAX_ENTRIES_BYTES", "LogNode", "make_router"]

#: The body of one call that sends entries.
MAX_ENTRIES_BYTES = 2 << 20

_FRESH = {"cache-control": "no-store"}
_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
_PRIVATE = {"cache-control": "private, no-store"}
_TEXT = "text/plain; charset=utf-8"
_OCTETS = "application/octet-stream"
_LEVELS = frozenset("01234567")
_ENTRIES_AT_ONCE = 1_024
_MAX_DIGITS = 16
_SHA256_HEX = 64

_PLAIN = "text/plain"
#: What the tlog-witness protocol answers with, refusals included, is plain text; a size has a type of its own.
_ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {
        "content": {_PLAIN: {}, SIZE_TYPE: {}, "application/problem+json": {}},
        "description": "see C2SP",
    }
    for status in (200, 400, 403, 404, 409, 422, 424)
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class LogNode(Protocol):
    """What the routes take from `request.app.state.node`."""

    @property
    def log(self) -> LogReader:
        """The log of this node."""
        ...

    @property
    def witness(self) -> Witness | None:
        """What cosigns for others; None where this node has no key for it."""
        ...

    @property
    def executor(self) -> Executor:
        """The bounded pool for blocking calls."""
        ...


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["log"])
    for path, call, kind, summary in (
        ("/log/checkpoint", _checkpoint, _PLAIN, "Newest signed checkpoint of the log"),
        # before the tiles: `entries` is no level
        ("/log/tile/entries/{path:path}", _entries, _OCTETS, "Entries of the log, 256 in a bundle"),
        ("/log/tile/{level}/{path:path}", _tile, _OCTETS, "Hashes of the log, 256 in a tile"),
        ("/proof/{env}", _proof, _PLAIN, "Proof that the log holds an envelope"),
        ("/witness/{digest}/checkpoint", _witnessed, _PLAIN, "Newest checkpoint cosigned for a log"),
        ("/witness/{digest}/entries", _mirrored, _OCTETS, "Get the entries of one's own log back"),
    ):
        told: dict[int | str, dict[str, Any]] = {200: {"content": {kind: {}}, "description": summary}}
        router.add_api_route(
            path, call, methods=["GET"], summary=summary, response_class=Response, responses=told
        )
    for path, call, summary in (
        ("/log/cosignatures", _cosignatures, "Bring cosignatures of this node's checkpoint"),
        ("/witness/add-checkpoint", _add_checkpoint, "Have a checkpoint cosigned"),
        ("/witness/{digest}/entries", _mirror, "Send entries of one's own log to its mirror"),
    ):
        router.add_api_route(
            path,
            call,
            methods=["POST"],
            summary=summary,
            openapi_extra=_BODY,
            response_class=Response,
            responses=_ANSWERS,
        )
    return router


async def _checkpoint(request: Request) -> Response:
    node = _node(request)
    found = await in_pool(node.executor, node.log.checkpoint)
    return Response(found.note, headers=_FRESH, media_type=_TEXT)


async def _tile(request: Request, level: str, path: str) -> Response:
    if level not in _LEVELS:
        raise NotFoundError("federation.log.no_tile", field="tile", value=f"{level[:8]}/{path[:64]}")
    wanted = parse_name(path)
    node = _node(request)
    raw = await in_pool(node.executor, node.log.tile, int(level), wanted.number, wanted.width)
    return Response(raw, headers=_FOREVER, media_type=_OCTETS)


async def _entries(request: Request, path: str) -> Response:
    wanted = parse_name(path)
    node = _node(request)
    state = await in_pool(node.executor, node.log.state)
    # the log tells of every prefix homed here: a role at one of the others is not enough
    _principal(request).require(Operation.NODE_OBSERVE, owner_of(state.origin or ""))
    raw = await in_pool(node.executor, node.log.entries, wanted.number, wanted.width)
    return Response(raw, headers=_PRIVATE, media_type=_OCTETS)


async def _proof(request: Request, env: str) -> Response:
    node = _node(request)
    proof = await in_pool(node.executor, node.log.prove, env)
    return Response(proof.encode(), headers=_FRESH, media_type=_TEXT)


async def _add_checkpoint(request: Request) -> Response:
    raw = await _body(request, MAX_REQUEST_BYTES)
    node = _node(request)
    return _answered(await in_pool(node.executor, _witness(node).add_checkpoint, raw, _peers(request)))


async def _cosignatures(request: Request) -> Response:
    raw = await _body(request, MAX_REQUEST_BYTES)
    node = _node(request)
    count = await in_pool(node.executor, _witness(node).add_cosignatures, raw, _peers(request))
    return _answered(Answer(Status.COSIGNED, b"%d\n" % count))


async def _witnessed(request: Request, digest: str) -> Response:
    node = _node(request)
    note = await in_pool(node.executor, _witness(node).checkpoint, _digest(digest))
    return Response(note, headers=_FRESH, media_type=_TEXT)


async def _mirror(request: Request, digest: str) -> Response:
    first = _first(request)
    leaves = unbundle(await _body(request, MAX_ENTRIES_BYTES))
    node = _node(request)
    witness = _witness(node)
    try:
        have = await in_pool(
            node.executor, witness.add_entries, _digest(digest), first, leaves, _peers(request)
        )
    except ConflictError as error:
        return _answered(Answer(Status.OTHER_SIZE, b"%d\n" % int(str(error.params["have"])), SIZE_TYPE))
    return _answered(Answer(Status.COSIGNED, b"%d\n" % have, SIZE_TYPE))


async def _mirrored(request: Request, digest: str) -> Response:
    node = _node(request)
    witness, first = _witness(node), _first(request)
    size, leaves = await in_pool(
        node.executor, witness.entries, _digest(digest), first, _ENTRIES_AT_ONCE, _peers(request)
    )
    headers = {**_PRIVATE, "x-log-size": str(size)}
    return Response(bundle(_fitting(leaves)), headers=headers, media_type=_OCTETS)


def _fitting(leaves: list[bytes]) -> list[bytes]:
    """Return no more leaves than an answer may hold."""
    total = 0
    for count, leaf in enumerate(leaves):
        total += len(leaf)
        if total > MAX_ENTRIES_BYTES:
            return leaves[:count]
    return leaves


def _node(request: Request) -> LogNode:
    node: LogNode = request.app.state.node
    return node


def _witness(node: LogNode) -> Witness:
    if node.witness is None:
        raise NotFoundError("federation.log.no_witness")
    return node.witness


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


def _peers(request: Request) -> frozenset[Prefix]:
    """Return the prefixes the caller has proven to be a node of."""
    return frozenset(grant.prefix for grant in _principal(request).grants if grant.role is Role.NODE)


def _digest(spelling: str) -> str:
    if len(spelling) != _SHA256_HEX or not set(spelling) <= set("0123456789abcdef"):
        raise MalformedError("federation.log.digest", field="digest", value=spelling[:64])
    return spelling


def _first(request: Request) -> int:
    spelling = request.query_params.get("from", "")
    if not (spelling.isascii() and spelling.isdigit()) or len(spelling) > _MAX_DIGITS:
        raise MalformedError("federation.log.size_form", field="from", value=spelling[:32])
    return int(spelling)


async def _body(request: Request, limit: int) -> bytes:
    """Read the body, stopping as soon as it is too large."""
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > limit:
            raise LimitError("federation.log.request_size", length=len(raw), limit=limit)
    return bytes(raw)


def _answered(answer: Answer) -> Response:
    return Response(answer.body, status_code=answer.status, headers=_FRESH, media_type=answer.media_type)
