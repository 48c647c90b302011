import hashlib
import json

import joserfc.jws
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from registry.errors import HazlinkError, LimitError, MalformedError, UntrustedError
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.encoding import b64u
from tests.support.trust import ALGS, a_signer

TYPE = "hz-test+jws"
SIGNER = a_signer()
KEY = admit(SIGNER.jwk, ALGS)


def forged(header, payload=b"{}", signer=SIGNER):
    head = header if isinstance(header, bytes) else orjson.dumps(header)
    data = f"{b64u(head)}.{b64u(payload)}"
    return f"{data}.{b64u(signer.sign(data.encode()))}"


def header(**change):
    return {"alg": "Ed25519", "kid": SIGNER.kid, "typ": TYPE, **change}


def reason(act, *args, kind=HazlinkError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


@pytest.mark.parametrize("alg", ALGS)
@given(payload=st.binary(max_size=200))
def test_what_is_signed_is_read_and_verified(alg, payload):
    signer = a_signer("x", alg)
    parsed = jws.parse(jws.sign(signer, TYPE, payload), typ=TYPE)
    jws.verify(parsed, admit(signer.jwk, ALGS))
    assert parsed.payload == payload
    assert dict(parsed.header) == {"alg": alg, "kid": signer.kid, "typ": TYPE}


@pytest.mark.parametrize(("alg", "kind"), [("Ed25519", OKPKey), ("ES256", ECKey)])
def test_another_library_verifies_our_tokens_and_we_verify_its(alg, kind):
    signer = a_signer("x", alg)
    key = kind.import_key(signer.jwk)
    token = jws.sign(signer, TYPE, b'{"a":1}')
    assert joserfc.jws.deserialize_compact(token, key, algorithms=[alg]).payload == b'{"a":1}'
    general = json.loads(jws.sign_general([signer], TYPE, b'{"a":1}'))
    assert joserfc.jws.deserialize_json(general, key, algorithms=[alg]).payload == b'{"a":1}'
    private = kind.generate_key("Ed25519" if alg == "Ed25519" else "P-256")
    theirs = joserfc.jws.serialize_compact(
        {"alg": alg, "kid": private.thumbprint(), "typ": TYPE}, b"{}", private, algorithms=[alg]
    )
    jws.verify(
        jws.parse(theirs, typ=TYPE),
        admit(private.as_dict(private=False, kid=None, alg=alg) | {"kid": private.thumbprint()}, ALGS),
    )


def test_the_stored_signature_rebuilds_the_token_byte_for_byte():
    token = jws.sign(SIGNER, TYPE, b"payload")
    parsed = jws.parse(token, typ=TYPE)
    assert jws.assemble(SIGNER.alg, SIGNER.kid, TYPE, b"payload", parsed.signature) == token


@pytest.mark.parametrize("member", ["crit", "jwk", "jku", "x5u", "x5c", "b64", "cty", "x5t#S256"])
def test_any_further_header_member_is_refused(member):
    assert reason(jws.parse, forged(header(**{member: ["x"]})), typ=TYPE) == "jws_header_member"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (forged({"alg": "Ed25519", "kid": SIGNER.kid}), "jws_header_missing"),
        (forged(header(alg=1)), "jws_header_missing"),
        (forged(header(typ="hz-other+jws")), "jws_typ"),
        (forged(header(typ=TYPE.upper())), "jws_typ"),
        (forged(header(kid="short")), "jws_kid"),
        (forged(header(kid=b64u(bytes(31)))), "jws_kid"),
        (forged(header(kid=b64u(bytes(33)))), "jws_kid"),
        (forged(header(typ=[[["four"]]])), "jws_header_missing"),
        (forged(header(typ=[[[["five"]]]])), "json_depth"),
        (f"{'A' * 513}.e30.{b64u(bytes(64))}", "jws_size"),
        (f"{jws.sign(SIGNER, TYPE, b'{}')}AA", "jws_signature_length"),
        (forged([1]), "jws_header"),
        (forged(b"nonsense"), "json_syntax"),
        (forged(b'{"alg":"none","alg":"Ed25519"}'), "json_duplicate"),
        (forged(b" " * 600 + orjson.dumps(header())), "jws_size"),
        ("a.b", "jws_segments"),
        ("a.b.c.d", "jws_segments"),
        ("", "jws_segments"),
    ],
)
def test_a_token_that_is_not_exactly_right_is_refused(made, expected):
    assert reason(jws.parse, made, typ=TYPE) == expected


