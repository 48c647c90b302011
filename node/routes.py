"""The node's own HTTP routes: alive, ready, metrics."""

from typing import Annotated, Protocol

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from node.health import Health
from node.metrics import CONTENT_TYPE, Metrics
from registry.access import ANYONE, Access, needs
from registry.principal import Operation

__all__ = ["access", "router"]


def access(*, metrics_for_anyone: bool) -> Access:
    """Return the rules of these routes; the settings say who reads the metrics."""
    return {
        "GET /health/live": ANYONE,
        "GET /health/ready": ANYONE,
        "GET /metrics": ANYONE if metrics_for_anyone else needs(Operation.NODE_OBSERVE),
        "GET /openapi.json": ANYONE,
    }


class _Node(Protocol):
    @property
    def health(self) -> Health: ...
    @property
    def metrics(self) -> Metrics: ...


def _of(request: Request) -> _Node:
    node: _Node = request.app.state.node
    return node


router = APIRouter(tags=["node"])
_Part = Annotated[_Node, Depends(_of)]


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


@router.get("/health/ready", responses={503: {"description": "not ready, with reasons"}})
async def ready(node: _Part) -> Response:
    """Say whether the node can do its work, and if not, why not."""
    findings = await node.health.findings()
    well = all(found.error is None for found in findings)
    return _json(Health.to_message(findings), status_code=200 if well else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(node: _Part) -> Response:
    """Return the counters in the Prometheus text form."""
    return Response(node.metrics.render(), media_type=CONTENT_TYPE)


def _json(content: object, *, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(content), status_code=status_code, headers=headers, media_type="application/json"
    )
