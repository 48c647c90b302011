import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.log.checkpoint import Checkpoint
from federation.log.merkle import verify_consistency, verify_inclusion
from federation.log.note import cosign
from federation.log.proof import TlogProof
from federation.log.reading import MAX_PROOFS, bundle
from federation.log.tiles import WIDTH
from federation.log.witness_client import unbundle
from registry.errors import GoneError, InvalidValueError, LimitError, MalformedError, NotFoundError
from tests.support.log import (
    LOG_KEY,
    ORIGIN,
    WITNESS,
    WITNESS_KEY,
    WITNESS_SIGNER,
    a_leaf,
    a_log,
    entries,
    entry_hashes,
    env_of,
    plain_root,
    real_leaves,
)


def test_an_unopened_log_has_nothing_to_show(database):
    log = a_log(database)
    assert (log.reader.state().origin, log.reader.state().size, log.reader.state().published) == (None, 0, 0)
    log.append(entries(3))
    for call in (
        log.reader.checkpoint, lambda: log.reader.tile(0, 0, 3), lambda: log.reader.entries(0, 3),
        lambda: log.reader.proof(0), lambda: log.reader.prove(env_of(1)), lambda: log.reader.consistency(1, 2),
    ):  # fmt: skip
        with pytest.raises(NotFoundError):
            call()
    assert log.reader.leaves(0, 9) == entries(3)


def test_only_what_a_checkpoint_covers_is_shown(database):
    log = a_log(database, 3)
    log.append(entries(2, 3))
    assert log.reader.tile(0, 0, 3) == b"".join(entry_hashes(3))
    assert log.reader.tile(0, 0, 2) == b"".join(entry_hashes(2))
    assert log.reader.entries(0, 3) == b"\x00\x07entry-0\x00\x07entry-1\x00\x07entry-2"
    assert log.reader.entries(0, 1).hex() == "0007656e7472792d30"
    for call in (
        lambda: log.reader.tile(0, 0, 4), lambda: log.reader.tile(0, 0), lambda: log.reader.tile(1, 0, 1),
        lambda: log.reader.tile(0, 1, 1), lambda: log.reader.entries(0, 4), lambda: log.reader.proof(3),
        lambda: log.reader.proof(-1),
    ):  # fmt: skip
        with pytest.raises(NotFoundError):
            call()
    with pytest.raises(InvalidValueError):
        log.reader.consistency(3, 5)
    state = log.reader.state()
    assert (state.origin, state.vkey, state.size, state.published, state.cosigned) == (
        ORIGIN,
        LOG_KEY.vkey,
        5,
        3,
        0,
    )


def test_entries_survive_a_bundle():
    leaves = [b"", b"x", b"y" * 65_535]
    assert unbundle(bundle(leaves)) == leaves
    for raw in (b"\x00", b"\x00\x01", b"\x00\x02x", bundle(leaves)[:-1]):
        with pytest.raises(MalformedError):
            unbundle(raw)


def test_the_same_tile_grows_and_keeps_its_beginning(database):
    log = a_log(database, 300)
    early = log.reader.tile(0, 1, 44)
    log.append(entries(212, 300))
    log.publish()
    assert log.reader.tile(0, 1).startswith(early)
    assert log.reader.tile(0, 1, 44) == early
    assert log.reader.tile(1, 0, 1) == plain_root(entry_hashes(WIDTH))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    from node.schema import upgrade
    from registry.storage.engine import Database

    database = Database(f"sqlite:///{tmp_path_factory.mktemp('log') / 'hazlink.sqlite3'}")
    upgrade(database)
    yield a_log(database, 1100)
    database.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(index=st.integers(0, 1099), old=st.integers(1, 1100), size=st.integers(1, 1100))
def test_every_proof_out_of_the_tiles_holds(grown, index, old, size):
    proof = grown.reader.proof(index)
    assert TlogProof.parse(proof.encode()).verify(f"entry-{index}".encode(), LOG_KEY).checkpoint.size == 1100
    if old <= size:
        steps = grown.reader.consistency(old, size)
        hashes = entry_hashes(1100)
        assert verify_consistency(old, plain_root(hashes[:old]), size, plain_root(hashes[:size]), steps)