def test_every_segment_has_one_spelling():
    head, payload, signature = jws.sign(SIGNER, TYPE, b"1234").split(".")
    for token in (
        f"{head}=.{payload}.{signature}",
        f"{head}.{payload}==.{signature}",
        f"{head}.{payload}.{signature}==",
        f"{head}.{payload}.{signature} ",
        f"{head}.{payload}\n.{signature}",
        f"{head}.{payload[:-1]}B.{signature}",
        f"{head}.{payload}+.{signature}",
        f"{head}.{payload}é.{signature}",
    ):
        assert reason(jws.parse, token, typ=TYPE, kind=MalformedError) == "jws_alphabet"
    assert reason(jws.parse, f"{head}.{payload}.{signature[:-2]}", typ=TYPE) == "jws_signature_length"


def test_a_token_that_is_too_long_is_refused_before_it_is_read():
    assert reason(jws.parse, "!" * 101, typ=TYPE, max_bytes=100, kind=LimitError) == "jws_size"


def test_what_is_just_within_the_limits_is_read():
    assert jws.MAX_TOKEN_BYTES == 262_144
    token, general = jws.sign(SIGNER, TYPE, b"{}"), jws.sign_general([SIGNER], TYPE, b"{}")
    assert jws.parse(token, typ=TYPE, max_bytes=len(token)).payload == b"{}"
    assert len(jws.parse_general(general, typ=TYPE, max_bytes=len(general))) == 1
    assert len(jws.parse_general(jws.sign_general([SIGNER] * 64, TYPE, b"{}"), typ=TYPE)) == 64
    long = jws.sign_general([SIGNER], TYPE, b"x" * jws.MAX_TOKEN_BYTES)
    assert len(jws.parse_general(long, typ=TYPE, max_bytes=1_000_000)[0].payload) == jws.MAX_TOKEN_BYTES
    padded = orjson.dumps(header()).ljust(384)
    assert len(b64u(padded)) == 512
    assert jws.parse(forged(padded), typ=TYPE).kid == SIGNER.kid


def test_a_refused_segment_is_named():
    segments = jws.sign(SIGNER, TYPE, b"{}").split(".")
    for number, name in enumerate(("header", "payload", "signature")):
        wrong = ".".join([*segments[:number], segments[number] + "=", *segments[number + 1 :]])
        with pytest.raises(MalformedError) as refused:
            jws.parse(wrong, typ=TYPE)
        assert refused.value.field == name


def test_the_key_decides_and_the_header_must_agree():
    token = jws.sign(SIGNER, TYPE, b"{}")
    other = admit(a_signer("other").jwk, ALGS)
    assert reason(jws.verify, jws.parse(token, typ=TYPE), other, kind=UntrustedError) == "signature_kid"
    for alg in ("none", "HS256", "EdDSA", "ES256"):
        parsed = jws.parse(forged(header(alg=alg)), typ=TYPE)
        assert reason(jws.verify, parsed, KEY, kind=UntrustedError) == "signature_alg"
    theirs = jws.parse(forged(header(), signer=a_signer("other")), typ=TYPE)
    assert reason(jws.verify, theirs, KEY, kind=UntrustedError) == "signature"


@given(st.data())
def test_no_flipped_bit_survives(data):
    token = jws.sign(SIGNER, TYPE, b'{"claim":"value"}')
    at = data.draw(st.integers(0, len(token) - 1))
    replacement = data.draw(st.characters(max_codepoint=127).filter(lambda c: c != token[at]))
    with pytest.raises((MalformedError, UntrustedError)):
        jws.verify(jws.parse(token[:at] + replacement + token[at + 1 :], typ=TYPE), KEY)


