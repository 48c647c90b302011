"""The exchange's own client, with the guarded connections it has in a node: it knocks where it may, and nowhere else.

The addresses are what a superior's statement or an invitation says; the servers are real ones on loopback.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from federation.exchange.client import HttpPeer
from federation.exchange.config import ExchangeConfig
from federation.exchange.reaching import Reach
from registry.errors import HazlinkError, LimitError, UnavailableError, UntrustedError
from resolver.peer_guard import GuardConfig
from resolver.peer_http import guarded_client
from resolver.ports import Endpoint
from tests.support.exchange_nodes import FakeHomes
from tests.support.exchange_wire import PARK, TREE, WORKS
from tests.support.peers import a_certificate, served
from tests.support.prefixes import MovedClock

LOOPBACK = GuardConfig(allow_loopback_peers=True)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
async def peer_at(pool):
    """Makes a client for one address, as the composition root does."""
    made = []

    def make(url, pin=None, *, guard=GuardConfig()):  # noqa: B008 — frozen
        peer = HttpPeer(
            iss=WORKS,
            aud=PARK,
            reach=lambda: Reach(local=False, endpoints=(Endpoint(url, pin),)),
            connect=partial(guarded_client, guard),
            speakers=FakeHomes(frozenset({WORKS.key}), TREE),
            copy=lambda: (bytes(16), 1),
            clock=MovedClock(),
            executor=pool,
            config=ExchangeConfig(answer_bytes=100_000, request_seconds=0.5),
        )
        made.append(peer)
        return peer

    yield make
    for peer in made:
        await peer.close()


@pytest.fixture
def knocks(monkeypatch):
    """Every address a connection was opened to."""
    seen = []
    connect = asyncio.BaseEventLoop.create_connection

    async def noted(loop, factory, host=None, port=None, **other):
        seen.append(host)
        if host != "127.0.0.1":
            raise ConnectionRefusedError(host)
        return await connect(loop, factory, host, port, **other)

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", noted)
    return seen


def named(monkeypatch, *answers):
    """Let every name mean these addresses, one answer after the other; the last stays."""
    left = [list(answer) for answer in answers]

    async def getaddrinfo(host, port, *_, **__):
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1",
        "https://[::1]",
        "https://[::ffff:10.0.0.1]",
        "https://[::ffff:a9fe:a9fe]",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://0177.0.0.1",
        "https://127.1",
        "https://localhost",
        "http://169.254.169.254",
        "http://node.example",
        "file:///etc/passwd",
        "ftp://node.example",
        "gopher://127.0.0.1:6379/_",
        "https://user:word@127.0.0.1",
    ],
)
async def test_fault_08_the_sender_knocks_at_no_address_that_is_not_public(peer_at, knocks, url):
    peer = peer_at(url)
    for ask in (
        lambda: peer.send("register", [b"token"]),
        lambda: peer.ask("GET", "exchange/control?after=1/0&wait=0", channel="poll"),
        lambda: peer.put_body("report", bytes(32), b"body"),
        lambda: peer.announce("register", "statement", "consent"),
    ):
        with pytest.raises(HazlinkError) as refused:
            await ask()
        assert isinstance(refused.value, UntrustedError | UnavailableError)
    assert not await peer.alive()
    assert knocks == []


async def test_fault_08_a_name_that_means_a_special_address_is_not_knocked_at(peer_at, knocks, monkeypatch):
    named(monkeypatch, ["10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
    with pytest.raises(UntrustedError):
        await peer_at("https://node.example").send("register", [b"token"])
    assert knocks == []


async def test_fault_08_a_name_that_changes_its_meaning_gains_nothing(peer_at, knocks, monkeypatch):
    """Checked as a public address, and then it means loopback: each connection goes to what was checked for it."""
    named(monkeypatch, ["203.0.114.9"], ["127.0.0.1"])
    peer = peer_at("https://node.example")
    for _ in range(3):
        with pytest.raises(HazlinkError):
            await peer.send("register", [b"token"])
    assert set(knocks) == {"203.0.114.9"}


def says(status, body=b"", *more):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


async def test_fault_08_a_redirect_leads_nowhere(peer_at):
    async with served(says("200 OK")) as target:
        away = says(
            "307 Temporary Redirect", b"", f"Location: http://127.0.0.1:{target.port}/latest/meta-data"
        )
        async with served(away) as node:
            with pytest.raises(HazlinkError):
                await peer_at(f"http://127.0.0.1:{node.port}", guard=LOOPBACK).send("register", [b"token"])
    assert target.connections == 0


async def test_fault_08_an_answer_of_a_gigabyte_is_left_at_the_limit(peer_at):
    written = 0

    async def flood(_, writer):
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            written += 65_536
            await writer.drain()

    async with served(flood) as node:
        with pytest.raises(LimitError):
            await peer_at(f"http://127.0.0.1:{node.port}", guard=LOOPBACK).send("register", [b"token"])
    assert written < 100_000_000


async def test_fault_08_an_answer_that_drips_is_left_when_its_time_is_over(peer_at):
    async def drip(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with served(drip) as node:
        with pytest.raises(UnavailableError):
            await peer_at(f"http://127.0.0.1:{node.port}", guard=LOOPBACK).send("register", [b"token"])


async def test_fault_08_another_certificate_hears_nothing(peer_at, tmp_path):
    right, wrong = a_certificate(tmp_path, "right"), a_certificate(tmp_path, "wrong")
    async with served(says("200 OK"), wrong.server_context()) as node:
        peer = peer_at(f"https://127.0.0.1:{node.port}", right.pin, guard=LOOPBACK)
        with pytest.raises(UntrustedError):
            await peer.send("register", [b"token"])
    assert node.requests == []
