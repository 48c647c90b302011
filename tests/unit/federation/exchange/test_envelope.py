import json
import math
from collections import UserList
from datetime import UTC, datetime
from enum import StrEnum

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exchange.envelope import (
    ENVELOPE_TYPE,
    JSON_MEDIA,
    Detached,
    Position,
    detach,
    encode_body,
    parse,
    read,
    seal,
    uuid7,
)
from federation.exchange.streams import MAX_BODY_BYTES, MAX_ENVELOPE_BYTES, MAX_INLINE_BODY_BYTES
from registry.errors import HazlinkError, InvalidValueError, LimitError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.chain import chain_sha256
from registry.trust.encoding import b64u, from_b64u
from tests.support.exchange_wire import PARK, TREE, WORKS, a_draft, entropy, lane_of, sealed
from tests.support.trust import ALGS, NOW, a_signer

SIGNER = a_signer("88.107.1001")
GOOD = sealed()

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def resealed(*without, signer=SIGNER, raw=None, **change):
    """The good envelope with other members: what `seal` would refuse to sign."""
    claims = GOOD.parsed.claims() | change
    for name in without:
        del claims[name]
    return jws.sign(signer, ENVELOPE_TYPE, raw if raw is not None else orjson.dumps(claims)).encode()


def taken(token):
    return read(parse(token))


