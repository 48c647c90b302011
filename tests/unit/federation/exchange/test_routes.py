import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager

import httpx
import orjson
import pytest

from federation.exchange.access import ACCESS
from federation.exchange.pressure import Pressure
from federation.exchange.receipt import Line
from federation.exchange.routes import LARGER, Exchange, make_router
from federation.exchange.streams import STREAMS
from node.accounts.authenticator import AccountAuthenticator
from node.accounts.throttle import Throttle
from node.accounts.tokens import NodeTokens, Tokens
from node.app import Door, create_app
from node.guard import Guard
from node.limits import Limiter
from registry.errors import BusyError, RateLimitError
from registry.identifier import Prefix
from registry.principal import Role
from registry.trust.encoding import b64u
from tests.support.exchange_nodes import Pen, a_desk, a_session_form
from tests.support.exchange_wire import TREE, WORKS
from tests.support.node import an_admin, counted_bytes, some_accounts
from tests.support.trust import a_chain, a_signer
from tests.unit.federation.exchange.test_receiver import resigned

NDJSON = {"content-type": "application/x-ndjson"}


class FakeOutbound:
    """What waits for a peer, as a script; notes what it was asked."""

    def __init__(self):
        self.asked = []

    async def poll(self, peer, stream, after, wait):
        self.asked.append(("poll", peer.key, stream, after, wait))
        return [b"a.b.c", b"d.e.f"]

    def take_receipts(self, peer, receipts):
        self.asked.append(("receipts", peer.key, list(receipts)))
        return [Line(200, "x.y.z") for _ in receipts]

    def sent(self, peer, stream, epoch, after, limit):
        self.asked.append(("sent", peer.key, stream, epoch, after, limit))
        return [b'{"seq":1}']

    def take_heads(self, peer, heads):
        self.asked.append(("heads", peer.key, list(heads)))
        return ["h.h.h"]

    def proofs(self, peer, envs):
        self.asked.append(("proofs", peer.key, list(envs)))
        return {"checkpoint": None, "proofs": {}}


class House:
    """A node's door with nothing behind it but the exchange."""

    def __init__(self, folder, database):
        self.desk = a_desk(database)
        self.clock = self.desk.clock
        self.executor = ThreadPoolExecutor(4)
        self.outbound = FakeOutbound()
        self.pressure = Pressure()
        self.exchange = Exchange(self.desk.inbound, self.outbound, self.pressure)
        tokens = Tokens(key=b"k" * 32, audience="hazlink", seconds=900, clock=self.clock)
        self.desk.sessions._tokens = NodeTokens(tokens)
        accounts = some_accounts(folder, self.clock)
        chief = an_admin(Prefix("88.107"))
        accounts.add_person(chief, "zhang.san@88.107", "a long secret", [Role.ADMIN])
        self.authenticator = AccountAuthenticator(
            accounts=accounts,
            tokens=tokens,
            throttle=Throttle(clock=self.clock, failures=3, longest_wait_seconds=60),
            clock=self.clock,
            executor=self.executor,
            recheck_seconds=2.0,
            randomness=counted_bytes(),
            fence=self.desk.sessions.fence,
        )

        async def settle():
            return None

        guard = Guard(
            access=ACCESS,
            authenticator=self.authenticator,
            limiter=Limiter(addresses=None, principals=None),
            settle=settle,
        )
        self.app = create_app(self, doors=(Door(make_router(), ACCESS),), guard=guard)

    @asynccontextmanager
    async def client(self, token=None):
        transport = httpx.ASGITransport(app=self.app, client=("127.0.0.1", 1234))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(
            transport=transport, base_url="https://park.example", headers=headers
        ) as made:
            yield made

    async def session(self, **other):
        async with self.client() as client:
            answer = await client.post("/exchange/session", json=a_session_form(clock=self.clock, **other))
        assert answer.status_code == 200, answer.text
        return answer.json()["token"]

    async def person(self):
        account = await self.authenticator.login("zhang.san@88.107", "a long secret", "192.0.2.1")
        return self.authenticator.issue(account)[0]


@pytest.fixture
def house(tmp_path, sqlite_database):
    made = House(tmp_path, sqlite_database)
    yield made
    made.executor.shutdown()


def body_of(made):
    return b"".join(one.token.encode() + b"\n" for one in made)


