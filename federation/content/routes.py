"""HTTP door for the people of a prefix: what arrived from others, and what they enter by hand for the tier above."""

from concurrent.futures import Executor
from typing import Any, Protocol

import orjson
from fastapi import APIRouter, Request, Response

from federation.content.own import OwnEntries, OwnEntry
from federation.content.received import Received
from federation.content.storage.receiving import ReceivedEntry
from registry.errors import LimitError, MalformedError
from registry.identifier import Prefix
from registry.principal import Principal
from registry.trust import strict_json
from resolver.pool import in_pool

__all__ = ["MAX_REQUEST_BYTES", "ContentNode", "make_router"]

MAX_REQUEST_BYTES = 49_152
_HEADERS = {"cache-control": "no-store"}
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


class ContentNode(Protocol):
    """What the routes take from `request.app.state.node`."""

    @property
    def received(self) -> Received:
        """What arrived."""
        ...

    @property
    def own_entries(self) -> OwnEntries:
        """What people entered."""
        ...

    @property
    def executor(self) -> Executor:
        """The bounded pool for blocking calls."""
        ...


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/exchange-entries", tags=["exchange"])
    router.add_api_route("", _overview, methods=["GET"], summary="How much arrived, by dataset")
    router.add_api_route("/{dataset}", _entries, methods=["GET"], summary="What arrived of a dataset")
    router.add_api_route("/{dataset}/own", _own, methods=["GET"], summary="What was entered by hand")
    router.add_api_route(
        "/{dataset}/own",
        _put,
        methods=["PUT"],
        summary="Enter an entry for the tier above",
        openapi_extra=_BODY,
    )
    router.add_api_route(
        "/{dataset}/own", _remove, methods=["DELETE"], summary="Take an entry back", status_code=204
    )
    return router


async def _overview(request: Request, prefix: str) -> Response:
    node = _node(request)
    counts = await in_pool(node.executor, node.received.overview, _who(request), _prefix(prefix))
    return _json({"prefix": _prefix(prefix).key, "datasets": counts})


async def _entries(
    request: Request,
    dataset: str,
    *,
    prefix: str,
    owner: str | None = None,
    after: str = "",
    limit: int = 100,
    gone: bool = False,
) -> Response:
    node = _node(request)
    found = await in_pool(
        node.executor,
        node.received.entries,
        _who(request),
        dataset,
        _prefix(prefix),
        owner=_prefix(owner, "owner") if owner else None,
        after=_place(after),
        limit=limit,
        gone=gone,
    )
    last = found[-1] if len(found) == limit else None
    return _json(
        {
            "dataset": dataset,
            "entries": [_received_form(one) for one in found],
            "next": f"{last.owner.key} {last.key}" if last else None,
        }
    )


async def _own(request: Request, dataset: str, prefix: str) -> Response:
    node = _node(request)
    found = await in_pool(node.executor, node.own_entries.entries, _who(request), dataset, _prefix(prefix))
    return _json({"dataset": dataset, "entries": [_own_form(one) for one in found]})


async def _put(request: Request, dataset: str, prefix: str) -> Response:
    node = _node(request)
    content = await _body(request)
    made = await in_pool(
        node.executor, node.own_entries.put, _who(request), dataset, _prefix(prefix), content
    )
    return _json(_own_form(made))


async def _remove(request: Request, dataset: str, prefix: str, key: str) -> Response:
    node = _node(request)
    await in_pool(node.executor, node.own_entries.remove, _who(request), dataset, _prefix(prefix), key)
    return Response(status_code=204, headers=_HEADERS)


def _received_form(made: ReceivedEntry) -> dict[str, Any]:
    return {
        "owner": made.owner.key,
        "key": made.key,
        **made.entry.to_wire(),
        "env": made.env,
        "via": list(made.via),
        "received_at": made.received_at,
    }


def _own_form(made: OwnEntry) -> dict[str, Any]:
    return {"key": made.key, "content": dict(made.content), "at": made.at, "who": made.who}


def _node(request: Request) -> ContentNode:
    node: ContentNode = request.app.state.node
    return node


def _who(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


def _prefix(text: str, field: str = "prefix") -> Prefix:
    return Prefix.parse(text, field=field)


def _place(after: str) -> tuple[str, str]:
    owner, _, key = after.partition(" ")
    if bool(owner) != bool(key) or "\0" in after:
        raise MalformedError("federation.content.token", field="after")
    return owner, key


async def _body(request: Request) -> dict[str, Any]:
    """Read a small JSON object, stopping as soon as it is too large."""
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_REQUEST_BYTES:
            raise LimitError("federation.content.large", limit=MAX_REQUEST_BYTES)
    content = strict_json.loads(bytes(raw))
    if not isinstance(content, dict):
        raise MalformedError("federation.content.object", field="body")
    return content


def _json(content: dict[str, Any], *, status: int = 200) -> Response:
    return Response(
        orjson.dumps(content), status_code=status, headers=_HEADERS, media_type="application/json"
    )