@given(st.text(max_size=300))
def test_any_text_is_a_token_or_refused(text):
    for act in (jws.parse, jws.parse_general):
        with pytest.raises((MalformedError, LimitError)):
            act(text, typ=TYPE)


def test_a_payload_that_is_no_object_has_no_claims():
    assert jws.parse(jws.sign(SIGNER, TYPE, b'{"a":1}'), typ=TYPE).claims() == {"a": 1}
    assert reason(jws.parse(jws.sign(SIGNER, TYPE, b"[1]"), typ=TYPE).claims) == "jws_payload"


def test_a_token_is_named_by_what_was_signed_not_by_its_signature():
    signer = a_signer("x", "ES256")
    one, other = (jws.parse(jws.sign(signer, TYPE, b"{}"), typ=TYPE) for _ in range(2))
    assert one.signature != other.signature
    assert one.sha256 == other.sha256 == b64u(hashlib.sha256(one.signing_input).digest())


def test_the_general_form_is_one_payload_under_several_signatures():
    signers = [a_signer("a"), a_signer("b", "ES256")]
    parsed = jws.parse_general(jws.sign_general(signers, TYPE, b"{}"), typ=TYPE)
    assert [one.kid for one in parsed] == [signer.kid for signer in signers]
    for one, signer in zip(parsed, signers, strict=True):
        jws.verify(one, admit(signer.jwk, ALGS))


def test_the_general_form_is_read_as_strictly():
    right = orjson.loads(jws.sign_general([SIGNER], TYPE, b"{}"))
    row = right["signatures"][0]
    for wrong in (
        [],
        {**right, "header": {}},
        {"payload": right["payload"]},
        {**right, "payload": 1},
        {**right, "signatures": []},
        {**right, "signatures": {}},
        {**right, "signatures": 1},
        ["payload", "signatures"],
        {**right, "signatures": [{**row, "protected": 1}]},
        {**right, "signatures": [{**row, "header": {"alg": "none"}}]},
        {**right, "signatures": [{"protected": row["protected"]}]},
        {**right, "signatures": [{**row, "signature": 1}]},
        {**right, "signatures": ["x"]},
    ):
        assert reason(jws.parse_general, orjson.dumps(wrong).decode(), typ=TYPE) == "jws_general"
    many = {**right, "signatures": [row] * 65}
    assert reason(jws.parse_general, orjson.dumps(many).decode(), typ=TYPE) == "jws_signatures"
    assert reason(jws.parse_general, "x" * 11, typ=TYPE, max_bytes=10) == "jws_size"
    assert reason(jws.parse_general, '{"payload":"","payload":""}', typ=TYPE) == "json_duplicate"
    assert reason(jws.parse_general, "\ud800", typ=TYPE) == "json_utf8"


@pytest.mark.parametrize("alg", ALGS)
@given(payload=st.binary(max_size=200))
def test_what_was_just_signed_is_what_a_reader_makes_of_it(alg, payload):
    made = jws.signed(a_signer(alg=alg), TYPE, payload)
    token = f"{made.signing_input.decode()}.{b64u(made.signature)}"
    assert jws.parse(token, typ=TYPE) == made
    jws.verify(made, admit(a_signer(alg=alg).jwk, ALGS))


def test_what_a_reader_would_refuse_is_not_made():
    length = len(jws.sign(SIGNER, TYPE, b"x" * 100))
    assert jws.signed(SIGNER, TYPE, b"x" * 100, max_bytes=length)
    assert reason(jws.signed, SIGNER, TYPE, b"x" * 100, max_bytes=length - 1, kind=LimitError) == "jws_size"

    class Short:
        alg, kid, jwk = SIGNER.alg, SIGNER.kid, SIGNER.jwk

        def sign(self, data):
            return SIGNER.sign(data)[:63]

    assert reason(jws.signed, Short(), TYPE, b"{}", kind=MalformedError) == "jws_signature_length"
    Short.kid = "not a thumbprint"
    assert reason(jws.signed, Short(), TYPE, b"{}", kind=MalformedError) in {
        "jws_kid",
        "jws_signature_length",
    }
