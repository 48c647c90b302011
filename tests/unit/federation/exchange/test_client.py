import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import orjson
import pytest

from federation.exchange.client import HttpPeer
from federation.exchange.config import ExchangeConfig
from federation.exchange.reaching import Reach
from registry.errors import (
    ForbiddenError,
    HazlinkError,
    LimitError,
    MalformedError,
    UnavailableError,
    UntrustedError,
)
from registry.trust import jws
from registry.trust.encoding import b64u
from registry.trust.possession import POSSESSION_TYPE, verify_possession
from resolver.ports import Endpoint
from tests.support.exchange_nodes import FakeHomes
from tests.support.exchange_wire import PARK, TREE, WORKS
from tests.support.prefixes import NOW, MovedClock

FIRST, SECOND = Endpoint("https://one.example", "pin-1"), Endpoint("https://two.example/", "pin-2")
NONCE = b64u(bytes(32))


class Node:
    """A node above: opens sessions, and answers everything else as it is told."""

    def __init__(self):
        self.asked, self.forms, self.pins = [], [], []
        self.answers = {}
        self.alive = {"one.example": True, "two.example": True}
        self.token = 0
        self.life = 300
        self.date = None

    def connect(self, pin):
        self.pins.append(pin)
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer), follow_redirects=True)

    async def answer(self, request):
        self.asked.append((request.method, str(request.url)))
        if not self.alive[request.url.host]:
            raise httpx.ConnectError("refused", request=request)
        headers = {"date": self.date} if self.date else {}
        if request.url.path == "/federation/v1/challenge":
            return httpx.Response(200, json={"nonce": NONCE}, headers=headers)
        if request.url.path == "/exchange/session":
            self.forms.append(orjson.loads(request.content))
            self.token += 1
            form = {
                "token": f"t{self.token}",
                "expires_in": self.life,
                "understands": {"note": ["note/1"], "x": 1},
                "credit": 7,
            }
            return httpx.Response(200, json=form)
        made = self.answers[request.url.path]
        return made(request) if callable(made) else made

    def paths(self):
        return [httpx.URL(url).path for _, url in self.asked]


@pytest.fixture
def node():
    return Node()


@pytest.fixture
async def peer(node):
    with ThreadPoolExecutor(2) as executor:
        made = HttpPeer(
            iss=WORKS,
            aud=PARK,
            reach=lambda: (
                node.reach if hasattr(node, "reach") else Reach(local=False, endpoints=(FIRST, SECOND))
            ),
            connect=node.connect,
            speakers=FakeHomes(frozenset({"88.107.1001"}), TREE),
            copy=lambda: (bytes(16), 5),
            clock=MovedClock(),
            executor=executor,
            config=ExchangeConfig(answer_bytes=1_000, request_seconds=0.2),
        )
        yield made
        await made.close()


async def test_a_session_shows_chain_key_copy_and_fence_and_is_used_until_it_ends(node, peer):
    node.answers["/exchange/register"] = httpx.Response(200, content=b'{"status":503,"code":"busy"}\n')
    for _ in range(2):
        lines = await peer.send("register", [b"token"])
        assert [(line.status, line.code) for line in lines] == [(503, "busy")]
    assert node.paths() == [
        "/federation/v1/challenge",
        "/exchange/session",
        "/exchange/register",
        "/exchange/register",
    ]
    (form,) = node.forms
    assert form["prefix"] == "88.107.1001"
    assert tuple(form["chain"]) == TREE.tokens_of("88.107.1001")
    assert (form["instance"], form["fence"]) == (b64u(bytes(16)), 5)
    key = TREE.verified().signing_key(jws.parse(form["possession"], typ=POSSESSION_TYPE).kid, NOW)
    shown = verify_possession(
        form["possession"], key, audience="0.NA/88.107", subject="0.NA/88.107.1001", now=NOW
    )
    assert shown == NONCE
    assert (peer.credit, peer.understands) == (7, {"note": ["note/1"]})
    peer._clock.time += node.life
    await peer.send("register", [b"token"])
    assert len(node.forms) == 2


async def test_a_new_fence_needs_a_new_session(node, peer):
    node.answers["/exchange/register"] = httpx.Response(200)
    await peer.send("register", [b"token"])
    peer._copy = lambda: (bytes(16), 6)
    await peer.send("register", [b"token"])
    assert [form["fence"] for form in node.forms] == [5, 6]


