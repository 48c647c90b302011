"""A witness on real databases: two logs, honest and not."""

import threading

import pytest

from federation.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from federation.log.merkle import consistency, root
from federation.log.note import key_of, parse_signatures
from federation.log.storage import LogUnit, WitnessUnit
from federation.log.watched import KnownLogs, log_digest
from federation.log.witness import MAX_ENTRIES, SIZE_TYPE, Witness
from federation.log.witness_request import WitnessRequest, make_request
from registry.errors import ConflictError, ForbiddenError, LimitError, NotFoundError, UnavailableError
from registry.identifier import Prefix
from tests.support.log import (
    WITNESS,
    WITNESS_KEY,
    WITNESS_SIGNER,
    ListHashes,
    SteppingClock,
    a_log_signer,
    entries,
    entry_hashes,
)

OWNER = Prefix.parse("88.107.1001")
OTHER = Prefix.parse("88.107.1002")
ORIGIN = "88.107.1001/log1"
SIGNER = a_log_signer("log of 88.107.1001")
KEY = key_of(ORIGIN, SIGNER)
DIGEST = log_digest(ORIGIN)
HASHES = entry_hashes(600)


def a_witness(database, *, mirror=False, alarms=None):
    logs = KnownLogs()
    logs.replace([(OWNER, KEY.vkey)], mirror=[OWNER] if mirror else [])
    return Witness(
        database=database, signer=WITNESS_SIGNER, name=WITNESS, logs=logs, clock=SteppingClock(),
        alarm=None if alarms is None else alarms.append,
    )  # fmt: skip


def a_request(old, size, *, hashes=HASHES, proof=None):
    if proof is None:
        proof = consistency(ListHashes(hashes), old, size) if 0 < old <= size else ()
    note = sign_checkpoint(Checkpoint(ORIGIN, size, root(hashes[:size])), SIGNER)
    return make_request(WitnessRequest(old, tuple(proof), note.encode()))


def test_a_growing_log_is_cosigned_step_by_step(database):
    witness = a_witness(database)
    old = 0
    for size in (1, 5, 5, 300, 600):
        answer = witness.add_checkpoint(a_request(old, size))
        assert answer.status == 200
        (line,) = parse_signatures(answer.body.decode())
        note = sign_checkpoint(Checkpoint(ORIGIN, size, root(HASHES[:size])), SIGNER).plus([line])
        assert open_checkpoint(note.encode(), KEY, [WITNESS_KEY]).witnessed_at == 1_790_000_000
        assert witness.checkpoint(DIGEST) == note.encode()
        old = size


def test_the_witness_says_how_far_it_is(database):
    witness = a_witness(database)
    witness.add_checkpoint(a_request(0, 5))
    answer = witness.add_checkpoint(a_request(3, 9))
    assert (answer.status, answer.body, answer.media_type) == (409, b"5\n", SIZE_TYPE)
    assert witness.add_checkpoint(a_request(6, 5)).status == 400


def test_strangers_and_garbage_are_turned_away(database):
    witness = a_witness(database)
    stranger = sign_checkpoint(Checkpoint("88.9/log1", 5, root(HASHES[:5])), SIGNER)
    assert witness.add_checkpoint(make_request(WitnessRequest(0, (), stranger.encode()))).status == 404
    unsigned = sign_checkpoint(Checkpoint(ORIGIN, 5, root(HASHES[:5])), a_log_signer("thief"))
    assert witness.add_checkpoint(make_request(WitnessRequest(0, (), unsigned.encode()))).status == 403
    for raw in (b"", b"old 0\n\n", b"old 0\n\nnote\n", b"x" * 100_000):
        assert witness.add_checkpoint(raw).status == 400
    with pytest.raises(NotFoundError):
        witness.checkpoint(DIGEST)
    with pytest.raises(NotFoundError):
        witness.checkpoint("0" * 64)


def test_fault_20_a_fork_shown_to_the_witness_is_refused_and_told(database):
    alarms = []
    witness = a_witness(database, alarms=alarms)
    witness.add_checkpoint(a_request(0, 5))
    forged = [*HASHES[:4], HASHES[9], *HASHES[5:]]
    assert witness.add_checkpoint(a_request(5, 5, hashes=forged, proof=())).status == 422
    (fork,) = alarms
    first, second = (open_checkpoint(raw, KEY).checkpoint for raw in (fork.first, fork.second))
    assert (first.size, second.size) == (5, 5)
    assert first.root != second.root
    # shown again, it is no news
    witness.add_checkpoint(a_request(5, 5, hashes=forged, proof=()))
    assert len(alarms) == 1
    # and what it has cosigned stays
    assert open_checkpoint(witness.checkpoint(DIGEST), KEY).checkpoint.root == root(HASHES[:5])
    assert witness.add_checkpoint(a_request(5, 9)).status == 200


