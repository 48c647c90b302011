"""The dispatcher in front of FastAPI answers what it can and hands on the rest, untouched."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request

from proto import resolver_pb2 as pb
from registry.errors import HTTP_STATUS, HazlinkError, MalformedIdentifierError
from registry.principal import ANONYMOUS
from resolver.answer import Answer, Source
from resolver.hot_routes import BATCH_PATH, MAX_BODY_BYTES, PROTOBUF, HotRoutes, router
from resolver.ready import Ready
from resolver.servicer_hot import HotResolver
from tests.support.doors import FakeResolver, OneCallOnly, StillClock, a_record, a_withdrawn_record

BATCH_1 = "88.107.1001/BATCH-1"


def _tail(answer: Answer) -> bytes:
    assert answer.record
    return b',"values":' + orjson.dumps([value.index for value in answer.record.values]) + b"}"


class House:
    """A FastAPI application with the dispatcher in front."""

    def __init__(self, resolver: FakeResolver, throttle: OneCallOnly | None = None) -> None:
        self.clock, ready = StillClock(), Ready()
        self.ready = ready
        hot = HotResolver(resolver=resolver, ready=ready, clock=self.clock)
        app = FastAPI()
        app.state.node = SimpleNamespace(hot=hot)
        app.include_router(router)

        @app.middleware("http")
        async def somebody(request: Request, call_next: Any) -> Any:
            request.state.principal = ANONYMOUS
            return await call_next(request)

        @app.exception_handler(HazlinkError)
        async def problem(_request: Request, error: HazlinkError) -> Any:
            content = orjson.dumps({"type": error.kind.value, "field": error.field})
            return httpx_response(content, HTTP_STATUS[error.kind])

        @app.get("/api/handles/{handle:path}")
        async def slow(handle: str, request: Request) -> dict[str, str]:
            return {"slow": handle, "query": request.url.query}

        self.routes = HotRoutes(
            app,
            resolver=resolver,
            hot=hot,
            ready=ready,
            clock=self.clock,
            handle_tail=_tail,
            throttle=throttle,
        )

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.ask("GET", path, headers=headers)

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.routes)
        async with httpx.AsyncClient(transport=transport, base_url="http://node.example") as client:
            return await client.request(method, path, **options)

    async def batch(self, content: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return await self.ask(
            "POST", BATCH_PATH, content=content, headers={"content-type": PROTOBUF, **(headers or {})}
        )


def httpx_response(content: bytes, status: int) -> Any:
    from starlette.responses import Response

    return Response(content, status_code=status, media_type="application/problem+json")


def _resolver() -> FakeResolver:
    nothing_public = a_record("88.107.1001/SECRET", values=a_record().values[2:])
    records = [
        nothing_public,
        a_record(),
        a_withdrawn_record(),
        a_record("88.107.1001/批次-2"),
        a_record("88.107.1001/A/B+C"),
    ]
    return FakeResolver(
        records, errors={"bad//": MalformedIdentifierError("registry.identifier.suffix_empty", value="bad//")}
    )


async def test_a_handle_is_resolved_once_and_then_served_from_what_is_kept() -> None:
    resolver = _resolver()
    house = House(resolver)
    first = await house.get(f"/api/handles/{BATCH_1}")
    second = await house.get(f"/api/handles/{BATCH_1.lower()}")

    assert first.json() == {"responseCode": 1, "handle": BATCH_1, "values": [2000, 2001]}
    assert second.json() == {"responseCode": 1, "handle": BATCH_1.lower(), "values": [2000, 2001]}
    assert first.headers["content-type"] == "application/json;charset=UTF-8"
    assert first.headers["access-control-allow-origin"] == "*"
    assert first.headers["etag"] == '"3"'
    assert "age" not in first.headers
    assert len(resolver.asked) == 1
    assert (house.routes.hits, house.routes.misses) == (1, 1)


@pytest.mark.parametrize(
    ("path", "handle"),
    [
        ("88.107.1001/%E6%89%B9%E6%AC%A1-2", "88.107.1001/批次-2"),
        ("88.107.1001%2FBATCH-1", BATCH_1),
        ("88.107.1001/A/B+C", "88.107.1001/A/B+C"),
    ],
)
async def test_the_path_is_decoded_once(path: str, handle: str) -> None:
    house = House(_resolver())

    assert (await house.get(f"/api/handles/{path}")).json()["handle"] == handle


async def test_a_cached_answer_says_its_age() -> None:
    resolver = _resolver()
    resolver.source, resolver.age, resolver.ttl = Source.CACHED, 5, 100
    house = House(resolver)
    await house.get(f"/api/handles/{BATCH_1}")
    house.clock.time += 30

    assert (await house.get(f"/api/handles/{BATCH_1}")).headers["age"] == "35"
    assert len(resolver.asked) == 1


@pytest.mark.parametrize("source", [Source.STALE, Source.CACHED])
async def test_stale_answers_are_not_kept(source: Source) -> None:
    resolver = _resolver()
    resolver.source = source
    house = House(resolver)
    answers = [await house.get(f"/api/handles/{BATCH_1}") for _ in range(2)]

    assert [("slow" in answer.json()) for answer in answers] == [source is Source.STALE] * 2
    assert bool(len(house.ready)) is (source is Source.CACHED)


@pytest.mark.parametrize(
    "path",
    ["88.107.1001/BATCH-1?index=1", "88.107.1001/SECRET", "88.107.1001/none", "bad//", "88.107.1001/%zz", ""],
)
async def test_what_is_not_plain_goes_on_to_the_application(path: str) -> None:
    answer = await House(_resolver()).get(f"/api/handles/{path}")

    assert "slow" in answer.json()


async def test_who_shows_credentials_or_asks_too_often_is_left_to_the_application() -> None:
    house = House(_resolver(), throttle=OneCallOnly())
    first = await house.get(f"/api/handles/{BATCH_1}")
    logged_in = await house.get(f"/api/handles/{BATCH_1}", authorization="Bearer editor")
    too_often = await house.get(f"/api/handles/{BATCH_1}")

    assert "values" in first.json()
    assert "slow" in logged_in.json()
    assert "slow" in too_often.json()


async def test_a_batch_is_answered_in_protobuf() -> None:
    resolver = _resolver()
    house = House(resolver)
    request = pb.BatchResolveRequest(identifiers=[BATCH_1, "x/none"], no_recursion=True, with_chain=True)
    answers = [await house.batch(request.SerializeToString()) for _ in range(2)]
    logged_in = await house.batch(request.SerializeToString(), {"authorization": "Bearer editor"})

    for answer in (*answers, logged_in):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == PROTOBUF
        replies = pb.BatchResolveReply.FromString(answer.content).replies
        assert [(r.identifier, r.outcome) for r in replies] == [(BATCH_1, 1), ("x/none", 4)]
        assert list(replies[0].proof.chain) == ["leaf", "top"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "field"),
    [
        (b"\xff\xff\xff", {}, 400, "request"),
        (b"", {}, 400, "identifiers"),
        (b"x" * (MAX_BODY_BYTES + 1), {}, 413, "body"),
        (pb.BatchResolveRequest(identifiers=["a/b"] * 2001).SerializeToString(), {}, 413, "identifiers"),
        (b"", {"content-type": "application/json"}, 400, "Content-Type"),
    ],
)
async def test_a_bad_batch_is_refused_by_the_application(
    content: bytes, headers: dict[str, str], status: int, field: str
) -> None:
    answer = await House(_resolver()).batch(content, headers)

    assert (answer.status_code, answer.json()["field"]) == (status, field)


async def test_the_batch_route_stands_in_the_openapi() -> None:
    described = (await House(_resolver()).get("/openapi.json")).json()

    assert PROTOBUF in described["paths"][BATCH_PATH]["post"]["requestBody"]["content"]
