import asyncio

import httpx
import pytest

from node.config import DoorsConfig
from node.doors import HttpDoor, listen_unix
from node.forwarding import Forwarder, FromWorker
from registry.clock import SystemClock
from registry.errors import MalformedError, UnavailableError


async def first(scope, receive, send):
    """Tell what arrived: line, who asked, headers and body."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    told = b"|".join(
        [
            scope["method"].encode(),
            scope["raw_path"] + b"?" + scope["query_string"],
            str(scope["client"]).encode(),
            scope["scheme"].encode(),
            scope["hazlink.request_id"].encode(),
            b",".join(name for name, _ in scope["headers"]),
            body,
        ]
    )
    headers = [
        (b"content-type", b"text/plain"),
        (b"x-of-first", b"1"),
        (b"content-length", b"%d" % len(told)),
    ]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": told})


async def local(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"local"})


class Pair:
    def __init__(self, path):
        self.path = str(path / "first")
        self.writes = 0
        listener = listen_unix(self.path)
        self.door = HttpDoor(
            FromWorker(first), listener=listener, config=DoorsConfig(), tls=None, clock=SystemClock()
        )

        async def written():
            self.writes += 1

        self.worker = Forwarder(local, path=self.path, written=written)

    async def ask(self, method, target, content=b"", headers=None):
        transport = httpx.ASGITransport(app=self.marked, client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="https://node.test") as client:
            return await client.request(method, target, content=content, headers=headers)

    async def marked(self, scope, receive, send):
        scope["hazlink.request_id"] = "req-1"
        await self.worker(scope, receive, send)


@pytest.fixture
async def pair(tmp_path):
    made = Pair(tmp_path)
    await made.door.start()
    yield made
    await made.door.stop()


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/a"), ("HEAD", "/a"), ("OPTIONS", "/a"), ("POST", "/resolver/v1/batch")]
)
async def test_reads_are_answered_by_the_worker(pair, method, target):
    answer = await pair.ask(method, target)
    assert answer.status_code == 200
    assert pair.writes == 0


async def test_a_write_reaches_the_first_process_as_it_came(pair):
    answer = await pair.ask(
        "PUT",
        "/api/handles/88.107/A%2FB%20%E4%B8%AD?index=1&index=2",
        content=bytes(range(256)) * 1000,
        headers={
            "authorization": "Basic x",
            "x-hazlink-from": "127.0.0.1|https|forged",
            "connection": "keep-alive",
        },
    )
    assert answer.status_code == 201
    assert answer.headers["x-of-first"] == "1"
    method, target, client, scheme, request_id, names, body = answer.content.split(b"|", 6)
    assert method == b"PUT"
    assert target == b"/api/handles/88.107/A%2FB%20%E4%B8%AD?index=1&index=2"
    assert client == b"('192.0.2.7', 0)"
    assert (scheme, request_id) == (b"https", b"req-1")
    assert b"authorization" in names
    assert b"x-hazlink-from" not in names
    assert body == bytes(range(256)) * 1000
    assert pair.writes == 1


async def test_many_writes_at_once_do_not_mix(pair):
    answers = await asyncio.gather(
        *(pair.ask("POST", f"/n/{number}", b"b%d" % number) for number in range(30))
    )
    for number, answer in enumerate(answers):
        assert f"/n/{number}?".encode() in answer.content
        assert answer.content.endswith(b"|b%d" % number)


async def test_without_a_first_process_a_write_is_refused_for_now(pair, tmp_path):
    await pair.door.stop()
    with pytest.raises(UnavailableError) as caught:
        await pair.ask("PUT", "/a")
    assert caught.value.retry_after
    assert (await pair.ask("GET", "/a")).content == b"local"


async def test_nobody_but_a_worker_talks_on_the_inner_socket():
    with pytest.raises(MalformedError):
        await FromWorker(first)({"type": "http", "headers": [(b"host", b"x")]}, None, None)
