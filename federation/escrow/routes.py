"""HTTP door of escrow: which deposits are there, the drill, the take-over and the hand-back."""

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, Protocol

import orjson
from fastapi import APIRouter, Request, Response

from federation.escrow.loading import Loaded
from federation.escrow.takeover import Takeovers
from registry.errors import LimitError, MalformedError
from registry.identifier import Prefix
from registry.principal import Principal
from registry.trust import strict_json
from resolver.pool import in_pool

__all__ = ["MAX_REQUEST_BYTES", "EscrowNode", "make_router"]

MAX_REQUEST_BYTES = 8_192
_HEADERS = {"cache-control": "no-store"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["reason"],
                    "properties": {"reason": {"type": "string"}},
                }
            }
        },
    }
}
#: What is told of a deposit and of a take-over; tokens and digests stay where they are.
_DEPOSIT = (
    "owner",
    "receiver",
    "rev",
    "deposit",
    "kind",
    "base",
    "watermark",
    "parts",
    "records",
    "kid",
    "at",
)
_TAKEOVER = (
    "owner", "receiver", "rev", "deposit_at", "records", "refused", "reason",
    "began_at", "began_by", "ended_at", "ended_by",
)  # fmt: skip


class EscrowNode(Protocol):
    """What the routes take from `request.app.state.node`."""

    @property
    def takeovers(self) -> Takeovers:
        """Deposits and take-overs."""
        ...

    @property
    def executor(self) -> Executor:
        """The bounded pool for blocking calls."""
        ...


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/escrow", tags=["escrow"])
    router.add_api_route("/held", _held, methods=["GET"], summary="Deposits held for prefixes below")
    router.add_api_route("/made", _made, methods=["GET"], summary="Deposits a prefix made")
    router.add_api_route("/takeovers", _takeovers, methods=["GET"], summary="Take-overs, present and past")
    router.add_api_route(
        "/{prefix}/check", _check, methods=["POST"], summary="Open and verify a deposit, storing nothing"
    )
    router.add_api_route(
        "/{prefix}/takeover",
        _begin,
        methods=["POST"],
        summary="Answer for a prefix from its deposit",
        openapi_extra=_BODY,
    )
    router.add_api_route(
        "/{prefix}/takeover", _end, methods=["DELETE"], summary="Hand a prefix back", status_code=204
    )
    return router


async def _held(request: Request, prefix: str) -> Response:
    node = _node(request)
    found = await in_pool(node.executor, node.takeovers.held, _who(request), _prefix(prefix))
    return _json({"deposits": [_told(row, _DEPOSIT) for row in found]})


async def _made(request: Request, prefix: str, limit: int = 100) -> Response:
    node = _node(request)
    if not 1 <= limit <= 1000:  # noqa: PLR2004 — the usual bounds of a page
        raise LimitError("federation.content.page", field="limit", value=limit, limit=1000)
    found = await in_pool(node.executor, node.takeovers.made, _who(request), _prefix(prefix), limit)
    return _json({"deposits": [_told(row, (*_DEPOSIT, "state")) for row in found]})


async def _takeovers(request: Request, prefix: str) -> Response:
    node = _node(request)
    found = await in_pool(node.executor, node.takeovers.trail, _who(request), _prefix(prefix))
    return _json({"takeovers": [{**_told(row, _TAKEOVER), "open": bool(row["open"])} for row in found]})


async def _check(request: Request, prefix: str) -> Response:
    node = _node(request)
    made = await in_pool(node.executor, node.takeovers.check, _who(request), _prefix(prefix))
    return _json(_loaded(made))


async def _begin(request: Request, prefix: str) -> Response:
    node = _node(request)
    reason = await _reason(request)
    made = await in_pool(node.executor, node.takeovers.begin, _who(request), _prefix(prefix), reason=reason)
    return _json(_loaded(made))


async def _end(request: Request, prefix: str) -> Response:
    node = _node(request)
    await in_pool(node.executor, node.takeovers.end, _who(request), _prefix(prefix))
    return Response(status_code=204, headers=_HEADERS)


def _loaded(made: Loaded) -> dict[str, Any]:
    return {
        "prefix": made.owner.key,
        "rev": made.rev,
        "records": made.records,
        "refused": made.refused,
        "watermark": made.watermark,
    }


def _told(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _node(request: Request) -> EscrowNode:
    node: EscrowNode = request.app.state.node
    return node


def _who(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


def _prefix(text: str) -> Prefix:
    return Prefix.parse(text, field="prefix")


async def _reason(request: Request) -> str:
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_REQUEST_BYTES:
            raise LimitError("federation.escrow.large", limit=MAX_REQUEST_BYTES)
    content = strict_json.loads(bytes(raw))
    reason = content.get("reason") if isinstance(content, dict) else None
    if not isinstance(reason, str):
        raise MalformedError("federation.escrow.object", field="body")
    return reason


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), headers=_HEADERS, media_type="application/json")
