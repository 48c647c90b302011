import json

import httpx
from hypothesis import given
from hypothesis import strategies as st

from node.config import LimitsConfig
from node.edge import Edge, depth_within
from node.limits import Limiter, MemoryBuckets
from node.metrics import Metrics
from tests.support.node import TestClock

LIMITS = LimitsConfig(max_body_bytes=1000, max_json_depth=4, max_target_bytes=200)


def depth_of(content) -> int:
    if isinstance(content, list):
        return 1 + max(map(depth_of, content), default=0)
    if isinstance(content, dict):
        return 1 + max(map(depth_of, content.values()), default=0)
    return 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_depth_is_what_a_parser_would_find(content, ascii_only):
    body = json.dumps(content, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    depth = depth_of(content)
    assert depth_within(body, depth)
    assert depth == 0 or not depth_within(body, depth - 1)


def test_brackets_inside_strings_and_behind_escapes_do_not_count():
    assert depth_within(b'{"a":"[[[[[[","b":"\\"[[[["}', 1)
    assert not depth_within(b"[" * 100, 99)


def a_client(*, limiter=None, app=None) -> httpx.AsyncClient:
    async def echo(scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    edge = Edge(
        app or echo,
        limits=LIMITS,
        limiter=limiter or Limiter(addresses=None, principals=None),
        metrics=Metrics(),
        clock=TestClock(),
        new_id=lambda: "5f0c54a5-27d6-4b3c-8a0a-1f1f5c2b9f10",
        access_log=False,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=edge), base_url="http://node.test")


async def test_a_body_within_the_limits_arrives_whole_and_the_answer_is_marked():
    async def pieces():
        for _ in range(10):
            yield b"x" * 100

    async with a_client() as client:
        answer = await client.post("/", content=pieces())
    assert answer.content == b"x" * 1000
    assert answer.headers["x-request-id"].startswith("5f0c54a5")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_is_too_large_is_refused_announced_or_not():
    async def endless():
        while True:
            yield b"x" * 100

    async with a_client() as client:
        for content in (b"x" * 1001, endless()):
            answer = await client.post("/", content=content)
            assert answer.status_code == 413
            assert answer.json()["code"] == "node.limits.body"
            assert answer.headers["connection"] == "close"
        answer = await client.get("/" + "x" * 300)
        assert answer.json()["code"] == "node.limits.target"


async def test_json_too_deep_is_refused_before_anybody_parses_it():
    async with a_client() as client:
        kind = {"content-type": "application/json"}
        assert (await client.post("/", content=b"[[[[1]]]]", headers=kind)).status_code == 200
        refused = await client.post("/", content=b"[[[[[1]]]]]", headers=kind)
        assert refused.json()["code"] == "node.limits.depth"
        assert (await client.post("/", content=b"[[[[[1]]]]]")).status_code == 200


async def test_a_length_that_is_no_number_is_refused():
    async with a_client() as client:
        answer = await client.post("/", content=b"x", headers={"content-length": "ten"})
    assert answer.status_code == 400


async def test_the_handle_api_gets_its_own_form_of_refusal():
    async with a_client() as client:
        answer = await client.put("/api/handles/88.107/A%2FB", content=b"x" * 2000)
    assert answer.status_code == 400
    assert answer.json()["responseCode"] == 4
    assert answer.json()["handle"] == "88.107/A/B"


async def test_an_address_that_asks_too_often_is_told_when_to_come_back():
    buckets = MemoryBuckets(per_second=1, burst=2, clock=TestClock())
    async with a_client(limiter=Limiter(addresses=buckets, principals=None)) as client:
        answers = [await client.get("/", headers={"accept-language": "en"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "1"
    assert answers[2].headers["content-type"] == "application/problem+json"
    assert "more often" in answers[2].json()["detail"]
    assert "频率" in answers[2].json()["detail_zh"]
