"""HTTP door of the superior: `/federation/v1/…`. Refusals are raised; the application turns them into problems."""

from concurrent.futures import Executor
from typing import Any, Protocol

import orjson
from fastapi import APIRouter, Request, Response

from federation.membership.forms import from_standing, to_application
from registry.errors import LimitError, MalformedError
from registry.identifier import Prefix
from registry.prefixes.service import Prefixes
from registry.trust import strict_json
from registry.trust.claims import Claims
from resolver.pool import in_pool

__all__ = ["MAX_REQUEST_BYTES", "MembershipNode", "make_router"]

#: A request for a prefix is a few kilobytes; this leaves room for long names.
MAX_REQUEST_BYTES = 32_768

_HEADERS = {"cache-control": "no-store"}


class MembershipNode(Protocol):
    """What the routes take from `request.app.state.node`."""

    @property
    def prefixes(self) -> Prefixes:
        """The prefixes of this node."""
        ...

    @property
    def executor(self) -> Executor:
        """The bounded pool for blocking calls."""
        ...


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/federation/v1", tags=["federation"])
    router.add_api_route("/challenge", _challenge, methods=["POST"], summary="Get a nonce, good once")
    router.add_api_route(
        "/join", _join, methods=["POST"], status_code=202, summary="Ask for a prefix", openapi_extra=_BODY
    )
    router.add_api_route("/join/{ticket}", _standing, methods=["GET"], summary="See how a request stands")
    router.add_api_route(
        "/renew",
        _renew,
        methods=["POST"],
        summary="Renew a delegation, change its endpoints or key",
        openapi_extra=_BODY,
    )
    router.add_api_route(
        "/delegations/{prefix}", _delegation, methods=["GET"], summary="Newest delegation of a prefix"
    )
    return router


_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


async def _challenge(request: Request) -> Response:
    return _json({"nonce": _node(request).prefixes.challenge()})


async def _join(request: Request) -> Response:
    application = to_application(await _body(request))
    node = _node(request)
    standing = await in_pool(node.executor, node.prefixes.submit, application)
    return _json(from_standing(standing), status=202)


async def _standing(request: Request, ticket: str) -> Response:
    node = _node(request)
    return _json(from_standing(await in_pool(node.executor, node.prefixes.standing, ticket)))


async def _renew(request: Request) -> Response:
    token = Claims(await _body(request)).text("amendment", MAX_REQUEST_BYTES)
    node = _node(request)
    return _json(from_standing(await in_pool(node.executor, node.prefixes.amend, token)))


async def _delegation(request: Request, prefix: str) -> Response:
    wanted = Prefix.parse(prefix, field="prefix")
    node = _node(request)
    return _json(from_standing(await in_pool(node.executor, node.prefixes.delegated, wanted)))


def _node(request: Request) -> MembershipNode:
    node: MembershipNode = request.app.state.node
    return node


async def _body(request: Request) -> dict[str, Any]:
    """Read a small JSON object, stopping as soon as it is too large."""
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_REQUEST_BYTES:
            raise LimitError("federation.membership.large", limit=MAX_REQUEST_BYTES)
    content = strict_json.loads(bytes(raw))
    if not isinstance(content, dict):
        raise MalformedError("federation.membership.object", field="body")
    return content


def _json(content: dict[str, Any], *, status: int = 200) -> Response:
    return Response(
        orjson.dumps(content), status_code=status, headers=_HEADERS, media_type="application/json"
    )
