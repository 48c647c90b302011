import contextlib

import joserfc.jws
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from registry.errors import InvalidValueError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.rights import Permission, Right
from registry.trust.statement import (
    STATEMENT_TYPE,
    Endpoints,
    StatementKey,
    draft,
    full_rights,
    read,
    sign_draft,
)
from tests.support.trust import ALGS, DAY, NOW, a_signer, a_statement, altered

SUBJECT = "88.107"
SIGNER = a_signer("88")
TOKEN = a_statement(SUBJECT, "88")
CLAIMS = jws.parse(TOKEN, typ=STATEMENT_TYPE).claims()
KEY = CLAIMS["jwks"]["keys"][0]
RIGHT = CLAIMS["perms"][0]


def reason(act, *args, kind=UntrustedError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.rpartition(".")[2]


def refused(**claims):
    return reason(read, altered(TOKEN, SIGNER, **claims))


def test_what_is_issued_is_read_back():
    tls = a_signer("tls", "ES256")
    keys = (
        StatementKey.of(a_signer(SUBJECT), nbf=NOW),
        StatementKey.of(a_signer("old"), nbf=NOW - 100, exp=NOW),
        StatementKey.of(tls, nbf=NOW, use="tls"),
    )
    endpoints = Endpoints(
        ("https://a.example:8443/x", "http://127.0.0.1:8800"), "https://a.example", KEY["x"], "log+1"
    )
    made = read(a_statement(SUBJECT, "88", keys=keys, endpoints=endpoints, ver=7, max_path=2))
    assert (made.issuer, made.subject) == (Prefix("88"), Prefix("88.107"))
    assert (made.ver, made.max_path, made.state) == (7, 2, "active")
    assert made.keys == keys
    assert made.endpoints == endpoints == Endpoints.from_claims(endpoints.to_claims())
    assert made.perms == full_rights(Prefix(SUBJECT))
    assert made.kid == SIGNER.kid
    assert made.key(tls.kid, "tls").public.verify(b"x", tls.sign(b"x"))
    assert made.key(tls.kid) is None


def test_the_claims_stand_as_the_format_says():
    assert CLAIMS["iss"] == "300:0.NA/88"
    assert CLAIMS["sub"] == "0.NA/88.107"
    assert CLAIMS["crit"] == ["perms", "ver", "algs", "max_path"]
    assert CLAIMS["publicKey"] == a_signer(SUBJECT).jwk
    assert jws.parse(a_statement("88", None), typ=STATEMENT_TYPE).claims()["iss"] == "300:0.NA/0.NA"
    assert read(a_statement("88", None)).issuer is None


def test_another_library_verifies_a_statement():
    checked = joserfc.jws.deserialize_compact(TOKEN, OKPKey.import_key(SIGNER.jwk), algorithms=["Ed25519"])
    assert orjson.loads(checked.payload) == CLAIMS


@pytest.mark.parametrize("state", ["suspended", "revoked"])
def test_a_suspended_or_revoked_prefix_keeps_its_keys_and_no_right(state):
    made = read(a_statement(SUBJECT, "88", state=state))
    assert made.state == state
    assert made.perms == ()
    assert made.keys
    full = full_rights(Prefix(SUBJECT))
    assert (
        reason(a_statement, SUBJECT, "88", state=state, perms=full, kind=InvalidValueError) == "perms_state"
    )
    assert reason(a_statement, SUBJECT, "88", perms=(), kind=InvalidValueError) == "perms_state"


@pytest.mark.parametrize(
    ("issuer", "subject", "expected"),
    [
        ("88.107", "88.107", "not_below"),
        ("88.107", "88", "not_below"),
        ("88.1", "88.10", "not_below"),
        ("88.1", "88.10.1", "not_below"),
        ("88.107", "88.108.1", "not_below"),
        ("88", "0.NA", "not_below"),
        ("0.NA", "0.NA", "not_below"),
        ("88", "0.88", "prefix_reserved"),
        ("88", "88.107.", "prefix_empty"),
        ("88", "88..107", "prefix_empty"),
        ("88", ".88.107", "prefix_empty"),
        ("88", "88%2E107", "prefix_character"),
        ("88", "88.１０７", "prefix_character"),
        ("88", "88.107\u200b", "prefix_character"),
        ("88", "88.1 07", "prefix_character"),
        ("88", "88.107\x00", "prefix_character"),
        ("88", "0.NA/88.107", "prefix_reserved"),
        ("88", "88." + "1" * 62, "prefix_long"),
    ],
)
def test_a_subject_lies_below_its_issuer_label_by_label(issuer, subject, expected):
    assert refused(iss=f"300:0.NA/{issuer}", sub=f"0.NA/{subject}") == expected


def test_look_alikes_of_a_prefix_are_refused():
    # CYRILLIC CAPITAL LETTER A and GREEK CAPITAL LETTER ALPHA beside LATIN A
    for odd in ("А", "Α"):
        assert refused(sub=f"0.NA/88.{odd}1") == "prefix_character"


def test_the_case_of_a_prefix_does_not_matter():
    made = read(altered(TOKEN, SIGNER, sub="0.na/88.a1", perms=[{**RIGHT, "handle": "0.NA/88.A1"}]))
    assert made.subject == Prefix("88.A1")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "0.NA/88"}, "issuer"),
        ({"iss": "301:0.NA/88"}, "issuer"),
        ({"iss": "300:88"}, "issuer"),
        ({"sub": "88.107"}, "issuer"),
        ({"sub": 88}, "claim_type"),
        ({"iat": -1}, "claim_type"),
        ({"iat": 1.0}, "claim_type"),
        ({"iat": True}, "claim_type"),
        ({"ver": 0}, "claim_type"),
        ({"ver": "1"}, "claim_type"),
        ({"exp": CLAIMS["nbf"]}, "life_empty"),
        ({"max_path": 8}, "claim_type"),
        ({"max_path": -1}, "claim_type"),
        ({"algs": []}, "claim_type"),
        ({"algs": ["Ed25519", "Ed25519"]}, "claim_type"),
        ({"algs": ["ES256"]}, "alg_not_allowed"),
        ({"crit": []}, "claim_type"),
        ({"crit": ["perms", "ver"]}, "crit_missing"),
        ({"crit": ["perms", "ver", "algs", "geofence"]}, "crit_unknown"),
        ({"crit": ["perms", "ver", "algs", "geofence"], "geofence": {}}, "crit_unknown"),
        ({"crit": ["perms", "ver", "algs", "state"]}, "crit_absent"),
        ({"crit": "perms"}, "claim_type"),
        ({"state": "suspended", "perms": []}, "crit_missing"),
        ({"state": "asleep", "crit": ["perms", "ver", "algs", "state"]}, "state_unknown"),
        ({"publicKey": a_signer("other").jwk}, "public_key_other"),
        ({"publicKey": "x"}, "claim_type"),
        ({"jwks": {}}, "claim_missing"),
        ({"jwks": []}, "claim_type"),
        ({"jwks": {"keys": []}}, "no_signing_key"),
        ({"jwks": {"keys": ["x"]}}, "claim_type"),
        ({"jwks": {"keys": [KEY] * 65}}, "claim_type"),
        ({"ep": None}, "claim_type"),
        ({"perms": {}}, "claim_type"),
        ({"perms": [1]}, "claim_type"),
        ({"perms": [{**RIGHT, "perm": "everything"}]}, "perm_unknown"),
        ({"perms": [{**RIGHT, "perm": "THISHANDLE"}]}, "perm_unknown"),
        ({"perms": [{**RIGHT, "handle": "0.NA/88"}]}, "perm_outside"),
        ({"perms": [{**RIGHT, "handle": "0.NA/88.1070"}]}, "perm_outside"),
        ({"perms": [{**RIGHT, "handle": "0.NA/88.10"}]}, "perm_outside"),
        ({"perms": [{**RIGHT, "handle": "0.NA/0.NA"}]}, "perm_outside"),
        ({"perms": [{**RIGHT, "ops": []}]}, "claim_type"),
        ({"perms": [{**RIGHT, "ops": [["x"]]}]}, "claim_type"),
    ],
)
def test_a_claim_that_is_not_what_it_must_be_is_refused(claims, expected):
    assert refused(**claims) == expected