def test_fault_20_a_fork_is_found_whatever_size_is_claimed(database):
    alarms = []
    witness = a_witness(database, alarms=alarms)
    witness.add_checkpoint(a_request(0, 5))
    forged = [HASHES[9], *HASHES[1:]]
    assert witness.add_checkpoint(a_request(3, 5, hashes=forged)).status == 409
    assert len(alarms) == 1
    assert witness.add_checkpoint(a_request(5, 9, hashes=forged)).status == 422
    assert len(alarms) == 1, "a stranger's bad proof is no evidence"
    assert witness.add_checkpoint(a_request(5, 9, hashes=forged), [OTHER]).status == 422
    assert len(alarms) == 1
    assert witness.add_checkpoint(a_request(5, 9, hashes=forged), [OWNER]).status == 422
    assert len(alarms) == 2, "what the owner itself brings is"


def test_one_history_whoever_comes_first(database):
    witness = a_witness(database)
    witness.add_checkpoint(a_request(0, 5))
    forged = [*HASHES[:5], *HASHES[100:200]]
    answers = []

    def push(hashes):
        answers.append(witness.add_checkpoint(a_request(5, 9, hashes=hashes)).status)

    threads = [threading.Thread(target=push, args=(hashes,)) for hashes in (HASHES, forged) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # the first is cosigned; every other comes too late, whichever history it tells
    assert sorted(answers) == [200, *[409] * 7]


def test_a_first_push_by_many_at_once_makes_one_row(database):
    witness = a_witness(database)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(witness.add_checkpoint(a_request(0, 5)).status))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, *[409] * 5]
    with database.read() as connection:
        assert len(WitnessUnit(connection).every()) == 1


def test_nothing_is_cosigned_without_the_key(database):
    witness = a_witness(database)

    class Locked:
        alg, jwk, kid = WITNESS_SIGNER.alg, WITNESS_SIGNER.jwk, WITNESS_SIGNER.kid

        def sign(self, _data):
            raise UnavailableError("registry.trust.key_missing", field="kid", value="x")

    witness._signer = Locked()
    with pytest.raises(UnavailableError):
        witness.add_checkpoint(a_request(0, 5))
    witness._signer = WITNESS_SIGNER
    assert witness.add_checkpoint(a_request(0, 5)).status == 200, "and nothing was remembered of it"


def test_a_mirrored_log_sends_its_entries_first(database):
    witness = a_witness(database, mirror=True)
    answer = witness.add_checkpoint(a_request(0, 300))
    assert (answer.status, answer.body, answer.media_type) == (424, b"0\n", SIZE_TYPE)
    assert witness.add_entries(DIGEST, 0, entries(200), [OWNER]) == 200
    assert witness.add_checkpoint(a_request(0, 300)).body == b"200\n"
    assert witness.add_entries(DIGEST, 150, entries(200, 150), [OWNER]) == 350
    assert witness.add_checkpoint(a_request(0, 300)).status == 200
    # what no checkpoint covers is not given back
    assert witness.entries(DIGEST, 0, 1000, [OWNER]) == (300, entries(300))
    assert witness.entries(DIGEST, 298, 10, [OWNER]) == (300, entries(2, 298))
    assert witness.entries(DIGEST, 300, 10, [OWNER]) == (300, [])
    assert witness.add_entries(DIGEST, 350, entries(250, 350), [OWNER]) == 600
    assert witness.add_checkpoint(a_request(300, 600)).status == 200
    assert witness.entries(DIGEST, 590, 100, [OWNER]) == (600, entries(10, 590))


def test_entries_that_do_not_fit_the_signed_root_are_dropped(database):
    witness = a_witness(database, mirror=True)
    witness.add_entries(DIGEST, 0, entries(5), [OWNER])
    witness.add_checkpoint(a_request(0, 5))
    witness.add_entries(DIGEST, 5, entries(4, 0, "other"), [OWNER])
    assert witness.add_checkpoint(a_request(5, 9)).status == 422
    assert witness.add_checkpoint(a_request(5, 9)).body == b"5\n"
    witness.add_entries(DIGEST, 5, entries(4, 5), [OWNER])
    assert witness.add_checkpoint(a_request(5, 9)).status == 200


def test_only_the_owner_sends_and_gets_entries_and_not_without_end(database):
    witness = a_witness(database, mirror=True)
    for call in (
        lambda peers: witness.add_entries(DIGEST, 0, entries(1), peers),
        lambda peers: witness.entries(DIGEST, 0, 10, peers),
    ):
        for peers in ([], [OTHER]):
            with pytest.raises(ForbiddenError):
                call(peers)
    assert witness.entries(DIGEST, 0, 10, [OWNER]) == (0, [])
    with pytest.raises(NotFoundError):
        witness.add_entries("0" * 64, 0, entries(1), [OWNER])
    with pytest.raises(NotFoundError):
        a_witness(database).add_entries(DIGEST, 0, entries(1), [OWNER])
    with pytest.raises(ConflictError) as gap:
        witness.add_entries(DIGEST, 7, entries(1), [OWNER])
    assert gap.value.params["have"] == 0
    with pytest.raises(LimitError):
        witness.add_entries(DIGEST, 0, [b"x"] * (MAX_ENTRIES + 1), [OWNER])


def test_a_mirror_is_no_leaf_of_this_node(database):
    witness = a_witness(database, mirror=True)
    witness.add_entries(DIGEST, 0, entries(3), [OWNER])
    with database.read() as connection:
        assert LogUnit(connection).size() == 0
