"""The decision of a witness, without I/O: every row of the rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.log.checkpoint import Checkpoint, sign_checkpoint
from federation.log.merkle import EMPTY_ROOT, consistency, root
from federation.log.proof import TlogProof
from federation.log.witness_request import (
    MAX_REQUEST_BYTES,
    WitnessRequest,
    decide,
    make_request,
    parse_request,
)
from registry.errors import LimitError, MalformedError
from tests.support.log import (
    LOG_KEY,
    LOG_SIGNER,
    ORIGIN,
    WITNESS_KEY,
    ListHashes,
    a_log_signer,
    entry_hashes,
)

HASHES = entry_hashes(9)
NONE = (0, EMPTY_ROOT)


def at(size):
    return size, root(HASHES[:size])


def ask(old, size, *, proof=None, top=None, signer=LOG_SIGNER, origin=ORIGIN):
    top = root(HASHES[:size]) if top is None else top
    if proof is None:
        proof = consistency(ListHashes(HASHES), old, size) if 0 < old <= size else ()
    return WitnessRequest(old, tuple(proof), sign_checkpoint(Checkpoint(origin, size, top), signer).encode())


@pytest.mark.parametrize(
    ("status", "known", "request_"),
    [
        (200, NONE, ask(0, 5)),
        (200, NONE, ask(0, 0)),
        (200, at(3), ask(3, 5)),
        (200, at(4), ask(4, 8)),
        (200, at(5), ask(5, 5)),
        (403, at(3), ask(3, 5, signer=a_log_signer("other"))),
        (403, at(3), ask(3, 5, origin="other.example/log1")),
        (400, at(3), ask(6, 5)),
        (400, at(6), ask(6, 5)),
        (409, at(3), ask(2, 5)),
        (409, at(3), ask(0, 5)),
        (409, NONE, ask(3, 5)),
        (422, at(3), ask(3, 5, proof=())),
        (422, at(3), ask(3, 5, proof=[*consistency(ListHashes(HASHES), 3, 5), HASHES[0]])),
        (422, at(3), ask(3, 5, top=bytes(32))),
        (422, NONE, ask(0, 5, proof=[HASHES[0]])),
        (422, at(5), ask(5, 5, top=bytes(32), proof=())),
        (422, at(5), ask(5, 5, proof=[HASHES[0]])),
        (422, NONE, ask(0, 0, top=bytes(32))),
    ],
)
def test_a_request_is_answered_by_the_rules(status, known, request_):
    assert decide([LOG_KEY], known, request_).status == status


def test_only_signatures_of_the_log_are_kept_of_what_was_sent():
    asked = ask(0, 5)
    strange = asked.note + "— stranger AAAAAAAAAAAAAAAAAAAAAAAA\n".encode()
    decision = decide([LOG_KEY], NONE, WitnessRequest(0, (), strange))
    assert decision.signed.note.encode() == asked.note


@given(st.integers(0, (1 << 53) - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_a_request_comes_back_as_it_was(old, proof):
    made = WitnessRequest(old, tuple(proof), ask(0, 5).note)
    assert parse_request(make_request(made)) == made


def test_the_body_is_as_the_specification_has_it():
    body = make_request(ask(3, 5)).split(b"\n")
    assert body[0] == b"old 3"
    assert len(body[1]) == 44
    assert body[5:8] == [b"", ORIGIN.encode(), b"5"]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\n\n", b"old 1", b"old 1\n", b"old x\n\nnote", b"old -1\n\nnote", b"old 01\n\nnote", b"new 1\n\nnote",
        b"old 1\nAAAA\n\nnote", b"old 1\n=\n\nnote", b"old 1\n\xff\n\nnote",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(raw):
    with pytest.raises(MalformedError):
        parse_request(raw)


def test_a_request_has_its_limits():
    with pytest.raises(LimitError):
        parse_request(b"x" * (MAX_REQUEST_BYTES + 1))
    with pytest.raises(LimitError):
        parse_request(make_request(WitnessRequest(1, (bytes(32),) * 64, b"note")))
    with pytest.raises(MalformedError):
        decide([LOG_KEY], NONE, WitnessRequest(0, (), b"no note"))


def test_a_proof_file_is_no_request_and_a_witness_is_no_log():
    with pytest.raises(MalformedError):
        parse_request(TlogProof(1, (), ask(0, 5).note).encode())
    assert decide([WITNESS_KEY], NONE, ask(0, 5)).status == 403