@pytest.mark.parametrize("name", [name for name in CLAIMS if name not in ("publicKey", "crit")])
def test_no_claim_may_be_missing(name):
    crit = [word for word in CLAIMS["crit"] if word != name]
    wanted = "crit_missing" if name in ("perms", "ver", "algs") else "claim_missing"
    assert reason(read, altered(TOKEN, SIGNER, without=[name], crit=crit)) == wanted
    assert reason(read, altered(TOKEN, SIGNER, without=["crit"])) == "claim_missing"


def test_a_claim_that_is_unknown_and_not_critical_is_passed_over():
    assert read(altered(TOKEN, SIGNER, remark="new in a later version")).ver == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"use": "enc"}, "key_use"),
        ({"kid": a_signer("other").kid}, "key_kid"),
        ({"alg": "ES256"}, "key_type"),
        ({"exp": KEY["nbf"] - 1}, "life_empty"),
        ({"nbf": "now"}, "claim_type"),
        ({"d": "AAAA"}, "key_private"),
        ({"x5c": []}, "key_member"),
        ({"x": "AQ" + "A" * 41}, "key_low_order"),
    ],
)
def test_each_key_is_admitted_or_refused(change, expected):
    assert refused(jwks={"keys": [{**KEY, **change}]}) == expected


