"""HTTPS to another node, against real servers on loopback."""

import asyncio

import pytest

from registry.errors import LimitError, MalformedError, UnavailableError, UntrustedError
from resolver.answer import Answer, Outcome, Query
from resolver.peer_client import HttpsPeer
from resolver.peer_guard import GuardConfig
from resolver.peer_http import GuardedHttp, guarded_client
from resolver.ports import Endpoint
from resolver.servicer_messages import answer_to_message
from tests.support.peers import a_certificate, served

QUERY = Query("88.107.1001/BATCH-1", recurse=False)
CONFIG = GuardConfig(allow_loopback_peers=True, reply_deadline_seconds=0.5, max_reply_bytes=100_000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return a_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def http():
    made = GuardedHttp(CONFIG)
    yield made
    await made.close()


def a_reply(body=b"", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def a_batch():
    from proto import resolver_pb2 as pb

    answer = Answer(QUERY.identifier, Outcome.NOT_FOUND, ttl=60)
    body = pb.BatchResolveReply(replies=[answer_to_message(answer)]).SerializeToString()
    return a_reply(body, Content_Type="application/x-protobuf")


async def ask(http, server, pin=None, scheme="http"):
    endpoint = Endpoint(f"{scheme}://127.0.0.1:{server.port}/", pin)
    return await HttpsPeer(http=http).ask(endpoint, [QUERY])


async def test_question_and_answer_over_a_pinned_certificate(http, certificate):
    async with served(a_batch(), certificate.server_context()) as server:
        (answer,) = await ask(http, server, certificate.pin, "https")
    assert (answer.outcome, answer.ttl) == (Outcome.NOT_FOUND, 60)
    assert server.requests[0].startswith(b"POST /resolver/v1/batch HTTP/1.1\r\n")


async def test_another_certificate_is_refused_before_the_question_is_sent(http, certificate, tmp_path):
    other = a_certificate(tmp_path, "other")
    async with served(a_batch(), other.server_context()) as server:
        with pytest.raises(UntrustedError, match="expected was"):
            await ask(http, server, certificate.pin, "https")
    assert server.requests == []


async def test_a_connection_opened_for_one_pin_serves_no_other(http, certificate):
    async with served(a_batch(), certificate.server_context()) as server:
        await ask(http, server, certificate.pin, "https")
        with pytest.raises(UntrustedError):
            await ask(http, server, "A" * 43, "https")


async def test_without_a_pin_the_certificate_store_decides(http, certificate):
    async with served(a_batch(), certificate.server_context()) as server:
        with pytest.raises(UntrustedError, match="not trusted"):
            await ask(http, server, None, "https")
        knowing = GuardedHttp(GuardConfig(allow_loopback_peers=True, ca_file=str(certificate.file)))
        assert len(await ask(knowing, server, None, "https")) == 1
        await knowing.close()


async def test_fault_08_plain_http_is_for_loopback_by_setting(http):
    async with served(a_batch()) as server:
        assert len(await ask(http, server)) == 1
        strict = GuardedHttp(GuardConfig())
        with pytest.raises(UntrustedError, match="https"):
            await ask(strict, server)
        with pytest.raises(UntrustedError, match="public address"):
            await strict.get(f"https://localhost:{server.port}/")
        await strict.close()
    assert server.connections == 1


async def test_fault_08_a_redirect_is_not_followed(http):
    async with served(a_batch()) as target:
        reply = a_reply(status="302 Found", Location=f"http://127.0.0.1:{target.port}/")
        async with served(reply) as server:
            with pytest.raises(MalformedError, match="302"):
                await ask(http, server)
    assert target.connections == 0


async def test_fault_08_a_huge_reply_is_cut_off(http):
    async def flood(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with served(flood) as server:
        with pytest.raises(LimitError):
            await ask(http, server)


async def test_fault_08_a_reply_that_drips_ends_at_the_deadline(http):
    async def drip(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with served(drip) as server:
        with pytest.raises(UnavailableError, match="in time"):
            await ask(http, server)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"SSH-2.0-server\r\n\r\n", MalformedError),
        (a_reply(b"x", Content_Type="text/html"), MalformedError),
        (a_reply(b"\xff\xff", Content_Type="application/x-protobuf"), MalformedError),
        (a_reply(b"", Content_Type="application/x-protobuf"), MalformedError),
        (a_reply(b"x", Content_Encoding="gzip"), MalformedError),
        (a_reply(status="404 Not Found"), MalformedError),
        (a_reply(status="413 Content Too Large"), LimitError),
        (a_reply(status="429 Too Many Requests", Retry_After="7"), UnavailableError),
        (a_reply(status="503 Service Unavailable"), UnavailableError),
        (b"", (UnavailableError, MalformedError)),
    ],
)
async def test_what_is_no_answer_is_refused_by_its_kind(http, reply, error):
    async with served(reply) as server:
        with pytest.raises(error) as refusal:
            await ask(http, server)
    if b"Retry-After" in reply:
        assert refusal.value.retry_after == 7


async def test_nobody_there_is_unavailable(http):
    async with served(b"") as server:
        pass
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await ask(http, server)


async def test_the_client_for_joining_keeps_the_same_rules(certificate):
    async with served(a_reply(b"{}"), certificate.server_context()) as server:
        url = f"https://127.0.0.1:{server.port}/join"
        async with guarded_client(CONFIG, certificate.pin) as client:
            assert (await client.get(url)).content == b"{}"
        async with guarded_client(CONFIG, "A" * 43) as client:
            with pytest.raises(UntrustedError):
                await client.get(url)
        async with guarded_client(GuardConfig(), certificate.pin) as client:
            with pytest.raises(UntrustedError):
                await client.get(url)