def test_many_proofs_are_made_under_one_checkpoint(grown):
    positions = list(range(0, 1100, 3))
    proven = grown.reader.proofs([*positions, 5_000])
    root, hashes = plain_root(entry_hashes(1100)), entry_hashes(1100)
    assert sorted(proven.proofs) == positions
    assert all(
        verify_inclusion(hashes[at], at, proven.size, proof, root) for at, proof in proven.proofs.items()
    )
    with pytest.raises(LimitError):
        grown.reader.proofs(list(range(MAX_PROOFS + 1)))


def test_an_envelope_is_proven_by_the_leaf_that_matters_most(database):
    log = a_log(database, [a_leaf(n, kind=kind).encode() for kind in ("out", "ack", "in") for n in range(4)])
    assert log.reader.prove(env_of(2)).index == 10
    assert log.reader.prove(env_of(2), ["ack"]).index == 6
    with pytest.raises(NotFoundError):
        log.reader.prove(env_of(2), ["key"])
    with pytest.raises(NotFoundError):
        log.reader.prove(env_of(9))


def test_a_witnessed_checkpoint_is_preferred_for_a_proof_when_it_covers_the_leaf(database):
    log = a_log(database, real_leaves(3))
    text = Checkpoint(ORIGIN, 3, log.reader.checkpoint().root).text()
    log.writer.add_cosignatures(3, [cosign(text, WITNESS, WITNESS_SIGNER, 9)], [WITNESS_KEY])
    log.append(real_leaves(2, 3))
    log.publish()
    first, last = log.reader.prove(env_of(0)), log.reader.prove(env_of(4))
    assert first.verify(real_leaves(1)[0], LOG_KEY, [WITNESS_KEY]).witnessed_at == 9
    assert last.verify(real_leaves(1, 4)[0], LOG_KEY, [WITNESS_KEY]).witnessed_at is None
    assert log.reader.proofs([0]).size == 5
    assert log.reader.state().cosigned == 3


def test_two_envelopes_whose_hashes_begin_alike_are_told_apart(database):
    from registry.trust.encoding import b64u

    one, two = (b64u(bytes(8) + bytes([n]) * 24) for n in (1, 2))
    log = a_log(database, [a_leaf(1, env=one).encode(), a_leaf(2, env=two).encode()])
    assert [position for position, _ in log.reader.find(two)] == [1]
    assert log.reader.find(b64u(bytes(32))) == []


def test_pruned_entries_are_gone_and_their_proofs_stay(database):
    from federation.log.pruning import prune

    log = a_log(database, real_leaves(600))
    assert prune(database, before=300, clock=log.clock).minimum == 256
    with pytest.raises(GoneError):
        log.reader.entries(0)
    assert unbundle(log.reader.entries(1)) == real_leaves(256, 256)
    log.reader.prove(env_of(3)).verify(real_leaves(1, 3)[0], LOG_KEY)
    assert log.reader.leaves(0, 2) == real_leaves(2), "the data stays"
    assert log.reader.tile(0, 0)
    for before in (255, 900):
        with pytest.raises(InvalidValueError):
            prune(database, before=before, clock=log.clock)


def test_old_checkpoints_are_thinned_and_the_witnessed_one_stays(sqlite_database):
    from federation.log.pruning import prune
    from federation.log.storage import LogUnit

    log = a_log(sqlite_database)
    for number in range(60):
        log.append(entries(1, number))
        log.publish()
        log.clock.at += 300
    text = Checkpoint(ORIGIN, 7, plain_root(entry_hashes(7))).text()
    log.writer.add_cosignatures(7, [cosign(text, WITNESS, WITNESS_SIGNER, 9)], [WITNESS_KEY])
    assert prune(sqlite_database, before=0, clock=log.clock).checkpoints == 0
    log.clock.at += 40 * 86_400
    gone = prune(sqlite_database, before=0, clock=log.clock).checkpoints
    with sqlite_database.read() as connection:
        kept = [row.size for row in LogUnit(connection).checkpoints(0, 100)]
    assert len(kept) == 60 - gone <= 8
    assert {7, 60} <= set(kept)


def test_a_log_that_was_never_opened_cannot_be_pruned(database):
    from federation.log.pruning import prune

    log = a_log(database)
    with pytest.raises(NotFoundError):
        prune(database, before=0, clock=log.clock)