@pytest.mark.parametrize("name", ["kid", "alg", "use", "nbf"])
def test_each_key_says_everything_about_itself(name):
    assert refused(jwks={"keys": [{k: v for k, v in KEY.items() if k != name}]}) == "claim_missing"


def test_a_key_may_serve_the_log_and_the_state_may_be_said_when_it_is_active():
    log = StatementKey.of(a_signer("log"), nbf=NOW, use="log")
    made = read(a_statement(SUBJECT, "88", keys=(StatementKey.of(a_signer(SUBJECT), nbf=NOW), log)))
    assert made.key(log.kid, "log") == log
    crit = [*CLAIMS["crit"], "state"]
    assert read(altered(TOKEN, SIGNER, state="active", crit=crit)).state == "active"
    assert read(altered(TOKEN, SIGNER, without=["publicKey"])).keys == read(TOKEN).keys
    assert reason(a_statement, SUBJECT, "88", keys=(log,), kind=InvalidValueError) == "no_signing_key"


def test_a_key_serves_one_use():
    assert refused(jwks={"keys": [KEY, {**KEY, "use": "tls"}]}) == "key_two_uses"
    assert refused(jwks={"keys": [KEY, KEY]}) == "key_two_uses"
    assert refused(jwks={"keys": [{**KEY, "use": "log"}]}) == "no_signing_key"


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "http://127.0.0.1.evil.example",
        "http://169.254.169.254/",
        "ftp://a.example",
        "file:///etc/passwd",
        "https://",
        "https://user@a.example",
        "https://a.example/?q",
        "https://a.example/#f",
        "https://a.example:port",
        "https://[::1",
        "https://a.example/ b",
        "https://a.example\\b",
        "https://ä.example",
        "//a.example",
        "",
        7,
        "https://" + "a" * 600,
    ],
)
def test_an_endpoint_is_https_or_on_loopback(url):
    assert refused(ep={"resolve": [url]}) == "ep_url"
    with pytest.raises(MalformedError):
        Endpoints.from_claims({"resolve": [], "exchange": url})


def test_a_certificate_is_pinned_by_its_digest():
    assert refused(ep={"tls_x5t_s256": "abc"}) == "ep_pin"
    assert read(altered(TOKEN, SIGNER, ep={})).endpoints == Endpoints()


def test_a_token_made_for_another_purpose_is_no_statement():
    token = jws.sign(SIGNER, "hz-record+jws", orjson.dumps(CLAIMS))
    assert reason(read, token) == "jws_typ"
    assert reason(read, "nonsense") == "jws_segments"
    assert reason(read, TOKEN + "x" * 70_000) == "jws_size"


def test_nothing_is_signed_that_a_reader_would_refuse():
    assert reason(a_statement, "88.10", "88.1", kind=InvalidValueError) == "not_below"
    wide = (Right(Prefix("88"), Permission.THIS_HANDLE),)
    assert reason(a_statement, SUBJECT, "88", perms=wide, kind=InvalidValueError) == "perm_outside"
    assert reason(a_statement, SUBJECT, "88", ver=2**53, kind=InvalidValueError) == "json_integer"
    assert reason(a_statement, SUBJECT, "88", ver=2**70, kind=InvalidValueError) == "claim_type"
    assert reason(a_statement, SUBJECT, "88", exp=NOW - 7200, kind=InvalidValueError) == "life_empty"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(CLAIMS)), JSON)
def test_whatever_stands_in_a_claim_the_answer_is_a_statement_or_a_refusal(name, content):
    with contextlib.suppress(UntrustedError):
        assert read(altered(TOKEN, SIGNER, **{name: content}))


def a_row(number, **other):
    signer = a_signer(f"key {number}")
    return {**signer.jwk, "kid": signer.kid, "alg": signer.alg, "use": "sig", "nbf": NOW, **other}


