"""The doors of the log over HTTP, and the client that has a log witnessed through them."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from federation.log import access, routes
from federation.log.access import ACCESS
from federation.log.checkpoint import open_checkpoint
from federation.log.merkle import consistency, root
from federation.log.note import key_of
from federation.log.proof import TlogProof
from federation.log.watched import KnownLogs, log_digest
from federation.log.witness import Witness
from federation.log.witness_client import WitnessClient, WitnessPeer, unbundle
from federation.log.witness_request import WitnessRequest, make_request
from node import problems
from node.schema import upgrade
from registry.errors import ForbiddenError, NotFoundError, UnavailableError, UntrustedError
from registry.identifier import Prefix
from registry.principal import ANONYMOUS, Grant, Principal, Role
from registry.storage.engine import Database
from tests.support.log import (
    ListHashes,
    SteppingClock,
    a_leaf,
    a_log,
    a_log_signer,
    entry_hashes,
    env_of,
    real_leaves,
)

CHILD, SUPERIOR = Prefix.parse("88.107.1001"), Prefix.parse("88.107")
ORIGIN, TOP = "88.107.1001/log1", "88.107/log1"
SIGNER, TOP_SIGNER = a_log_signer("child"), a_log_signer("superior")
KEY = key_of(ORIGIN, SIGNER)
DIGEST = log_digest(ORIGIN)
WITNESS_KEY = key_of(TOP, TOP_SIGNER).as_witness()
URL = "https://superior.example"

PEOPLE = {
    "node": Principal("node:88.107.1001", frozenset({Grant(CHILD, Role.NODE)})),
    "other": Principal("node:88.107.1002", frozenset({Grant(Prefix.parse("88.107.1002"), Role.NODE)})),
    "auditor": Principal("a@88.107.1001", frozenset({Grant(CHILD, Role.AUDITOR)})),
    "tenant": Principal("a@88.107.1003", frozenset({Grant(Prefix.parse("88.107.1003"), Role.ADMIN)})),
}


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as made:
        yield made


def an_app(*, executor, log=None, witness=None):
    """The routes as an application mounts them: the principal comes from a word in the header."""
    app = FastAPI()
    app.state.node = SimpleNamespace(log=log, witness=witness, executor=executor)
    app.include_router(routes.make_router())
    problems.install(app)

    @app.middleware("http")
    async def who(request, call_next):
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        request.state.principal = PEOPLE.get(shown, ANONYMOUS)
        return await call_next(request)

    return app


def connect_to(app):
    return lambda _pin: httpx.AsyncClient(transport=httpx.ASGITransport(app=app))


async def get(app, path, who=""):
    async with connect_to(app)(None) as client:
        return await client.get(f"{URL}{path}", headers={"authorization": f"Bearer {who}"})


@pytest.fixture
def child(sqlite_database):
    return a_log(sqlite_database, real_leaves(300), origin=ORIGIN, signer=SIGNER)


def a_superior(tmp_path, *, mirror, alarms=None):
    database = Database(f"sqlite:///{tmp_path / 'superior.sqlite3'}")
    upgrade(database)
    logs = KnownLogs()
    logs.replace([(CHILD, KEY.vkey)], mirror=[CHILD] if mirror else [])
    made = Witness(
        database=database, signer=TOP_SIGNER, name=TOP, logs=logs, clock=SteppingClock(),
        alarm=None if alarms is None else alarms.append,
    )  # fmt: skip
    return database, made


@pytest.fixture(params=[False, True], ids=["plain", "mirrored"])
def superior(request, tmp_path):
    database, made = a_superior(tmp_path, mirror=request.param)
    yield made
    database.close()


@pytest.fixture
def mirroring(tmp_path):
    database, made = a_superior(tmp_path, mirror=True)
    yield made
    database.close()


def a_client(child, app, executor, *, token="node", connect=None, **how):
    async def shown():
        return token

    return WitnessClient(
        connect=connect or connect_to(app), peer=WitnessPeer(f"{URL}/", None, WITNESS_KEY), reader=child.reader,
        writer=child.writer, executor=executor, token=shown, **how,
    )  # fmt: skip


async def test_a_log_is_served_as_tiles(child, executor):
    app = an_app(executor=executor, log=child.reader)
    answer = await get(app, "/log/checkpoint")
    assert open_checkpoint(answer.content, KEY).checkpoint.size == 300
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-store"
    tile = await get(app, "/log/tile/0/000")
    assert (tile.status_code, len(tile.content)) == (200, 8192)
    assert tile.headers["content-type"] == "application/octet-stream"
    assert "immutable" in tile.headers["cache-control"]
    assert (await get(app, "/log/tile/0/001.p/44")).content == child.reader.tile(0, 1, 44)
    assert (await get(app, "/log/tile/1/000.p/1")).content == root(child_hashes(256))
    for path, status in (
        ("0/001", 404), ("0/001.p/45", 404), ("2/000.p/1", 404), ("8/000", 404), ("x/000", 404), ("0/0", 400),
        ("0/000.p/256", 400), ("0/..%2F..%2Fsecret", 400), ("0/x001/x234/067", 404), ("00/000", 404),
    ):  # fmt: skip
        assert (await get(app, f"/log/tile/{path}")).status_code == status, path


def child_hashes(count):
    from federation.log.merkle import leaf_hash

    return [leaf_hash(leaf) for leaf in real_leaves(count)]


async def test_entries_are_for_those_who_watch_over_the_owner_of_the_log(child, executor):
    app = an_app(executor=executor, log=child.reader)
    assert unbundle((await get(app, "/log/tile/entries/001.p/44", "auditor")).content) == real_leaves(44, 256)
    for who, status in (("", 401), ("node", 403), ("other", 403), ("tenant", 403)):
        assert (await get(app, "/log/tile/entries/000", who)).status_code == status, who


async def test_a_proof_is_got_by_the_hash_of_an_envelope(child, executor):
    app = an_app(executor=executor, log=child.reader)
    answer = await get(app, f"/proof/{env_of(7)}")
    assert TlogProof.parse(answer.content).verify(a_leaf(7).encode(), KEY).checkpoint.size == 300
    assert (await get(app, f"/proof/{env_of(1000)}")).status_code == 404
    assert (await get(app, "/proof/nonsense")).status_code == 404


async def test_a_log_has_its_checkpoints_witnessed_as_it_grows(child, superior, executor):
    app = an_app(executor=executor, witness=superior)
    client = a_client(child, app, executor)
    assert await client.push() == 300
    assert await client.push() == 300, "again is no harm"
    child.append(real_leaves(3000, 300))
    child.publish()
    assert await client.push() == 3300
    cosigned = open_checkpoint(child.reader.checkpoint(cosigned=True).note, KEY, [WITNESS_KEY])
    assert cosigned.checkpoint.size == 3300
    assert cosigned.witnessed_at == 1_790_000_000
    assert (await client.checkpoint()).checkpoint == cosigned.checkpoint
    # a client that starts anew asks where it stands
    assert await a_client(child, app, executor).push() == 3300


async def test_what_piled_up_goes_to_the_witness_from_checkpoint_to_checkpoint(
    child, superior, executor, monkeypatch
):
    cosigned, waiting = [], []
    judge, mirror = Witness.add_checkpoint, Witness.add_entries

    def judged(self, raw, peers=()):
        answer = judge(self, raw, peers)
        if answer.status == 200:
            cosigned.append(self.known(ORIGIN))
        return answer

    def mirrored(self, digest, first, leaves, peers):
        have = mirror(self, digest, first, leaves, peers)
        waiting.append(have - self.known(ORIGIN))
        return have

    monkeypatch.setattr(Witness, "add_checkpoint", judged)
    monkeypatch.setattr(Witness, "add_entries", mirrored)
    for first in range(300, 2100, 300):
        child.append(real_leaves(300, first))
        child.publish()
    app = an_app(executor=executor, witness=superior)
    assert await a_client(child, app, executor, step=700).push() == 2100
    assert cosigned == [600, 1200, 1800, 2100]
    assert all(count <= 700 for count in waiting)
    # the next leaves are further away than a step, and come all the same; who starts anew goes on where it stands
    child.append(real_leaves(900, 2100))
    child.publish()
    assert await a_client(child, app, executor, step=700).push() == 3000
    assert cosigned[4:] == [3000]


async def test_a_mirror_gives_the_entries_back_to_the_owner_alone(child, mirroring, executor):
    app = an_app(executor=executor, witness=mirroring)
    client = a_client(child, app, executor)
    await client.push()
    got = []
    while leaves := await client.entries(len(got)):
        got += leaves
    assert got == real_leaves(300)
    for who in ("other", "auditor", "stranger"):
        with pytest.raises(ForbiddenError):
            await a_client(child, app, executor, token=who).entries(0)
    child.append(real_leaves(1, 300))
    child.publish()
    with pytest.raises(ForbiddenError):
        await a_client(child, app, executor, token="other").push()


async def test_a_witness_that_knows_more_says_the_database_is_old(child, superior, executor, tmp_path):
    app = an_app(executor=executor, witness=superior)
    await a_client(child, app, executor).push()
    older = Database(f"sqlite:///{tmp_path / 'older.sqlite3'}")
    upgrade(older)
    log = a_log(older, real_leaves(200), origin=ORIGIN, signer=SIGNER)
    with pytest.raises(UntrustedError) as refused:
        await a_client(log, app, executor).push()
    assert refused.value.code == "federation.log.witness_ahead"
    older.close()


async def test_fault_20_another_history_is_refused_by_the_witness(child, executor, tmp_path):
    alarms = []
    database, superior = a_superior(tmp_path, mirror=False, alarms=alarms)
    app = an_app(executor=executor, witness=superior)
    await a_client(child, app, executor).push()
    other = Database(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    upgrade(other)
    forked = a_log(other, [*real_leaves(299), a_leaf(9999).encode()], origin=ORIGIN, signer=SIGNER)
    with pytest.raises(UntrustedError) as refused:
        await a_client(forked, app, executor).push()
    assert refused.value.code == "federation.log.witness_refused"
    assert len(alarms) == 1
    # what the superior shows anybody who compares is the first history
    view = await a_client(child, app, executor).view(ORIGIN)
    assert open_checkpoint(view, KEY).checkpoint.root == child.reader.checkpoint().root
    other.close()
    database.close()


async def test_a_witness_that_does_not_know_the_log_says_so(child, executor, tmp_path):
    database, superior = a_superior(tmp_path, mirror=False)
    superior._logs.replace([])
    with pytest.raises(ForbiddenError):
        await a_client(child, an_app(executor=executor, witness=superior), executor).push()
    with pytest.raises(ForbiddenError):
        await a_client(child, an_app(executor=executor, witness=None), executor).push()
    with pytest.raises(ForbiddenError):
        await a_client(child, an_app(executor=executor, witness=superior), executor).checkpoint()
    database.close()


async def test_nothing_is_pushed_before_there_is_a_checkpoint(sqlite_database, superior, executor):
    log = a_log(sqlite_database, origin=ORIGIN, signer=SIGNER)
    with pytest.raises(NotFoundError):
        await a_client(log, an_app(executor=executor, witness=superior), executor).push()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"garbage", Exception),
        (200, b"\xff", Exception),
        (200, "— 88.107/log1 AAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".encode(), UntrustedError),
        (409, b"garbage", UnavailableError),
        (409, b"301\n", UntrustedError),
        (409, b"0\n", UnavailableError),
        (424, b"0\n", ForbiddenError),
        (422, b"", UntrustedError),
        (404, b"", ForbiddenError),
        (403, b"", ForbiddenError),
        (302, b"", UnavailableError),
        (503, b"", UnavailableError),
        (200, b"x" * (9 << 20), UnavailableError),
    ],
)
async def test_a_witness_that_answers_nonsense_is_not_believed(child, executor, status, body, error):
    def answer(_request):
        return httpx.Response(status, content=body, headers={"location": "https://elsewhere.example/"})

    client = a_client(
        child, None, executor, connect=lambda _pin: httpx.AsyncClient(transport=httpx.MockTransport(answer))
    )
    with pytest.raises(error):
        await client.push()
    with pytest.raises(NotFoundError):
        child.reader.checkpoint(cosigned=True)


async def test_a_witness_that_cannot_be_reached_is_asked_later(child, executor):
    def fail(_request):
        raise httpx.ConnectError("no route")

    client = a_client(
        child, None, executor, connect=lambda _pin: httpx.AsyncClient(transport=httpx.MockTransport(fail))
    )
    with pytest.raises(UnavailableError) as refused:
        await client.push()
    assert refused.value.retry_after is not None


async def test_the_doors_have_their_limits(child, mirroring, executor):
    app = an_app(executor=executor, log=child.reader, witness=mirroring)
    async with connect_to(app)(None) as client:
        for path, body, who, status in (
            ("/witness/add-checkpoint", b"x" * 100_000, "", 413),
            ("/witness/add-checkpoint", b"nonsense", "", 400),
            (f"/witness/{DIGEST}/entries?from=0", b"x" * (3 << 20), "node", 413),
            (f"/witness/{DIGEST}/entries?from=0", b"\x00\x09x", "node", 400),
            (f"/witness/{DIGEST}/entries?from=x", b"", "node", 400),
            (f"/witness/{DIGEST}/entries?from=-1", b"", "node", 400),
            (f"/witness/{DIGEST}/entries", b"", "node", 400),
            (f"/witness/{DIGEST}/entries?from=7", b"\x00\x01x", "node", 409),
            (f"/witness/{DIGEST}/entries?from=0", b"\x00\x01x", "other", 403),
            (f"/witness/{DIGEST.upper()}/entries?from=0", b"\x00\x01x", "node", 400),
            ("/witness/abc/entries?from=0", b"\x00\x01x", "node", 400),
        ):
            answer = await client.post(
                f"{URL}{path}", content=body, headers={"authorization": f"Bearer {who}"}
            )
            assert answer.status_code == status, (path, answer.text)


async def test_a_stranger_can_have_no_checkpoint_of_a_log_cosigned_but_the_logs_own(mirroring, executor):
    app = an_app(executor=executor, witness=mirroring)
    hashes = entry_hashes(5)
    from federation.log.checkpoint import Checkpoint, sign_checkpoint

    note = sign_checkpoint(Checkpoint(ORIGIN, 5, root(hashes)), a_log_signer("thief")).encode()
    body = make_request(WitnessRequest(0, tuple(consistency(ListHashes(hashes), 5, 5)), note))
    async with connect_to(app)(None) as client:
        assert (await client.post(f"{URL}/witness/add-checkpoint", content=body)).status_code == 403


def test_every_route_has_a_rule_and_every_rule_a_route():
    doors = {f"{method} {route.path}" for route in routes.make_router().routes for method in route.methods}
    assert doors == set(ACCESS) == set(access.ACCESS)
