"""The examples of RFC 7515, appendix A: the one of an algorithm there is here, and those of algorithms there are not."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jws as second
from joserfc.jwk import ECKey

from federation.evidence import verifier
from registry.errors import HazlinkError, UntrustedError
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.encoding import from_b64u
from tests.support.trust import ALGS

_PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#: Appendix A.3.
_ES256 = (
    f"eyJhbGciOiJFUzI1NiJ9.{_PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
_EC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
#: Appendix A.1: the secret is public, and so is the signature under it.
_HS256 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{_PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
_SECRET = {
    "kty": "oct",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}
#: Appendix A.5.
_NONE = f"eyJhbGciOiJub25lIn0.{_PAYLOAD}."


def _parts(token):
    signed, _, signature = token.rpartition(".")
    return signed.encode(), from_b64u(signature)


def test_fault_21_the_example_of_es256_holds_in_the_registry_and_in_the_verifier_that_stands_alone():
    signed, signature = _parts(_ES256)
    key = admit(_EC_KEY | {"alg": "ES256"}, ALGS)
    alone = verifier._key(_EC_KEY | {"alg": "ES256"}, ("ES256",), ())
    assert key.kid == alone.kid
    for verify in (key.verify, alone.holds):
        assert verify(signed, signature)
        assert not verify(signed + b"A", signature)
        assert not verify(signed, signature[32:] + signature[:32])
    # the second library agrees about the same token
    assert second.deserialize_compact(_ES256, ECKey.import_key(_EC_KEY), algorithms=["ES256"]).payload


def test_fault_21_openssl_agrees_on_the_example_of_es256(tmp_path: Path):
    signed, signature = _parts(_ES256)
    x, y, r, s = (
        int.from_bytes(raw, "big")
        for raw in (from_b64u(_EC_KEY["x"]), from_b64u(_EC_KEY["y"]), signature[:32], signature[32:])
    )
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    (tmp_path / "key").write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "signature").write_bytes(encode_dss_signature(r, s))
    (tmp_path / "data").write_bytes(signed)
    words = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "signature", "data"]
    try:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("the openssl command is not installed")
    assert done.returncode == 0, done.stderr.decode()
    (tmp_path / "data").write_bytes(signed + b"A")
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("token", [_HS256, _NONE])
def test_fault_21_the_examples_that_anybody_can_sign_are_tokens_to_nobody_here(token):
    with pytest.raises(HazlinkError):
        jws.parse(token, typ="JWT")


@pytest.mark.parametrize("alg", ["HS256", "none", "ES256", "Ed25519"])
def test_fault_21_a_shared_secret_is_admitted_as_a_key_under_no_name(alg):
    with pytest.raises(UntrustedError):
        admit(_SECRET | {"alg": alg}, (*ALGS, "HS256", "none"))
