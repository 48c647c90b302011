import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from registry.errors import UntrustedError
from registry.trust import sm2
from registry.trust.algorithms import ALGORITHMS, AlgorithmStatus, PublicKey, admit, thumbprint, usable
from registry.trust.encoding import b64u, from_b64u
from tests.support.trust import ALGS, a_signer

#: RFC 8037 A.1 to A.4
RFC_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
RFC_8037_TOKEN = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

LOW_ORDER = [
    "01" + "00" * 31,
    "01" + "00" * 30 + "80",
    "ee" + "ff" * 30 + "7f",
    "ee" + "ff" * 31,
    "ec" + "ff" * 30 + "7f",
    "ec" + "ff" * 31,
    "00" * 32,
    "00" * 31 + "80",
    "ed" + "ff" * 30 + "7f",
    "ed" + "ff" * 31,
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


def reason(jwk, algs=ALGS):
    with pytest.raises(UntrustedError) as refused:
        admit(jwk, algs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


def okp(raw):
    return {"kty": "OKP", "crv": "Ed25519", "x": b64u(raw)}


def test_the_published_ed25519_signature_verifies_and_an_altered_one_does_not():
    key = admit(RFC_8037, ("Ed25519",))
    signed, _, signature = RFC_8037_TOKEN.rpartition(".")
    raw = from_b64u(signature)
    assert key.verify(signed.encode(), raw)
    assert not key.verify(signed.encode() + b".", raw)
    assert not key.verify(signed.encode(), raw[:-1] + b"\x00")
    assert not key.verify(signed.encode(), raw + b"\x00")
    assert not key.verify(signed.encode(), b"")


def test_the_published_thumbprint_comes_out():
    assert thumbprint(RFC_8037) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert admit(RFC_8037, ("Ed25519",)).kid == thumbprint(RFC_8037)


@pytest.mark.parametrize("alg", ALGS)
def test_another_library_computes_the_same_thumbprint(alg):
    signer = a_signer("x", alg)
    other = OKPKey if alg == "Ed25519" else ECKey
    assert other.import_key(signer.jwk).thumbprint() == signer.kid == admit(signer.jwk, ALGS).kid


@pytest.mark.parametrize("encoded", LOW_ORDER)
def test_a_low_order_key_is_refused_though_the_library_would_load_it(encoded):
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(encoded))
    assert reason(okp(bytes.fromhex(encoded))) == "key_low_order"


def test_a_key_that_is_not_reduced_or_not_on_the_curve_is_refused():
    assert reason(okp((2**255 - 19 + 3).to_bytes(32, "little"))) == "key_not_canonical"
    assert reason(okp((2).to_bytes(32, "little"))) == "key_off_curve"
    p256 = a_signer("x", "ES256").jwk
    assert reason({**p256, "y": b64u(bytes(31) + b"\x05")}) == "key_off_curve"
    assert reason({**p256, "x": b64u(b"\xff" * 32)}) == "key_off_curve"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}, "key_private"),
        ({"kty": "EC"}, "key_type"),
        ({"crv": "Ed448"}, "key_type"),
        ({"x": None}, "key_type"),
        ({"x": RFC_8037["x"] + "="}, "key_encoding"),
        ({"x": RFC_8037["x"][:-1] + "p"}, "key_encoding"),
        ({"x": RFC_8037["x"][:-3]}, "key_length"),
        ({"x": RFC_8037["x"] + "AAAA"}, "key_length"),
        ({"kid": "other"}, "key_kid"),
        ({"alg": "ES256"}, "key_type"),
        ({"alg": "EdDSA"}, "alg_unknown"),
        ({"alg": 1}, "alg_unknown"),
        ({"alg": "none"}, "alg_forbidden"),
        ({"alg": "HS256"}, "alg_forbidden"),
        ({"alg": "SM2-SM3"}, "alg_not_allowed"),
        ({"alg": "ML-DSA-44"}, "alg_unavailable"),
        ({"jku": "https://e.example"}, "key_member"),
    ],
)
def test_a_key_says_exactly_what_it_must(change, expected):
    assert reason({**RFC_8037, **change}) == expected


def test_an_algorithm_outside_the_allowed_ones_is_refused():
    assert reason(RFC_8037, ("ES256",)) == "alg_not_allowed"
    assert reason(a_signer("x", "ES256").jwk, ("Ed25519",)) == "alg_not_allowed"


def test_a_key_type_nobody_knows_is_refused():
    assert reason({"kty": "RSA", "n": "AQAB", "e": "AQAB"}) == "alg_forbidden"
    assert reason({"kty": "nonsense"}) == "key_type"
    with pytest.raises(UntrustedError):
        thumbprint({"kty": "nonsense"})


def test_only_algorithms_that_can_be_verified_are_usable():
    for name, row in ALGORITHMS.items():
        if row.status is AlgorithmStatus.ACTIVE:
            assert usable(name) is row
        else:
            with pytest.raises(UntrustedError):
                usable(name)


