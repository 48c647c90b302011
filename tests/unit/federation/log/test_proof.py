from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.log.checkpoint import Checkpoint, sign_checkpoint
from federation.log.merkle import inclusion, root
from federation.log.note import cosign
from federation.log.proof import MAX_PROOF_BYTES, TlogProof, read_hashes
from registry.errors import HazlinkError, LimitError, MalformedError, UntrustedError
from tests.support.log import (
    LOG_KEY,
    LOG_SIGNER,
    ORIGIN,
    WITNESS,
    WITNESS_KEY,
    WITNESS_SIGNER,
    ListHashes,
    entry_hashes,
)

#: The worked example of the specification.
EXAMPLE = """c2sp.org/tlog-proof@v1
index 2
J0ebarMh0u5HdFL2i6UndI6GPK/o+9HfK/idFXDRtpc=
LyelCCwdQq+kiKw1Cp/EOQwIT1T3Hs3/hZ6Y24QptHk=
GUu1otW9EOXRqm/V1CmAs1bK8dpiPNmYfEv6L4F3Htc=

node.example/log1
5
GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=

— node.example/log1 GTOnZ6LV45n4HrI8DkdXDlVt4py0WOmSedrc4R/If9tdaA4VzUXRWAkqGFFwDGeCfJmV+OFWfAJq2ksGn59CTUM1TgI=
— top.example/w1 6NfBIwAAAABqsTuA/0hnkBEXsKAE4YyzwA+m5vMeZFizGTHF9EkKURBeud2z644d7Skx6fC1N41rCjY7+Ch+vXSS3pW0m1uxr1WlBA==
""".encode()


def test_fault_21_the_worked_example_comes_out_byte_for_byte():
    hashes = entry_hashes(5)
    made = Checkpoint(ORIGIN, 5, root(hashes))
    note = sign_checkpoint(made, LOG_SIGNER).plus(
        [cosign(made.text(), WITNESS, WITNESS_SIGNER, 1_790_000_000)]
    )
    proof = TlogProof(2, tuple(inclusion(ListHashes(hashes), 2, 5)), note.encode())
    assert proof.encode() == EXAMPLE
    assert TlogProof.parse(EXAMPLE) == proof
    signed = proof.verify(b"entry-2", LOG_KEY, [WITNESS_KEY])
    assert signed.checkpoint == made
    assert signed.witnessed_at == 1_790_000_000


def test_another_leaf_or_log_is_not_proven():
    proof = TlogProof.parse(EXAMPLE)
    with pytest.raises(UntrustedError):
        proof.verify(b"entry-3", LOG_KEY)
    with pytest.raises(UntrustedError):
        proof.verify(b"entry-2", WITNESS_KEY)


@given(st.integers(0, len(EXAMPLE) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place, flip):
    raw = bytearray(EXAMPLE)
    raw[place] ^= flip
    try:
        signed = TlogProof.parse(bytes(raw)).verify(b"entry-2", LOG_KEY, [WITNESS_KEY])
    except HazlinkError:
        return
    # a line with another name or key id is a stranger's: it is ignored, and vouches for nothing
    assert place >= EXAMPLE.index("— top".encode())
    assert signed.witnessed_at is None


@given(st.integers(0, (1 << 53) - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63),
       st.none() | st.binary(max_size=40))  # fmt: skip
def test_a_proof_comes_back_as_it_was(index, hashes, extra):
    made = TlogProof(index, tuple(hashes), b"any note\n\n- x\n", extra)
    assert TlogProof.parse(made.encode()) == made


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\n\n", EXAMPLE.replace(b"@v1", b"@v2"), EXAMPLE.replace(b"index 2", b"index 02"),
        EXAMPLE.replace(b"index 2", b"index"), EXAMPLE.replace(b"index 2\n", b""), EXAMPLE.replace(b"index 2", b"\xff"),
        EXAMPLE.replace(b"index", b"extra =\nindex"), EXAMPLE.replace(b"LyelCC", b"LyelC"),
        b"c2sp.org/tlog-proof@v1\n\nnote", EXAMPLE.replace(b"index 2", b"2"),
        EXAMPLE.replace(b"LyelCCwdQq+kiKw1Cp/EOQwIT1T3Hs3/hZ6Y24QptHk=", b64encode(bytes(33))),
        EXAMPLE.replace(b"LyelCCwdQq+kiKw1Cp/EOQwIT1T3Hs3/hZ6Y24QptHk=", b"AAAA"), EXAMPLE.partition(b"\n\n")[0],
    ],
)  # fmt: skip
def test_what_is_no_proof_is_refused(raw):
    with pytest.raises(MalformedError):
        TlogProof.parse(raw)


def test_a_proof_has_its_limits():
    line = EXAMPLE.split(b"\n")[2].decode()
    assert len(read_hashes([line] * 63)) == 63
    with pytest.raises(LimitError):
        read_hashes([line] * 64)
    assert MAX_PROOF_BYTES == 65_536 + 8_192
    longest = EXAMPLE.ljust(MAX_PROOF_BYTES, b"x")
    assert TlogProof.parse(longest).index == 2
    with pytest.raises(LimitError):
        TlogProof.parse(longest + b"x")