async def test_a_sign_of_life_opens_the_session_for_alarms_and_bulk_has_another(node, peer):
    for stream in ("alarm", "register"):
        node.answers[f"/exchange/{stream}"] = httpx.Response(200, content=b'{"status":503,"code":"busy"}\n')
    assert await peer.alive()
    assert len(node.forms) == 1
    await peer.send("alarm", [b"token"])
    await peer.send("alarm", [b"token"])
    assert len(node.forms) == 1
    await peer.send("register", [b"token"])
    assert len(node.forms) == 2
    assert await peer.alive()
    assert len(node.forms) == 2
    # who is refused opens his own anew, and leaves that of the others alone
    peer._clock.time += node.life - 1
    await peer.send("alarm", [b"token"])
    assert len(node.forms) == 3


async def test_many_signs_of_life_at_once_open_one_session(node, peer):
    assert all(await asyncio.gather(*(peer.alive() for _ in range(5))))
    assert len(node.forms) == 1


async def test_a_hanging_login_of_bulk_holds_up_no_alarm(node, peer):
    node.answers["/exchange/alarm"] = httpx.Response(200, content=b'{"status":503,"code":"busy"}\n')
    async with peer._login.lock:
        assert await peer.alive()
        assert len(await peer.send("alarm", [b"token"])) == 1


async def test_a_refusal_in_words_is_a_sign_of_life_and_silence_is_none(node, peer):
    whole = node.answer

    async def refusing(request):
        if request.url.path == "/exchange/session":
            return httpx.Response(409, json={"detail": "another copy"})
        return await whole(request)

    node.answer = refusing
    assert await peer.alive()
    node.alive = dict.fromkeys(node.alive, False)
    assert not await peer.alive()


async def test_a_session_that_is_refused_is_opened_anew_once(node, peer):
    seen = []

    def refuse(request):
        seen.append(request.headers["authorization"])
        return httpx.Response(401) if len(seen) == 1 else httpx.Response(200)

    node.answers["/exchange/register"] = refuse
    assert await peer.send("register", [b"token"]) == []
    assert seen == ["Bearer t1", "Bearer t2"]
    node.answers["/exchange/register"] = httpx.Response(401, json={"detail": "no"})
    (line,) = await peer.send("register", [b"token"])
    assert line.status == 401


async def test_fault_18_the_proof_of_the_key_goes_by_the_clock_of_who_asks_for_it(node, peer):
    node.date = "Mon, 21 Sep 2026 15:13:20 GMT"  # an hour ahead of the test's clock
    node.answers["/exchange/register"] = httpx.Response(200)
    await peer.send("register", [b"token"])
    possession = jws.parse(node.forms[0]["possession"], typ=POSSESSION_TYPE).claims()
    assert possession["iat"] == NOW + 3600
    assert peer.skew == 3600


@pytest.mark.parametrize("date", ["yesterday", "Mon, 99 Foo 2026 15:13:20 GMT", "\x7f" * 500])
async def test_a_date_that_is_none_is_not_looked_at(node, peer, date):
    node.date = date
    node.answers["/exchange/register"] = httpx.Response(200)
    await peer.send("register", [b"token"])
    assert peer.skew == 0


async def test_each_stream_has_a_connection_of_its_own_pinned_to_the_certificate(node, peer):
    for stream in ("register", "alarm"):
        node.answers[f"/exchange/{stream}"] = httpx.Response(200)
        await peer.send(stream, [b"token"])
        await peer.send(stream, [b"token"])
    assert node.pins == ["pin-1", "pin-1"]


async def test_the_next_address_is_asked_and_remembered_when_one_is_silent(node, peer):
    node.alive["one.example"] = False
    node.answers["/exchange/register"] = httpx.Response(200)
    await peer.send("register", [b"token"])
    node.asked.clear()
    await peer.send("register", [b"token"])
    assert node.asked == [("POST", "https://two.example/exchange/register")]
    node.alive["two.example"] = False
    with pytest.raises(UnavailableError) as refused:
        await peer.send("register", [b"token"])
    assert refused.value.code.endswith("unreachable")
    assert not await peer.alive()


async def test_a_peer_without_an_address_is_not_there(node, peer):
    node.reach = None
    with pytest.raises(UnavailableError):
        await peer.send("register", [b"token"])


@pytest.mark.parametrize(
    ("status", "headers", "retry_after"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (503, {}, None),
        (413, {"retry-after": "soon"}, None),
        (502, {"retry-after": "9" * 40}, 3600.0),
    ],
)
async def test_fault_23_a_refusal_of_the_whole_request_is_one_line_without_a_signature(
    node, peer, status, headers, retry_after
):
    words = {"detail": "not now", "detail_zh": "稍后", "type": "urn:x"}
    node.answers["/exchange/register"] = httpx.Response(status, headers=headers, json=words)
    (line,) = await peer.send("register", [b"one", b"two"])
    assert (line.status, line.receipt, line.retry_after) == (status, None, retry_after)
    assert "稍后" in line.detail_zh


