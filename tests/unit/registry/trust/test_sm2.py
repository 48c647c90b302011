"""SM2 with SM3: the standard's own example, keys in files, and the system's OpenSSL as second opinion."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import UnavailableError, UntrustedError
from registry.trust import jws, sm2
from registry.trust.algorithms import admit
from registry.trust.keys import KeyFolder, KeySigner
from registry.trust.sm2 import Sm2PrivateKey, Sm2PublicKey
from tests.support.trust import a_root

pytestmark = pytest.mark.skipif(not sm2.is_available(), reason="this machine's OpenSSL has no SM2")

#: GB/T 32918.5, the example of the signature.
X = bytes.fromhex("09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020")
Y = bytes.fromhex("CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13")
R = bytes.fromhex("F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3")
S = bytes.fromhex("B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA")
ALGS = ("Ed25519", "SM2-SM3")
KEY = Sm2PrivateKey.generate()


def test_fault_21_the_example_of_the_standard_verifies():
    key = Sm2PublicKey(X, Y)
    assert key.verify(R + S, b"message digest")
    assert not key.verify(R + S, b"message digesT")
    assert not key.verify(S + R, b"message digest")
    assert not key.verify((R + S)[:-1], b"message digest")


def test_fault_21_another_identity_does_not_verify(monkeypatch):
    monkeypatch.setattr(sm2, "_IDENTITY", b"8765432187654321")
    assert not Sm2PublicKey(X, Y).verify(R + S, b"message digest")


@settings(max_examples=30)
@given(st.binary(max_size=300), st.integers(0, 511))
def test_what_was_signed_verifies_and_a_flipped_bit_does_not(data, bit):
    signature = KEY.sign(data)
    assert KEY.public.verify(signature, data)
    number = int.from_bytes(signature, "big") ^ (1 << bit)
    assert not KEY.public.verify(number.to_bytes(64, "big"), data)
    assert not KEY.public.verify(signature, data + b"x")


def test_a_point_off_the_curve_is_refused():
    for x, y in ((X, X), (X, bytes(32)), (X[:-1], Y), (b"\xff" * 32, Y)):
        with pytest.raises(UntrustedError):
            Sm2PublicKey(x, y)


@pytest.mark.parametrize("passphrase", [None, b"secret"])
def test_a_key_is_kept_in_a_file_like_any_other(tmp_path: Path, passphrase):
    folder = KeyFolder(tmp_path / "keys", passphrase)
    made = folder.create("SM2-SM3")
    again = folder.load(made.kid)
    key = admit({**again.jwk, "alg": "SM2-SM3"}, ALGS)
    token = jws.sign(again, "hz-test+jws", b"{}")
    jws.verify(jws.parse(token, typ="hz-test+jws"), key)
    assert (made.kid, made.jwk) == (again.kid, again.jwk)
    moved = KeyFolder(tmp_path / "other", b"other").import_pem(folder.export_pem(made.kid, b"way"), b"way")
    assert moved.kid == made.kid
    file = tmp_path / "keys" / f"{made.kid}.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (b"ENCRYPTED" in file.read_bytes()) == (passphrase is not None)


def test_a_locked_key_needs_its_passphrase(tmp_path: Path):
    made = KeyFolder(tmp_path, b"secret").create("SM2-SM3")
    for passphrase in (None, b"wrong"):
        with pytest.raises(UnavailableError):
            KeyFolder(tmp_path, passphrase).load(made.kid)


def test_only_who_was_allowed_the_algorithm_may_use_it():
    jwk = {**KeySigner(KEY).jwk, "alg": "SM2-SM3"}
    assert admit(jwk, ALGS).alg == "SM2-SM3"
    with pytest.raises(UntrustedError) as refused:
        admit(jwk, a_root().document.algs)
    assert refused.value.code == "registry.trust.alg_not_allowed"


def test_where_openssl_is_missing_the_algorithm_is_not_available(monkeypatch):
    jwk = {**KeySigner(KEY).jwk, "alg": "SM2-SM3"}
    monkeypatch.setattr(sm2, "_library", lambda: None)
    with pytest.raises(UntrustedError) as refused:
        admit(jwk, ALGS)
    assert refused.value.code == "registry.trust.alg_unavailable"
    assert Sm2PrivateKey.from_pem(KEY.to_pem(None), None) is None


def test_fault_21_the_command_line_of_openssl_agrees(tmp_path: Path):
    for name, content in (("key", KEY.to_pem(None)), ("data", b"message digest")):
        (tmp_path / name).write_bytes(content)
    identity = ["-sm3", "-sigopt", "distid:1234567812345678"]
    theirs = _openssl(tmp_path, "dgst", "-sm3", "-sigopt", "distid:1234567812345678", "-sign", "key", "data")
    if theirs is None:
        pytest.skip("the openssl command is not installed, or cannot sign with SM2")
    ours = KEY.sign(b"message digest")
    der = encode_dss_signature(int.from_bytes(ours[:32], "big"), int.from_bytes(ours[32:], "big"))
    (tmp_path / "ours").write_bytes(der)
    assert _openssl(tmp_path, "dgst", *identity, "-prverify", "key", "-signature", "ours", "data")


def _openssl(folder: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