def lines_of(answer):
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [Line.decode(line) for line in answer.content.splitlines()]


async def test_a_session_is_opened_and_a_batch_is_answered_line_by_line(house):
    pen = Pen()
    made = pen.many(3)
    async with house.client(await house.session()) as client:
        answer = await client.post("/exchange/register", content=body_of(made), headers=NDJSON)
        again = await client.post("/exchange/register", content=body_of(made), headers=NDJSON)
    assert answer.status_code == 200
    assert [line.status for line in lines_of(answer)] == [200, 200, 200]
    assert house.desk.got == [one.env for one in made]
    assert again.content == answer.content


async def test_a_token_alone_has_the_status_of_its_line(house):
    pen = Pen()
    one, two = pen.many(2)
    async with house.client(await house.session()) as client:
        gap = await client.post("/exchange/register/1/2", content=two.token)
        good = await client.post("/exchange/register/1/1", content=one.token + "\n")
        large = await client.post("/exchange/register/1/2", content=b"a" * 262_145)
    assert (gap.status_code, good.status_code, large.status_code) == (425, 200, 413)
    assert lines_of(good)[0].receipt


async def test_fault_17_poison_is_answered_with_a_signed_rejection_at_its_url(house):

    poison = resigned(Pen().write(), a_signer("88.107.1001"), raw=b"[" * 10_000)
    async with house.client(await house.session()) as client:
        answer = await client.post("/exchange/register/1/1", content=poison)
    assert house.desk.codes(lines_of(answer)) == ["bad_json"]


@pytest.mark.parametrize("path", ["/0/1", "/1/0", "/01/1", "/x/1", "/1/9999999999999999", "/1/-1"])
async def test_a_position_that_is_none_is_refused(house, path):
    async with house.client(await house.session()) as client:
        answer = await client.post(f"/exchange/register{path}", content=b"a.b.c")
    assert answer.status_code == 400


DOORS = [
    ("POST", "/exchange/receipts"),
    ("POST", "/exchange/heads"),
    ("POST", "/exchange/epochs"),
    ("POST", "/exchange/proofs"),
    ("PUT", "/exchange/bodies/" + b64u(bytes(32))),
    ("GET", "/exchange/bodies/" + b64u(bytes(32))),
    ("POST", "/exchange/register"),
    ("GET", "/exchange/control"),
    ("GET", "/exchange/register/sent"),
    ("POST", "/exchange/register/1/1"),
]


@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_fault_24_no_door_opens_for_the_public_or_for_a_person(house, method, path):
    async with house.client() as client:
        assert (await client.request(method, path)).status_code == 401
    async with house.client(await house.person()) as client:
        assert (await client.request(method, path)).status_code == 403
    async with house.client("x.y.z") as client:
        assert (await client.request(method, path)).status_code == 401
    assert house.outbound.asked == []


def test_fault_24_every_door_is_declared():
    declared = {
        f"{method} {route.path}"
        for route in make_router().routes
        for method in route.methods
        if method != "HEAD"
    }
    assert declared == set(ACCESS)


async def test_fault_16_the_token_of_an_older_copy_is_cut(house):
    old = await house.session(instance=b"a" * 16, fence=1)
    new = await house.session(instance=b"b" * 16, fence=2)
    async with house.client() as client:
        refused = await client.post(
            "/exchange/session", json=a_session_form(clock=house.clock, instance=b"a" * 16, fence=1)
        )
    assert refused.status_code == 409
    made = Pen().many(1)
    async with house.client(old) as client:
        assert (await client.post("/exchange/register", content=body_of(made))).status_code == 401
    async with house.client(new) as client:
        assert (await client.post("/exchange/register", content=body_of(made))).status_code == 200


async def test_fault_07_a_session_brings_nothing_of_another_prefix(house):
    house.desk.inbound.introduce(WORKS, TREE.tokens_of("88.107.1001"))
    stranger = Pen("88.107.1002", "88.107", tree=a_chain("88", "88.107", "88.107.1002"))
    one = stranger.write(chain=b64u(bytes(32)))
    async with house.client(await house.session()) as client:
        answer = await client.post("/exchange/register", content=body_of([one]))
    assert lines_of(answer)[0].status == 401
    assert house.desk.got == []


