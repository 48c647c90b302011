"""The numbers of the fault list that the trust chain answers for, each by its name; details are in the other modules."""

import subprocess
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.errors import UnauthenticatedError, UntrustedError
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.chain import MemoryMarks, verify_chain
from registry.trust.encoding import b64u, from_b64u
from registry.trust.possession import make_possession, verify_possession
from registry.trust.root import make_root, read_root
from registry.trust.statement import STATEMENT_TYPE, full_rights
from tests.support.trust import ALGS, DAY, NOW, a_chain, a_root, a_signer, altered

TOP, PARK, PLANT = "88", "88.107", "88.107.1001"
EIGHTH = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
#: The fourteen encodings of low order: order 1, 2, 4, then 8, each with both sign bits.
LOW_ORDER = [
    *(first + "00" * 30 + last for first in ("01", "00") for last in ("00", "80")),
    *(first + "ff" * 30 + last for first in ("ee", "ec", "ed") for last in ("7f", "ff")),
    *EIGHTH,
    *(bytes.fromhex(point)[:-1].hex() + f"{bytes.fromhex(point)[-1] | 0x80:02x}" for point in EIGHTH),
]


def reason(act, *args, kind=UntrustedError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    return refused.value.code.removeprefix("registry.trust.")


def chain_with(prefix, **claims):
    """The tokens of a chain in which one statement says something else, properly signed."""
    chain = a_chain()
    tokens = dict(chain.by_prefix)
    above = {TOP: "root", PARK: TOP, PLANT: PARK}[prefix]
    tokens[prefix] = altered(tokens[prefix], a_signer(above), **claims)
    return tuple(tokens[name] for name in (PLANT, PARK, TOP))


def refused(tokens):
    return reason(verify_chain, tokens, anchor=a_root().anchor, now=NOW)


@pytest.mark.parametrize("point", LOW_ORDER)
def test_fault_02_a_key_of_low_order_is_refused(point):
    assert len(set(LOW_ORDER)) == 14
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64u(bytes.fromhex(point))}
    assert reason(admit, jwk, ALGS) in ("key_low_order", "key_not_canonical")


def test_fault_02_a_key_serves_one_use():
    chain = a_chain()
    keys = jws.parse(chain.by_prefix[PARK], typ=STATEMENT_TYPE).claims()["jwks"]["keys"]
    assert refused(chain_with(PARK, jwks={"keys": [{**keys[0], "use": "log"}]})) == "no_signing_key"
    assert refused(chain_with(PARK, jwks={"keys": [*keys, {**keys[0], "use": "log"}]})) == "key_two_uses"


def test_fault_02_a_key_without_proof_of_possession_is_refused():
    mine, theirs = a_signer("mine"), a_signer("theirs")
    public = admit(theirs.jwk, ALGS)
    told = {"audience": "0.NA/88", "subject": "0.NA/88.107"}
    nonce = b64u(bytes(32))
    proof = make_possession(mine, **told, nonce=nonce, iat=NOW)
    assert (
        reason(verify_possession, proof, public, **told, now=NOW, kind=UnauthenticatedError)
        == "signature_kid"
    )
    own = make_possession(theirs, **told, nonce=nonce, iat=NOW)
    assert verify_possession(own, public, **told, now=NOW) == nonce
    for changed in ({"audience": "0.NA/89"}, {"subject": "0.NA/88.108"}, {"now": NOW + 601}):
        with pytest.raises(UnauthenticatedError):
            verify_possession(own, public, **{**told, "now": NOW, **changed})


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"algs": ["Ed25519", "ES256", "SM2-SM3"]}, "wider_algs"),
        ({"exp": NOW + 91 * DAY}, "wider_exp"),
        ({"max_path": 7}, "wider_path"),
        ({"sub": "0.NA/88.108"}, "perm_outside"),
        ({"iss": "300:0.NA/89"}, "not_below"),
        ({"iss": "300:0.NA/88.107", "sub": "0.NA/88"}, "not_below"),
    ],
)
def test_fault_04_a_child_that_is_wider_or_stands_elsewhere_kills_the_chain(claims, code):
    assert refused(chain_with(PARK, **claims)) == code


def test_fault_04_wider_permissions_kill_the_chain():
    rows = [
        {"handle": f"0.NA/{right.prefix}", "perm": right.permission.value, "ops": ["register", "everything"]}
        for right in full_rights(a_chain().prefix)
    ]
    assert refused(chain_with(PLANT, perms=rows)) == "wider_perms"
    outside = [{"handle": "0.NA/88.107", "perm": "thisHandle", "ops": ["register"]}]
    assert refused(chain_with(PLANT, perms=outside)) == "perm_outside"


def test_fault_04_a_loop_or_two_superiors_are_refused():
    chain = a_chain()
    assert refused((chain.by_prefix[PLANT], *chain.tokens)) == "chain_loop"
    marks = MemoryMarks()
    chain.verified(marks=marks)
    assert reason(marks.raise_to, "88.108", PLANT, 9, "x") == "two_superiors"


def test_fault_05_an_older_version_and_a_second_content_are_refused():
    marks = MemoryMarks()
    newer = a_chain(changed={PLANT: {"ver": 5}})
    newer.verified(marks=marks)
    assert reason(a_chain().verified, marks=marks) == "rolled_back"
    other = a_chain(changed={PLANT: {"ver": 5, "max_path": 0}})
    assert reason(other.verified, marks=marks) == "equivocation"


def test_fault_05_a_frozen_chain_ends():
    assert reason(a_chain().verified, now=NOW + 91 * DAY) == "expired"


def test_fault_05_the_next_root_needs_both_thresholds_and_the_next_number():
    old = a_root("a", "b", "c", threshold=2)
    content = {"algs": ALGS, "iat": NOW, "exp": NOW + 99 * DAY}
    new = [a_signer("d"), a_signer("e")]

    def successor(*names, ver=2):
        return make_root([*map(a_signer, names), *new], 2, keys=new, ver=ver, **content)

    assert old.anchor.advance(successor("a", "b")).root.ver == 2
    assert reason(old.anchor.advance, successor("a", "b", ver=3)) == "root_version"
    assert reason(old.anchor.advance, successor("a")) == "root_threshold"
    twice = orjson.loads(successor("a"))
    twice["signatures"].insert(0, twice["signatures"][0])
    assert reason(old.anchor.advance, orjson.dumps(twice).decode()) == "root_threshold"
    short = orjson.loads(successor("a", "b"))
    short["signatures"].pop()
    assert reason(read_root, orjson.dumps(short).decode()) == "root_threshold"


def test_fault_21_the_example_of_rfc_8037():
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    token = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    data, _, signature = token.rpartition(".")
    raw = from_b64u(signature)
    assert raw is not None
    key = admit({"kty": "OKP", "crv": "Ed25519", "x": x}, ALGS)
    assert key.verify(data.encode(), raw)
    assert not key.verify(data.encode() + b"A", raw)


def test_fault_21_openssl_agrees_on_ed25519(tmp_path: Path):
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    (tmp_path / "key").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (tmp_path / "data").write_bytes(b"message digest")
    words = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", "key", "-in", "data"]
    try:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("the openssl command is not installed, or is too old for Ed25519")
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    key = admit({"kty": "OKP", "crv": "Ed25519", "x": b64u(raw)}, ALGS)
    assert key.verify(b"message digest", done.stdout)
    assert done.stdout == private.sign(b"message digest")
