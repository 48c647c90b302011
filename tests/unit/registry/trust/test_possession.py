import joserfc.jws
import orjson
import pytest
from joserfc.jwk import OKPKey

from registry.errors import UnauthenticatedError
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.encoding import b64u
from registry.trust.possession import POSSESSION_TYPE, make_possession, verify_possession
from tests.support.trust import ALGS, NOW, a_signer

SIGNER = a_signer("new key")
NONCE = b64u(bytes(range(32)))
RIGHT = {"audience": "0.NA/88.107", "subject": "0.NA/88.107.1001"}


def proof(signer=SIGNER, **change):
    return make_possession(signer, **{**RIGHT, "nonce": NONCE, "iat": NOW, **change})


def check(token, key=SIGNER, now=NOW):
    return verify_possession(token, admit(key.jwk, ALGS), **RIGHT, now=now)


def reason(token, **other):
    with pytest.raises(UnauthenticatedError) as refused:
        check(token, **other)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


@pytest.mark.parametrize("alg", ALGS)
def test_the_holder_of_a_key_proves_it_and_the_nonce_comes_back(alg):
    signer = a_signer("new key", alg)
    assert check(proof(signer), signer) == NONCE


def test_the_type_is_that_on_the_wire():
    assert jws.parse(proof(), typ="hz-pop+jws").kid == SIGNER.kid


def test_another_library_reads_the_proof():
    checked = joserfc.jws.deserialize_compact(proof(), OKPKey.import_key(SIGNER.jwk), algorithms=["Ed25519"])
    assert orjson.loads(checked.payload) == {
        "aud": "0.NA/88.107",
        "sub": "0.NA/88.107.1001",
        "nonce": NONCE,
        "iat": NOW,
    }


def test_without_the_key_there_is_no_proof():
    stolen = orjson.dumps({"aud": RIGHT["audience"], "sub": RIGHT["subject"], "nonce": NONCE, "iat": NOW})
    assert reason(proof(a_signer("other"))) == "signature_kid"
    head, payload, _ = proof().split(".")
    assert reason(f"{head}.{payload}.{b64u(bytes(64))}") == "signature"
    assert reason(jws.sign(SIGNER, "hz-statement+jws", stolen)) == "jws_typ"
    assert reason("") == "jws_segments"
    assert reason("x" * 4096) == "jws_segments"
    assert reason("x" * 4097) == "jws_size"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"audience": "0.NA/88"}, "pop_aud"),
        ({"audience": "0.NA/88.1070"}, "pop_aud"),
        ({"subject": "0.NA/88.107.1002"}, "pop_sub"),
        ({"nonce": "short"}, "pop_nonce"),
        ({"nonce": NONCE + "="}, "pop_nonce"),
        ({"nonce": b64u(bytes(31))}, "pop_nonce"),
        ({"nonce": b64u(bytes(33))}, "pop_nonce"),
        ({"nonce": ""}, "claim_type"),
        ({"iat": NOW - 601}, "pop_time"),
        ({"iat": NOW + 301}, "pop_time"),
        ({"iat": 0.5}, "claim_type"),
    ],
)
def test_a_proof_for_somebody_something_or_sometime_else_is_refused(change, expected):
    assert reason(proof(**change)) == expected


def test_a_proof_is_good_for_ten_minutes():
    assert check(proof(), now=NOW + 600) == NONCE
    assert check(proof(), now=NOW - 300) == NONCE


def test_every_claim_must_be_there():
    claims = {"aud": RIGHT["audience"], "sub": RIGHT["subject"], "nonce": NONCE, "iat": NOW}
    for name in claims:
        content = orjson.dumps({k: v for k, v in claims.items() if k != name})
        assert reason(jws.sign(SIGNER, POSSESSION_TYPE, content)) == "claim_missing"