async def test_one_token_alone_has_the_status_of_its_line(node, peer):
    node.answers["/exchange/register/1/5"] = httpx.Response(
        425, content=b'{"status":425,"receipt":"a.b.c"}\n'
    )
    (line,) = await peer.send_alone("register", 1, 5, b"token")
    assert (line.status, line.receipt) == (425, "a.b.c")
    node.answers["/exchange/register/1/5"] = httpx.Response(503, content=b"<html>")
    (line,) = await peer.send_alone("register", 1, 5, b"token")
    assert (line.status, line.receipt) == (503, None)


async def test_fault_08_an_answer_without_end_is_left_at_the_limit(node, peer):
    async def without_end():
        while True:
            yield b"x" * 400

    node.answers["/exchange/register"] = lambda _: httpx.Response(200, content=without_end())
    with pytest.raises(LimitError):
        await peer.send("register", [b"token"])


async def test_fault_08_an_answer_that_drips_is_left_when_its_time_is_over(node, peer):
    async def slowly():
        while True:
            yield b"x"
            await asyncio.sleep(0.05)

    node.answers["/exchange/register"] = lambda _: httpx.Response(200, content=slowly())
    with pytest.raises(UnavailableError):
        await peer.send("register", [b"token"])


async def test_fault_08_no_redirect_is_followed(node, peer):
    node.answers["/exchange/register"] = httpx.Response(307, headers={"location": "http://169.254.169.254/"})
    (line,) = await peer.send("register", [b"token"])
    assert line.status == 307
    assert all("169.254" not in url for _, url in node.asked)


async def test_a_compressed_answer_is_not_opened(node, peer):
    node.answers["/exchange/register"] = httpx.Response(
        200, headers={"content-encoding": "gzip"}, content=b""
    )
    with pytest.raises(MalformedError):
        await peer.send("register", [b"token"])


async def test_a_forbidden_address_stays_forbidden(node, peer):
    def forbid(pin):
        async def refuse(_):
            raise UntrustedError("resolver.peer.address", field="url", value="10.0.0.1")

        return httpx.AsyncClient(transport=httpx.MockTransport(refuse))

    peer._asker._connect = forbid
    with pytest.raises(UntrustedError):
        await peer.send("register", [b"token"])


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b'{"token":"t","expires_in":0}',
        b'{"token":1,"expires_in":9}',
        b"\xff",
        b'{"token":"t","token":"u","expires_in":9}',
    ],
)
async def test_a_session_that_cannot_be_read_is_none(node, peer, content):
    honest = node.answer

    async def odd(request):
        made = await honest(request)
        return httpx.Response(200, content=content) if request.url.path == "/exchange/session" else made

    node.answer = odd
    with pytest.raises(MalformedError):
        await peer.send("register", [b"token"])


async def test_a_refused_session_says_why(node, peer):
    honest = node.answer

    async def closed(request):
        made = await honest(request)
        refused = httpx.Response(403, json={"detail_zh": "已暂停", "detail_en": "suspended"})
        return refused if request.url.path == "/exchange/session" else made

    node.answer = closed
    with pytest.raises(ForbiddenError) as refused:
        await peer.send("register", [b"token"])
    assert "suspended" in str(refused.value)
    assert "已暂停" in refused.value.message("zh")


async def test_chains_bodies_and_epochs_are_shown(node, peer):
    node.answers["/exchange/epochs"] = httpx.Response(200, json={})
    node.answers[f"/exchange/bodies/{b64u(bytes(32))}"] = httpx.Response(204)
    await peer.introduce(("one", "two"))
    await peer.announce("register", "statement", "consent")
    await peer.put_body("report", bytes(32), b"data")
    assert node.forms[0]["chain"] == ["one", "two"]
    assert node.asked[-1] == ("PUT", f"https://one.example/exchange/bodies/{b64u(bytes(32))}")
    node.answers["/exchange/epochs"] = httpx.Response(409, json={"detail": "another"})
    with pytest.raises(HazlinkError):
        await peer.announce("register", "statement", "consent")


def test_the_settings_can_be_changed_one_by_one():
    assert replace(ExchangeConfig(), batch_envelopes=1).batch_bytes == ExchangeConfig().batch_bytes