def test_a_statement_has_its_limits():
    assert reason(read, "x" * 65_536) == "jws_segments"
    assert reason(read, "x" * 65_537) == "jws_size"

    def keys(count):
        return {"jwks": {"keys": [KEY, *(a_row(number) for number in range(1, count))]}}

    assert len(read(altered(TOKEN, SIGNER, **keys(64))).keys) == 64
    assert refused(**keys(65)) == "claim_type"
    assert len(read(altered(TOKEN, SIGNER, perms=[RIGHT] * 32)).perms) == 32
    assert refused(perms=[RIGHT] * 33) == "claim_type"
    words = [f"op{number}" for number in range(33)]
    assert len(read(altered(TOKEN, SIGNER, perms=[{**RIGHT, "ops": words[:32]}])).perms[0].operations) == 32
    assert refused(perms=[{**RIGHT, "ops": words}]) == "claim_type"
    algs = [*ALGS, *(f"a{number}" for number in range(15))]
    assert read(altered(TOKEN, SIGNER, algs=algs[:16])).algs == tuple(algs[:16])
    assert refused(algs=algs) == "claim_type"


@pytest.mark.parametrize("name", ["jwks", "ep", "iss", "sub", "iat", "nbf", "exp", "publicKey"])
def test_whatever_is_understood_may_be_called_critical(name):
    assert read(altered(TOKEN, SIGNER, crit=[*CLAIMS["crit"], name])).ver == 1
    assert refused(crit=[*CLAIMS["crit"], name.upper()]) == "crit_unknown"


def test_the_keys_that_may_go_on_signing_are_those_whose_end_has_not_come():
    iat = NOW - 3600
    keys = (
        StatementKey.of(a_signer("live"), nbf=iat),
        StatementKey.of(a_signer("ends"), nbf=iat - 9, exp=iat + 1),
        StatementKey.of(a_signer("ended"), nbf=iat - 9, exp=iat),
        StatementKey.of(a_signer("log"), nbf=iat, use="log"),
    )
    made = read(a_statement(SUBJECT, "88", keys=keys, iat=iat))
    assert made.signing_kids == {a_signer("live").kid, a_signer("ends").kid}
    assert made.key(a_signer("live").kid) == keys[0]


def test_a_draft_is_signed_elsewhere_and_is_active_unless_said():
    subject = Prefix(SUBJECT)
    keys = (
        StatementKey.of(a_signer("tls"), nbf=NOW, use="tls"),
        StatementKey.of(a_signer("x"), nbf=NOW, exp=NOW),
    )
    payload = draft(
        issuer=Prefix("88"),
        subject=subject,
        keys=keys,
        perms=full_rights(subject),
        algs=ALGS,
        max_path=1,
        endpoints=Endpoints(),
        ver=1,
        iat=NOW,
        nbf=NOW,
        exp=NOW + DAY,
    )
    made = read(sign_draft(SIGNER, payload))
    assert (made.state, made.keys) == ("active", keys)
    assert orjson.loads(payload)["publicKey"] == a_signer("x").jwk

    class Refusing:
        alg, kid, jwk = SIGNER.alg, SIGNER.kid, SIGNER.jwk

        def sign(self, data):
            raise MalformedError("registry.trust.jws_header", field="header")

    assert reason(sign_draft, Refusing(), payload, kind=InvalidValueError) == "jws_header"


def test_the_key_shown_to_other_readers_is_a_signing_key():
    tls = a_row("tls", use="tls")
    shown = a_signer("key tls").jwk
    assert refused(jwks={"keys": [KEY, tls]}, publicKey=shown) == "public_key_other"
    tls["use"] = "sig"
    assert len(read(altered(TOKEN, SIGNER, jwks={"keys": [KEY, tls]}, publicKey=shown)).keys) == 2


def test_a_refused_key_is_named_by_its_place():
    with pytest.raises(UntrustedError) as error:
        read(altered(TOKEN, SIGNER, jwks={"keys": [KEY, a_row(1, nbf=-1)]}))
    assert error.value.field == "jwks.keys[1].nbf"


def test_the_same_rights_always_make_the_same_bytes():
    words = frozenset({"flow", "register", *(f"z{number}" for number in range(20))})
    token = a_statement(SUBJECT, "88", perms=(Right(Prefix(SUBJECT), Permission.THIS_HANDLE, words),))
    (right,) = jws.parse(token, typ=STATEMENT_TYPE).claims()["perms"]
    assert right["ops"] == ["register", "flow", *sorted(words - {"flow", "register"})]