async def test_a_detached_body_is_put_once_and_found(house):
    data = orjson.dumps({"text": "y" * 70_000})
    path = "/exchange/bodies/" + b64u(hashlib.sha256(data).digest())
    async with house.client(await house.session()) as client:
        assert (await client.get(path)).status_code == 404
        assert (await client.put(path, content=data)).status_code == 204
        assert (await client.put(path, content=data)).status_code == 204
        assert (await client.get(path)).status_code == 204
        assert (await client.put(path, content=b"other")).status_code == 422
        assert (await client.put("/exchange/bodies/x", content=b"other")).status_code == 400
        one = Pen().write(orjson.loads(data))
        answer = await client.post("/exchange/register", content=body_of([one]))
    assert lines_of(answer)[0].status == 200


async def test_what_is_too_much_or_no_stream_is_refused_whole(house):
    async with house.client(await house.session()) as client:
        many = await client.post("/exchange/register", content=b"a\n" * 257)
        huge = await client.post("/exchange/register", content=b"a" * (LARGER["/exchange/"] + 1))
        nothing = await client.post("/exchange/nothing", content=b"a")
        empty = await client.post("/exchange/register", content=b"")
    assert (many.status_code, huge.status_code, nothing.status_code) == (413, 413, 422)
    assert (empty.status_code, empty.content) == (200, b"")


async def test_fault_23_a_peer_that_floods_waits_for_itself_alone(house):
    with ExitStack() as held:
        # a sender of ours has one connection for each stream beside the alarms'
        for stream in STREAMS[1:]:
            held.enter_context(house.pressure.admitted(WORKS, stream))
        async with house.client(await house.session()) as client:
            refused = await client.post("/exchange/register", content=b"a")
            alarm = await client.post("/exchange/alarm", content=b"a")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert alarm.status_code == 200


def test_fault_23_all_together_have_a_bound_and_alarms_their_own():
    pressure = Pressure(per_peer=1, total=1)
    other = Prefix("88.107.1002")
    with pressure.admitted(WORKS, "register"):
        with pytest.raises(RateLimitError), pressure.admitted(WORKS, "flow"):
            pass
        with pytest.raises(BusyError), pressure.admitted(other, "register"):
            pass
        with pressure.admitted(other, "alarm"):
            pass
    with pressure.admitted(other, "register"):
        pass


async def test_what_is_polled_and_brought_back_goes_to_the_sending_side(house):
    async with house.client(await house.session()) as client:
        polled = await client.get("/exchange/control?after=1/7&wait=0.5")
        forever = await client.get("/exchange/control?after=1/0&wait=1e9")
        nan = await client.get("/exchange/control?wait=nan")
        receipts = await client.post("/exchange/receipts", content=b"r.r.r\ns.s.s\n")
        heads = await client.post("/exchange/heads", content=b"h.h.h\n")
        sent = await client.get("/exchange/register/sent?epoch=2&after=5")
        proofs = await client.post("/exchange/proofs", json={"envs": ["e1", "e2"]})
    assert polled.content == b"a.b.c\nd.e.f\n"
    assert [line.status for line in lines_of(receipts)] == [200, 200]
    assert heads.content == b"h.h.h\n"
    assert sent.content == b'{"seq":1}\n'
    assert proofs.json() == {"checkpoint": None, "proofs": {}}
    assert (forever.status_code, nan.status_code) == (200, 200)
    me = "88.107.1001"
    assert house.outbound.asked == [
        ("poll", me, "control", (1, 7), 0.5),
        ("poll", me, "control", (1, 0), 60.0),
        ("poll", me, "control", (1, 0), 0.0),
        ("receipts", me, ["r.r.r", "s.s.s"]),
        ("heads", me, ["h.h.h"]),
        ("sent", me, "register", 2, 5, 64),
        ("proofs", me, ["e1", "e2"]),
    ]


@pytest.mark.parametrize("query", ["after=1", "after=x/1", "after=1/-1", "wait=long"])
async def test_a_question_that_cannot_be_read_is_refused(house, query):
    async with house.client(await house.session()) as client:
        assert (await client.get(f"/exchange/control?{query}")).status_code in (400, 422)
        assert (await client.post("/exchange/proofs", json={"envs": []})).status_code == 400
        assert (await client.post("/exchange/proofs", content=b"[]")).status_code == 400
        assert (await client.post("/exchange/receipts", content=b"\xff")).status_code == 400
