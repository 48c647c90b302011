"""The HTTP application: every room's routes behind one guard, one form of refusal, one edge.

From outside in: the dispatcher of the hottest routes (`resolver.hot_routes`) → the edge (limits, id, count) → FastAPI
(routing, problem details) → the guard of the chosen route → the route.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI

from node import problems
from node.guard import Guard, flat
from node.openapi import describe
from registry.access import Access

__all__ = ["Door", "create_app"]


@dataclass(frozen=True, slots=True)
class Door:
    """A room's routes and what they ask for."""

    router: APIRouter
    access: Access


def create_app(node: Any, *, doors: Sequence[Door], guard: Guard) -> FastAPI:
    """Return the application with every door mounted and guarded.

    Raises:
        InternalError: a room brings something else than plain routes.
    """
    app = FastAPI(
        title="hazlink",
        version=version("hazlink"),
        summary="Federated registry and identifier-resolution node / 联邦式标识注册与解析节点",
        docs_url=None,  # the page would load scripts from elsewhere; the description itself is at /openapi.json
        redoc_url=None,
        redirect_slashes=False,  # a trailing slash belongs to a suffix
    )
    app.state.node = node
    for door in doors:
        # Copies: the guard wraps a route's handler, and a router may serve several nodes of one process.
        app.router.routes.extend(copy(route) for route in flat(door.router.routes))
    routes = flat(app.router.routes)
    guard.protect(routes)
    problems.install(app)
    describe(app, routes, guard.access)
    return app
