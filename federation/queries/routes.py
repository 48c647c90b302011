"""HTTP door of the queries: `/queries`. Refusals are raised; the application turns them into problems."""

from concurrent.futures import Executor
from typing import Annotated, Any, Protocol

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from federation.queries.forms import from_asked, from_outcome, from_question
from federation.queries.service import Queries
from registry.identifier import Prefix
from registry.principal import Principal
from resolver.pool import in_pool

__all__ = ["QueriesNode", "make_router"]

_HEADERS = {"cache-control": "no-store"}
_DAY = 86_400


class QueriesNode(Protocol):
    """What the routes take from `request.app.state.node`."""

    @property
    def queries(self) -> Queries:
        """The questions of this node."""
        ...

    @property
    def executor(self) -> Executor:
        """The bounded pool for blocking calls."""
        ...


class NewQuestion(BaseModel):
    """A question to every node at or below the targets."""

    model_config = ConfigDict(extra="forbid")

    asker: str = Field(max_length=64, examples=["88.107"])
    targets: list[str] = Field(min_length=1, max_length=1_000, examples=[["88.107.1001"]])
    purpose: str = Field(min_length=1, max_length=500)
    sort: str = Field(default="records", max_length=64)
    subjects: list[str] = Field(default_factory=list, max_length=1_000)
    params: dict[str, Any] = Field(default_factory=dict)
    life_seconds: int = Field(default=3_600, ge=1, le=30 * _DAY)


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["queries"])
    router.add_api_route(
        "/queries", _ask, methods=["POST"], status_code=202, summary="Ask nodes at or below some prefixes"
    )
    router.add_api_route("/queries", _asked, methods=["GET"], summary="What a prefix asked")
    router.add_api_route(
        "/queries/received", _received, methods=["GET"], summary="What was asked of a prefix, by whom and why"
    )
    router.add_api_route(
        "/queries/{query}", _result, methods=["GET"], summary="Answers so far, and who is silent"
    )
    return router


def _node(request: Request) -> QueriesNode:
    node: QueriesNode = request.app.state.node
    return node


def _who(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


_Node = Annotated[QueriesNode, Depends(_node)]
_Who = Annotated[Principal, Depends(_who)]
_Prefix = Annotated[str, Query(max_length=64)]
_Limit = Annotated[int, Query(ge=1, le=200)]


async def _ask(new: NewQuestion, node: _Node, who: _Who) -> Response:
    made = await in_pool(
        node.executor,
        node.queries.ask,
        who,
        asker=Prefix.parse(new.asker, field="asker"),
        targets=[Prefix.parse(text, field="targets") for text in new.targets],
        purpose=new.purpose,
        sort=new.sort,
        subjects=new.subjects,
        params=new.params,
        life_seconds=new.life_seconds,
    )
    return _json(from_question(made), status=202)


async def _asked(node: _Node, who: _Who, prefix: _Prefix, limit: _Limit = 50) -> Response:
    found = await in_pool(
        node.executor, node.queries.asked, who, Prefix.parse(prefix, field="prefix"), limit=limit
    )
    return _json({"queries": [from_question(question) for question in found]})


async def _received(node: _Node, who: _Who, prefix: _Prefix, limit: _Limit = 50) -> Response:
    found = await in_pool(
        node.executor, node.queries.received, who, Prefix.parse(prefix, field="prefix"), limit=limit
    )
    return _json({"received": [from_asked(asked) for asked in found]})


async def _result(query: str, node: _Node, who: _Who) -> Response:
    question, outcomes = await in_pool(node.executor, node.queries.result, who, query)
    return _json({**from_question(question), "outcomes": [from_outcome(outcome) for outcome in outcomes]})


def _json(content: dict[str, Any], *, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, _HEADERS, "application/json")