def test_both_forms_of_an_es256_signature_verify_which_is_why_tokens_are_named_by_what_was_signed():
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signer = a_signer("x", "ES256")
    key = admit(signer.jwk, ALGS)
    signature = signer.sign(b"data")
    mirrored = signature[:32] + (order - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    assert key.verify(b"data", signature)
    assert key.verify(b"data", mirrored)
    assert not key.verify(b"other", mirrored)
    assert not key.verify(b"data", bytes(64))


@given(st.binary(min_size=32, max_size=32))
def test_every_admitted_ed25519_key_is_a_point_the_curve_equation_holds_for(raw):
    try:
        key = admit(okp(raw), ALGS)
    except UntrustedError as refused:
        if refused.code.startswith("registry.trust.key_"):
            return
        raise
    p = 2**255 - 19
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    assert y < p
    assert isinstance(key, PublicKey)


@given(st.text(min_size=1, max_size=32))
def test_every_real_key_is_admitted_and_equal_to_itself_alone(name):
    one, other = a_signer(name), a_signer(name + "'")
    key = admit(one.jwk, ALGS)
    assert key == admit({**one.jwk, "kid": one.kid, "alg": "Ed25519", "use": "sig", "nbf": 1, "exp": 2}, ALGS)
    assert key != admit(other.jwk, ALGS)
    assert key.verify(b"m", one.sign(b"m"))
    assert not key.verify(b"m", other.sign(b"m"))


@given(st.binary(max_size=70))
def test_base64url_has_one_spelling(data):
    spelling = b64u(data)
    assert from_b64u(spelling) == data
    assert from_b64u(spelling + "=") is None
    assert from_b64u(spelling + "\n") is None
    if len(spelling) % 4:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        others = [spelling[:-1] + c for c in alphabet if c != spelling[-1]]
        assert [from_b64u(other) for other in others].count(data) == 0


def test_a_signature_has_one_length_and_the_answer_is_yes_or_no():
    signer = a_signer("x", "ES256")
    key = admit(signer.jwk, ALGS)
    good = signer.sign(b"data")
    assert key.verify(b"data", good) is True
    assert key.verify(b"other", good) is False
    assert key.verify(b"data", good[:32] + b"\x00" + good[32:]) is False
    short = next(one for one in (signer.sign(b"data") for _ in range(100_000)) if one[32] == 0)
    assert key.verify(b"data", short) is True
    assert key.verify(b"data", short[:32] + short[33:]) is False
    plain = a_signer("x")
    assert admit(plain.jwk, ALGS).verify(b"data", plain.sign(b"other")) is False


def test_exactly_the_points_of_the_curve_are_admitted():
    """Held against another way: u/v is a square where u·v is one."""
    prime = 2**255 - 19
    factor = -121665 * pow(121666, prime - 2, prime) % prime
    for y in range(2, 200):
        product = (y * y - 1) * (factor * y * y + 1) % prime
        right = pow(product, (prime - 1) // 2, prime) == 1
        raw = y.to_bytes(32, "little")
        if right:
            assert admit(okp(raw), ALGS).jwk["x"] == b64u(raw)
        else:
            assert reason(okp(raw)) == "key_off_curve"


def test_without_its_library_an_algorithm_is_not_usable_and_the_others_are(monkeypatch):
    monkeypatch.setattr(sm2, "is_available", lambda: False)
    with pytest.raises(UntrustedError) as refused:
        usable("SM2-SM3")
    assert refused.value.code == "registry.trust.alg_unavailable"
    assert usable("Ed25519").name == "Ed25519"
    monkeypatch.setattr(sm2, "is_available", lambda: True)
    assert usable("SM2-SM3").name == "SM2-SM3"


def test_what_is_wrong_about_the_type_of_a_key_is_named():
    for jwk, field in (
        ({**RFC_8037, "alg": "Ed25519", "crv": "Ed448"}, "crv"),
        ({**RFC_8037, "alg": "Ed25519", "kty": "EC"}, "kty"),
        ({**RFC_8037, "crv": "Ed448"}, "kty"),
    ):
        with pytest.raises(UntrustedError) as refused:
            admit(jwk, ALGS)
        assert (refused.value.code, refused.value.field) == ("registry.trust.key_type", field)


def test_a_key_is_its_algorithm_and_thumbprint():
    key = admit(RFC_8037, ALGS)
    assert key == PublicKey(key.alg, key.kid, (), lambda signature, data: False)
    assert len({key, PublicKey(key.alg, key.kid, (), lambda signature, data: False)}) == 1
    assert key != PublicKey("ES256", key.kid, (), lambda signature, data: False)
    assert key != "key"
    assert repr(key) == "PublicKey(Ed25519, kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)"