def reason(act, *args, kind=HazlinkError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code


@given(
    body=PLAIN, seq=st.integers(1, 2**53 - 1), epoch=st.integers(1, 2**53 - 1), iat=st.integers(0, 2**53 - 1)
)
def test_what_is_sealed_is_read_back_unchanged(body, seq, epoch, iat):
    draft = a_draft(body=body, ref=GOOD.jti)
    made = seal(SIGNER, draft, Position(epoch, seq, GOOD.env), chain=GOOD.chain, jti=GOOD.jti, iat=iat)
    again = taken(made.token.encode())
    assert again == made
    assert (again.body, again.detached) == (body, None)
    assert (again.iss, again.aud, again.stream, again.ref) == (WORKS, PARK, "register", GOOD.jti)
    assert again.position == Position(epoch, seq, GOOD.env)
    jws.verify(again.parsed, admit(SIGNER.jwk, ALGS))


def test_the_header_holds_three_members_and_the_payload_those_of_the_specification():
    assert dict(GOOD.parsed.header) == {"alg": "Ed25519", "kid": SIGNER.kid, "typ": "hz-envelope+jws"}
    assert list(GOOD.parsed.claims()) == [
        "iss", "aud", "stream", "epoch", "seq", "prev", "jti", "iat", "type", "schema", "chain", "body",
    ]  # fmt: skip
    assert GOOD.parsed.claims()["iss"] == "0.NA/88.107.1001"


def test_envelopes_of_a_lane_name_the_one_before():
    many = lane_of(4)
    assert [one.seq for one in many] == [1, 2, 3, 4]
    assert [one.prev for one in many[1:]] == [one.env for one in many[:-1]]


def test_the_chain_comes_along_or_is_named():
    tokens = TREE.tokens_of("88.107.1001")
    whole = sealed(chain=tokens)
    assert whole.chain == tokens
    assert whole.chain_sha256 is None
    assert GOOD.chain_sha256 == chain_sha256(tokens)


def test_fault_09_an_es256_signature_has_a_second_form_and_the_name_stays():
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signer = a_signer("88.107.1001", "ES256")
    first = sealed(signer=signer)
    r, s = first.parsed.signature[:32], int.from_bytes(first.parsed.signature[32:], "big")
    twin = f"{first.parsed.signing_input.decode()}.{b64u(r + (order - s).to_bytes(32, 'big'))}"
    second = taken(twin.encode())
    jws.verify(second.parsed, admit(signer.jwk, ALGS))
    assert second.token != first.token
    assert second.env == first.env


@pytest.mark.parametrize("change", ["{}=", "{}==", " {}", "{}\n", "{}.", "{}A", "\N{BOM}{}"])
def test_fault_09_padding_and_what_stands_around_a_token_are_refused(change):
    token = change.format(GOOD.token).encode()
    assert reason(parse, token, kind=MalformedError).startswith("registry.trust.")


@given(st.data())
def test_fault_01_a_flipped_bit_is_unreadable_another_token_or_a_bad_signature(data):
    raw = bytearray(GOOD.token.encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        parsed = parse(bytes(raw))
    except (MalformedError, LimitError):
        return
    with pytest.raises(UntrustedError):
        jws.verify(parsed, admit(SIGNER.jwk, ALGS))


def forged(**header):
    head = {"alg": "Ed25519", "kid": SIGNER.kid, "typ": ENVELOPE_TYPE, **header}
    data = f"{b64u(orjson.dumps(head))}.{b64u(GOOD.parsed.payload)}"
    return f"{data}.{b64u(SIGNER.sign(data.encode()))}".encode()


@pytest.mark.parametrize(
    "header",
    [{"crit": ["x"]}, {"jwk": {}}, {"jku": "https://e.example"}, {"x5u": "https://e.example"}, {"x5c": []}, {"b64": False},
     {"typ": "hz-receipt+jws"}, {"typ": "JWT"}, {"kid": "short"}, {"kid": None}],
)  # fmt: skip
def test_fault_01_a_header_with_anything_else_is_refused(header):
    assert reason(parse, forged(**header), kind=MalformedError).startswith("registry.trust.jws_")


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256", "EdDSA", "RS256"])
def test_fault_01_the_header_does_not_choose_the_algorithm(alg):
    parsed = parse(forged(alg=alg))
    assert reason(jws.verify, parsed, admit(SIGNER.jwk, ALGS)) == "registry.trust.signature_alg"


def test_fault_01_a_payload_that_asks_to_be_understood_is_refused():
    assert reason(taken, resealed(crit=["iss"]), kind=MalformedError) == "federation.exchange.crit"


def test_a_member_nobody_asked_for_stays_with_the_bytes():
    token = resealed(later="than this version")
    made = taken(token)
    assert made.token.encode() == token
    assert made.parsed.claims()["later"] == "than this version"


POISON = {
    "duplicate": b'{"iss":"0.NA/88.107.1001","iss":"0.NA/88.107.1002"}',
    "nan": b'{"body":NaN}',
    "infinity": b'{"body":-Infinity}',
    "overflow": b'{"body":1e999}',
    "integer": b'{"body":9007199254740993}',
    "surrogate": b'{"body":"\\ud800"}',
    "deep": b'{"body":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "bytes": b"\xff\xfe",
    "array": b"[]",
    "empty": b"",
    "cut": b'{"iss":"0.NA/88',
    "bom": b'\xef\xbb\xbf{"a":1}',
}


@pytest.mark.parametrize("name", POISON)
def test_fault_17_poison_is_malformed_and_nothing_else(name):
    reason(taken, resealed(raw=POISON[name]), kind=MalformedError)


@given(st.binary(max_size=300))
def test_fault_17_whatever_bytes_are_signed_only_a_refusal_comes_out(raw):
    with pytest.raises(MalformedError):
        taken(resealed(raw=raw))


@given(st.binary(max_size=300))
def test_whatever_bytes_arrive_only_a_refusal_comes_out(raw):
    with pytest.raises((MalformedError, LimitError)):
        parse(raw)


@pytest.mark.parametrize("name", list(GOOD.parsed.claims()))
def test_every_member_must_be_there(name):
    reason(taken, resealed(name), kind=MalformedError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iss", "0.na/88.107.1001"), ("iss", "88.107.1001"), ("iss", "0.NA/0.NA"), ("iss", None), ("aud", "0.NA/88."),
        ("aud", ["0.NA/88"]), ("stream", "bulk"), ("stream", 1), ("epoch", 0), ("epoch", 1.0), ("epoch", True),
        ("seq", 0), ("seq", -1), ("seq", "1"), ("prev", ""), ("prev", "A" * 42), ("prev", "A" * 42 + "B"),
        ("jti", "0190a0a0-0000-4000-8000-000000000000"), ("jti", "0190A0A0-0000-7000-8000-000000000000"), ("iat", -1),
        ("iat", None), ("type", ""), ("type", "a b"), ("type", "x" * 129), ("schema", "é/1"), ("schema", 1), ("chain", []),
        ("chain", [""]), ("chain", [1]), ("chain", ["x"] * 9), ("chain", None), ("chain", "A"), ("ref", "x"), ("ref", None),
    ],
)  # fmt: skip
def test_a_member_of_another_form_is_refused(name, value):
    reason(taken, resealed(**{name: value}), kind=MalformedError)


def test_a_chain_and_its_statements_have_their_limits():
    assert taken(resealed(chain=["x"])).chain == ("x",)
    assert taken(resealed(chain=["x"] * 8)).chain == ("x",) * 8
    assert len(taken(resealed(chain=["x" * 65_536])).chain[0]) == 65_536
    reason(taken, resealed(chain=["x" * 65_537]), kind=MalformedError)
    assert sealed(chain=UserList(["x"])).chain == ("x",)


@pytest.mark.parametrize(
    ("length", "code"), [(16, "federation.exchange.stream"), (17, "registry.trust.claim_type")]
)
def test_the_name_of_a_stream_has_its_length(length, code):
    assert reason(taken, resealed(stream="x" * length), kind=MalformedError) == code


def test_a_body_as_large_as_its_place_stands_inside():
    text = "x" * (MAX_INLINE_BODY_BYTES - 2)
    assert sealed(body=text).body == text
    assert sealed(body=text + "x").detached is not None


def test_a_body_is_measured_as_it_came():
    """Numbers may be spelled shorter than we would; what came was small enough."""
    short = b"[" + b",".join([b"1E5"] * 14_000) + b"]"
    claims = orjson.dumps({n: v for n, v in GOOD.parsed.claims().items() if n != "body"})
    raw = claims[:-1] + b',"body":' + short + b"}"
    assert len(raw) < MAX_INLINE_BODY_BYTES < len(orjson.dumps([1e5] * 14_000))
    for payload in (raw, raw.ljust(MAX_INLINE_BODY_BYTES)):
        assert taken(resealed(raw=payload)).body == [1e5] * 14_000
    reason(taken, resealed(raw=raw.ljust(MAX_INLINE_BODY_BYTES + 1)), kind=MalformedError)


def test_a_body_larger_than_its_place_goes_beside():
    text = "硫" * (MAX_INLINE_BODY_BYTES // 3)
    inside = sealed(body=text[:-1])
    assert inside.detached is None
    beside = sealed(body=text)
    assert beside.body is None
    assert beside.detached == detach(encode_body(text), JSON_MEDIA)
    assert json.loads(beside.detached.data) == text


def test_bytes_go_beside_as_they_are():
    made = sealed(body=b"\x00\x01")
    assert made.detached == Detached(b64u(bytes.fromhex("b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2")), 2, "application/octet-stream")  # fmt: skip
    assert made.detached.data == b"\x00\x01"
    assert taken(made.token.encode()).detached.data is None
    kept = Detached(made.detached.sha256, 2, "application/gzip")
    assert sealed(body=kept).detached == kept


def test_a_body_too_large_to_go_beside_is_refused():
    assert detach(bytes(MAX_BODY_BYTES)).length == MAX_BODY_BYTES
    assert reason(detach, bytes(MAX_BODY_BYTES + 1), kind=LimitError) == "federation.exchange.body_large"


@pytest.mark.parametrize(
    "change",
    [
        {"body_sha256": GOOD.env, "body_len": 1, "body_type": "a/b"},
        {"body_len": 1},
        {"body_sha256": GOOD.env},
        {"body_type": "a/b"},
        {"body": "x" * (MAX_INLINE_BODY_BYTES - 1)},
    ],
)
def test_a_body_stands_in_one_place_and_within_its_size(change):
    assert reason(taken, resealed(**change), kind=MalformedError).startswith("federation.exchange.body_")


@pytest.mark.parametrize(
    "change",
    [
        {"body_sha256": "x"},
        {"body_len": -1},
        {"body_len": MAX_BODY_BYTES + 1},
        {"body_type": "Text/HTML; x=1"},
        {"body_type": None},
        {"body_type": "text"},
    ],
)
def test_a_body_beside_is_named_in_full(change):
    whole = {"body_sha256": GOOD.env, "body_len": 5, "body_type": "a/b"}
    assert taken(resealed("body", **whole)).detached == Detached(GOOD.env, 5, "a/b")
    reason(taken, resealed("body", **{**whole, **change}), kind=MalformedError)


class Word(StrEnum):
    A = "a"


@pytest.mark.parametrize(
    "body",
    [math.nan, [math.inf], {"a": (1, 2)}, {1: 2}, {"at": datetime(2026, 1, 1, tzinfo=UTC)}, {"x": {1}}, 2**53, Prefix("88"),
     "\ud800", {"x": b"y"}],
)  # fmt: skip
def test_what_a_receiver_would_not_read_as_given_is_not_signed(body):
    code = reason(sealed, body=body, kind=InvalidValueError)
    assert code in {"federation.exchange.body_changed", "federation.exchange.body_type"}


def test_a_word_of_an_enumeration_is_the_text_it_is():
    made = sealed(body=[Word.A.value])
    assert made.body == ["a"]


@pytest.mark.parametrize(
    "change", [{"stream": "bulk"}, {"type": "a b"}, {"schema": ""}, {"ref": "x"}, {"body": [[]] * 3 + [0]}]
)
def test_a_sender_reads_by_the_rules_of_the_receiver(change):
    deep: object = 0
    for _ in range(40):
        deep = [deep]
    draft = {**change, "body": deep} if "body" in change else change
    reason(sealed, kind=InvalidValueError, **draft)


def test_a_token_beyond_the_limit_is_neither_made_nor_read():
    assert reason(sealed, chain=["x" * 65_536] * 4, kind=LimitError) == "registry.trust.jws_size"
    for sign in (b"a", b"\xff"):
        assert reason(parse, sign * (MAX_ENVELOPE_BYTES + 1), kind=LimitError) == "registry.trust.jws_size"
    assert reason(parse, b"a" * MAX_ENVELOPE_BYTES, kind=MalformedError) == "registry.trust.jws_segments"


def test_a_signer_that_refuses_is_a_mistake_in_what_was_asked():
    class Refusing:
        alg, kid, jwk = SIGNER.alg, SIGNER.kid, SIGNER.jwk

        def sign(self, data):
            raise UntrustedError("registry.trust.signature", field="signature", kid=self.kid)

    assert reason(sealed, signer=Refusing(), kind=InvalidValueError) == "registry.trust.signature"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid_of_version_7_begins_with_its_time(now_ms, noise):
    text = uuid7(now_ms, lambda count: noise[:count])
    assert int(text.replace("-", "")[:12], 16) == now_ms
    assert text[14] == "7"
    assert text[19] in "89ab"
    assert sealed(iat=5).jti[14] == "7"
    assert uuid7(now_ms, entropy) < uuid7(now_ms + 1, entropy) or now_ms == 2**48 - 1


@pytest.mark.parametrize(
    ("noise", "text"),
    [
        (bytes(10), "0102030a-0b0c-7000-8000-000000000000"),
        (b"\xff" * 10, "0102030a-0b0c-7fff-bfff-ffffffffffff"),
        (bytes.fromhex("a1b2c3d4e5f60718293a"), "0102030a-0b0c-71b2-83d4-e5f60718293a"),
    ],
)
def test_a_uuid_of_version_7_keeps_every_bit_that_is_free(noise, text):
    assert uuid7(0x0102030A0B0C, lambda count: noise[:count]) == text
    assert uuid7((1 << 48) | 0x0102030A0B0C, lambda count: noise[:count]) == text


def test_the_name_is_the_digest_of_what_was_signed():
    assert from_b64u(GOOD.env) is not None
    assert GOOD.env == GOOD.parsed.sha256
    assert GOOD.iat == NOW
