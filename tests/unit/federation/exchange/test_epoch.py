import hashlib

import orjson
import pytest

from federation.exchange.envelope import Position
from federation.exchange.epoch import (
    EPOCH_TYPE,
    REASONS,
    countersign,
    first_position,
    issue,
    opening,
    read,
    read_countersignature,
    require_pair,
)
from registry.errors import InvalidValueError, LimitError, MalformedError, UntrustedError
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.encoding import b64u
from tests.support.exchange_wire import PARK, TOP, WORKS
from tests.support.trust import ALGS, NOW, a_signer

SIGNER, SUPERIOR = a_signer("88.107.1001"), a_signer("88.107")


def announced(**other):
    content = {
        "iss": WORKS, "aud": PARK, "stream": "flow", "old_epoch": 1, "last_seq_known": 41, "epoch": 2,
        "reason": "store_lost", "iat": NOW,
    }  # fmt: skip
    return issue(SIGNER, **{**content, **other})


def test_the_opening_is_the_digest_of_its_lines():
    lines = b"hazlink/epoch/v1\n0.NA/88.107.1001\n0.NA/88.107\nflow\n1\n0\n0\n"
    assert first_position(WORKS, PARK, "flow") == Position(1, 1, b64u(hashlib.sha256(lines).digest()))


def test_openings_differ_in_whatever_they_say():
    all_of_them = {
        opening(WORKS, PARK, "flow", epoch=1),
        opening(PARK, WORKS, "flow", epoch=1),
        opening(WORKS, PARK, "alarm", epoch=1),
        opening(WORKS, PARK, "flow", epoch=2, old_epoch=1),
        opening(WORKS, PARK, "flow", epoch=2, old_epoch=1, last_seq_known=1),
    }
    assert len(all_of_them) == 5


def test_an_announcement_and_its_countersignature_make_a_pair():
    made = read(announced())
    jws.verify(made.parsed, admit(SIGNER.jwk, ALGS))
    assert (made.iss, made.aud, made.stream, made.iat, made.reason) == (
        WORKS,
        PARK,
        "flow",
        NOW,
        "store_lost",
    )
    assert made.start == Position(2, 1, opening(WORKS, PARK, "flow", epoch=2, old_epoch=1, last_seq_known=41))
    consent = read_countersignature(countersign(SUPERIOR, made, iss=PARK, iat=NOW + 1))
    jws.verify(consent.parsed, admit(SUPERIOR.jwk, ALGS))
    require_pair(made, consent, PARK)
    assert consent.iat == NOW + 1


def test_a_countersignature_serves_one_statement_and_comes_from_the_superior():
    made, other = read(announced()), read(announced(last_seq_known=40))
    consent = read_countersignature(countersign(SUPERIOR, made, iss=PARK, iat=NOW))
    with pytest.raises(UntrustedError):
        require_pair(other, consent, PARK)
    with pytest.raises(UntrustedError):
        require_pair(made, consent, TOP)


def test_neither_passes_for_the_other():
    made = read(announced())
    with pytest.raises(MalformedError):
        read(countersign(SUPERIOR, made, iss=PARK, iat=NOW))
    with pytest.raises(MalformedError):
        read_countersignature(made.token)


@pytest.mark.parametrize(
    "change",
    [{"epoch": 1}, {"epoch": 0}, {"old_epoch": 2}, {"old_epoch": 0}, {"last_seq_known": -1}, {"stream": "bulk"},
     {"reason": "why not"}, {"iat": -1}],
)  # fmt: skip
def test_an_epoch_opens_above_the_old_one_and_for_a_known_reason(change):
    with pytest.raises(InvalidValueError):
        announced(**change)
    claims = read(announced()).parsed.claims() | change
    with pytest.raises(MalformedError):
        read(jws.sign(SIGNER, EPOCH_TYPE, orjson.dumps(claims)))


def test_an_announcement_has_its_limits():
    assert REASONS == ("store_lost", "handover")
    assert jws.parse(announced(reason="handover"), typ="hz-epoch+jws")
    with pytest.raises(MalformedError):
        read("x" * 4096)
    with pytest.raises(LimitError):
        read("x" * 4097)
    with pytest.raises(InvalidValueError) as refused:
        announced(reason="x" * 5000)
    assert refused.value.code == "registry.trust.jws_size"


@pytest.mark.parametrize(("name", "most", "code"), [("stream", 16, "stream"), ("reason", 64, "epoch_reason")])
def test_a_word_has_its_length(name, most, code):
    for more, expected in ((0, f"federation.exchange.{code}"), (1, "registry.trust.claim_type")):
        with pytest.raises(InvalidValueError) as refused:
            announced(**{name: "x" * (most + more)})
        assert refused.value.code == expected
