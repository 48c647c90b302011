import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exchange.envelope import Position
from federation.exchange.head import HEAD_SECONDS, HEAD_TYPE, advances, issue, lag, read, verify
from registry.errors import InvalidValueError, LimitError, MalformedError, UntrustedError
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.encoding import b64u
from tests.support.exchange_wire import PARK, WORKS
from tests.support.trust import ALGS, NOW, a_signer

SIGNER = a_signer("88.107.1001")
PREV = b64u(bytes(32))


def a_head(**other):
    content = {
        "iss": WORKS, "aud": PARK, "stream": "flow", "epoch": 1, "last_seq": 7, "checkpoint": "88.107.1001/log1\n9\n…",
        "at": NOW,
    }  # fmt: skip
    return read(issue(SIGNER, **{**content, **other}))


def test_a_head_survives_the_wire():
    made = a_head()
    verify(made, admit(SIGNER.jwk, ALGS))
    assert (made.iss, made.aud, made.stream, made.epoch, made.last_seq, made.at) == (
        WORKS,
        PARK,
        "flow",
        1,
        7,
        NOW,
    )
    assert made.checkpoint == "88.107.1001/log1\n9\n…"
    early = a_head(checkpoint=None, last_seq=0)
    assert early.checkpoint is None
    assert "checkpoint" not in early.parsed.claims()


def test_a_head_by_another_key_is_not_believed():
    with pytest.raises(UntrustedError):
        verify(a_head(), admit(a_signer("88.107").jwk, ALGS))


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 0},
        {"last_seq": -1},
        {"stream": "x"},
        {"at": -1},
        {"checkpoint": ""},
        {"checkpoint": "x" * 20_000},
    ],
)
def test_a_member_of_another_form_is_neither_signed_nor_read(change):
    with pytest.raises(InvalidValueError):
        a_head(**change)
    with pytest.raises(MalformedError):
        read(jws.sign(SIGNER, HEAD_TYPE, orjson.dumps(a_head().parsed.claims() | change)))


@given(st.integers(0, 1000), st.integers(1, 1001))
def test_the_lag_is_what_the_sender_used_and_the_receiver_waits_for(last_seq, next_seq):
    behind = lag(a_head(last_seq=last_seq), Position(1, next_seq, PREV))
    assert behind == len(range(next_seq, last_seq + 1))


def test_in_another_epoch_everything_of_the_new_one_is_behind():
    assert lag(a_head(epoch=3), Position(2, 900, PREV)) == 7
    assert lag(a_head(epoch=1), Position(2, 1, PREV)) == 0


def test_a_head_goes_on_comes_late_or_comes_again():
    first, later = a_head(), a_head(last_seq=9, at=NOW + 60)
    assert advances(None, first)
    assert advances(first, later)
    assert advances(first, a_head(at=NOW + 60))
    assert advances(later, a_head(epoch=2, last_seq=0, at=NOW + 120))
    assert not advances(later, first)
    assert not advances(first, first)


@pytest.mark.parametrize(
    "change", [{"last_seq": 6, "at": NOW + 60}, {"last_seq": 8}, {"last_seq": 6}, {"epoch": 2}]
)
def test_fault_14_a_head_that_goes_back_shows_a_store_that_was_restored(change):
    with pytest.raises(UntrustedError):
        advances(a_head(), a_head(**change))


def test_a_head_has_its_limits():
    assert HEAD_SECONDS == 60
    assert jws.parse(a_head().token, typ="hz-head+jws") == a_head().parsed
    assert len(a_head(checkpoint="x" * 16_384).checkpoint) == 16_384
    with pytest.raises(InvalidValueError):
        a_head(checkpoint="x" * 16_385)
    with pytest.raises(InvalidValueError):
        a_head(checkpoint="硫" * 16_384)
    with pytest.raises(MalformedError):
        read("x" * 32_768)
    with pytest.raises(LimitError):
        read("x" * 32_769)


@pytest.mark.parametrize(
    ("length", "code"), [(16, "federation.exchange.stream"), (17, "registry.trust.claim_type")]
)
def test_the_name_of_a_stream_has_its_length(length, code):
    with pytest.raises(InvalidValueError) as refused:
        a_head(stream="x" * length)
    assert refused.value.code == code
