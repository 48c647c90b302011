"""A child follows its superior's log: nothing connects to the child."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from federation.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from federation.log.cosigning import MAX_COSIGNATURES, make_cosignatures, parse_cosignatures
from federation.log.following import LogFollower
from federation.log.log_http import LogHttp
from federation.log.note import cosign, key_of
from federation.log.watched import KnownLogs
from federation.log.witness import Witness
from node.schema import upgrade
from registry.errors import LimitError, MalformedError, NotFoundError, UnavailableError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from tests.support.log import SteppingClock, a_leaf, a_log, a_log_signer, real_leaves
from tests.unit.federation.log.test_doors import an_app, connect_to

CHILD, SUPERIOR, OTHER = (Prefix.parse(text) for text in ("88.107.1001", "88.107", "88.107.1002"))
ORIGIN, CHILD_ORIGIN = "88.107/log1", "88.107.1001/log1"
SIGNER, CHILD_SIGNER = a_log_signer("superior"), a_log_signer("child")
KEY, CHILD_KEY = key_of(ORIGIN, SIGNER), key_of(CHILD_ORIGIN, CHILD_SIGNER)


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as made:
        yield made


def a_witness(database, signer, name, known, clock=None):
    logs = KnownLogs()
    logs.replace(known)
    return Witness(database=database, signer=signer, name=name, logs=logs, clock=clock or SteppingClock())


@pytest.fixture
def superior(sqlite_database):
    """The superior's log, and the witness that takes what followers bring."""
    log = a_log(sqlite_database, real_leaves(300), origin=ORIGIN, signer=SIGNER)
    return log, a_witness(sqlite_database, SIGNER, ORIGIN, [(CHILD, CHILD_KEY.vkey), (SUPERIOR, KEY.vkey)])


@pytest.fixture
def child(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'child.sqlite3'}")
    upgrade(database)
    yield a_witness(database, CHILD_SIGNER, CHILD_ORIGIN, [(SUPERIOR, KEY.vkey)])
    database.close()


def a_follower(child, app, executor, token="node"):
    async def shown():
        return token

    http = LogHttp(connect=connect_to(app), url="https://superior.example/", token=shown)
    return LogFollower(http=http, keys=[KEY], witness=child, executor=executor)


async def test_a_child_follows_and_its_signature_comes_to_stand_under_the_checkpoint(
    superior, child, executor
):
    log, taking = superior
    app = an_app(executor=executor, log=log.reader, witness=taking)
    follower = a_follower(child, app, executor)
    for size in (300, 300, 900, 901):
        log.append(real_leaves(size - log.reader.state().size, log.reader.state().size))
        log.publish()
        assert (await follower.follow()).size == size
        note = log.reader.checkpoint(cosigned=True).note
        assert open_checkpoint(note, KEY, [child.key]).witnessed_at == 1_790_000_000
    assert child.known(ORIGIN) == 901


async def test_fault_20_a_child_that_is_shown_another_history_refuses(superior, child, executor, tmp_path):
    log, taking = superior
    await a_follower(child, an_app(executor=executor, log=log.reader, witness=taking), executor).follow()
    for leaves, code in (
        ([*real_leaves(299), a_leaf(9999).encode()], "unproven"),
        ([a_leaf(9999).encode(), *real_leaves(500)], "unproven"),
        (real_leaves(200), "shorter"),
    ):
        fork = Database(f"sqlite:///{tmp_path / f'fork{len(leaves)}.sqlite3'}")
        upgrade(fork)
        forked = a_log(fork, leaves, origin=ORIGIN, signer=SIGNER)
        app = an_app(executor=executor, log=forked.reader, witness=taking)
        with pytest.raises(UntrustedError) as refused:
            await a_follower(child, app, executor).follow()
        assert refused.value.code == f"federation.log.{code}"
        fork.close()
    assert child.known(ORIGIN) == 300


async def test_what_a_stranger_brings_is_not_taken(superior, child, executor):
    log, taking = superior
    app = an_app(executor=executor, log=log.reader, witness=taking)
    for token in ("", "other", "auditor"):
        with pytest.raises(UnavailableError):
            await a_follower(child, app, executor, token).follow()
    with pytest.raises(NotFoundError):
        log.reader.checkpoint(cosigned=True)


async def test_a_log_that_answers_nonsense_is_not_followed(superior, child, executor):
    log, taking = superior
    await a_follower(child, an_app(executor=executor, log=log.reader, witness=taking), executor).follow()
    log.append(real_leaves(600, 300))
    log.publish()
    note = log.reader.checkpoint().note
    for checkpoint, tiles, error in (
        (b"", 404, UnavailableError),
        (b"nonsense", 404, MalformedError),
        (note, 404, UnavailableError),
        (note, 200, UnavailableError),
    ):

        def answer(request, checkpoint=checkpoint, tiles=tiles):
            if request.url.path.endswith("checkpoint"):
                return httpx.Response(200 if checkpoint else 503, content=checkpoint)
            return httpx.Response(tiles, content=b"short")

        http = LogHttp(
            connect=lambda _pin, answer=answer: httpx.AsyncClient(transport=httpx.MockTransport(answer)),
            url="https://superior.example",
        )
        with pytest.raises(error):
            await LogFollower(http=http, keys=[KEY], witness=child, executor=executor).follow()
    assert child.known(ORIGIN) == 300


def test_signatures_are_taken_from_owners_of_known_logs_up_to_a_limit(superior):
    log, taking = superior
    stored = log.reader.checkpoint()
    text = Checkpoint(ORIGIN, 300, stored.root).text()
    line = cosign(text, CHILD_ORIGIN, CHILD_SIGNER, 7)
    body = make_cosignatures(300, line.line().encode())
    assert parse_cosignatures(body) == (300, (line,))
    assert taking.add_cosignatures(body, [CHILD]) == 1
    later = cosign(text, CHILD_ORIGIN, CHILD_SIGNER, 9)
    assert taking.add_cosignatures(make_cosignatures(300, later.line().encode()), [CHILD]) == 1
    assert open_checkpoint(log.reader.checkpoint().note, KEY, [CHILD_KEY.as_witness()]).witnessed_at == 7
    for peers in ([], [OTHER]):
        with pytest.raises(UntrustedError):
            taking.add_cosignatures(body, peers)
    with pytest.raises(NotFoundError):
        taking.add_cosignatures(make_cosignatures(299, line.line().encode()), [CHILD])
    signed = sign_checkpoint(Checkpoint(ORIGIN, 300, stored.root), CHILD_SIGNER).signatures[0]
    with pytest.raises(UntrustedError):
        taking.add_cosignatures(make_cosignatures(300, signed.line().encode()), [CHILD])
    for number in range(20):
        name, signer = f"88.107.{2000 + number}/log1", a_log_signer(f"w{number}")
        more = cosign(text, name, signer, 8)
        count = log.writer.add_cosignatures(300, [more], [key_of(name, signer).as_witness()])
    assert count == MAX_COSIGNATURES


@pytest.mark.parametrize("raw", [b"", b"300", b"300\n", b"x\n", b"\xff", b"0300\n\xe2\x80\x94 a AAAAAAAA\n"])
def test_what_brings_no_signatures_is_refused(raw):
    with pytest.raises(MalformedError):
        parse_cosignatures(raw)
    with pytest.raises(LimitError):
        parse_cosignatures(b"1\n" + b"x" * 20_000)
