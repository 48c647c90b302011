"""Signature algorithms, and which public keys are admitted.

Rules (facts on federation, (a) "key admission" and (d) "agility"):

- the table fixes for each name the key type and how to verify; a header never chooses;
- the key's own row names its algorithm, and the algorithm must be among those allowed to its holder;
- key material has one spelling: exact members, canonical base64url, exact length, a point on the curve;
- an Ed25519 key of low order is refused: under some of them one fixed signature fits every message;
- a private member in a public key is refused, so that nobody publishes a secret by mistake.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from registry.errors import UntrustedError
from registry.trust import sm2
from registry.trust.encoding import b64u, from_b64u
from registry.trust.sm2 import Sm2PublicKey

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "SIGNATURE_BYTES",
    "Algorithm",
    "AlgorithmStatus",
    "PublicKey",
    "admit",
    "thumbprint",
    "usable",
]

DEFAULT_ALGORITHM = "Ed25519"
#: Ed25519, ES256 and SM2 all make signatures of this size.
SIGNATURE_BYTES = 64

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN_BIT = 1 << 255

#: The y coordinates of the points whose order divides 8; with either sign bit, and the non-canonical p and p + 1,
#: they make the fourteen encodings of the facts file.
_LOW_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        _P,
        _P + 1,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"
        ),
    }
)


class AlgorithmStatus(Enum):
    """What an algorithm may be used for."""

    ACTIVE = "active"
    VERIFY_ONLY = "verify-only"
    FORBIDDEN = "forbidden"
    NOT_AVAILABLE = "not available"


class _Verifier(Protocol):
    def __call__(self, signature: bytes, data: bytes, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row of the table.

    Attributes:
        name: as it stands in a JWS header.
        members: the JWK members that make the key, `kty` and `crv` with their fixed values, others None.
        status: whether keys of it are admitted.
        load: makes the verifying function from the decoded coordinates; raises UntrustedError.
    """

    name: str
    members: Mapping[str, str | None]
    status: AlgorithmStatus
    load: Callable[[Mapping[str, bytes]], _Verifier] | None = None


def _ed25519(parts: Mapping[str, bytes]) -> _Verifier:
    raw = parts["x"]
    _check_ed25519_point(raw)
    native = Ed25519PublicKey.from_public_bytes(raw)

    def verify(signature: bytes, data: bytes, /) -> bool:
        try:
            native.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return verify


def _check_ed25519_point(raw: bytes) -> None:
    number = int.from_bytes(raw, "little")
    y = number & (_SIGN_BIT - 1)
    if y in _LOW_ORDER_Y:
        raise UntrustedError("registry.trust.key_low_order", field="x")
    if y >= _P:
        raise UntrustedError("registry.trust.key_not_canonical", field="x")
    # RFC 8032 §5.1.3: x² = (y² - 1) / (d·y² + 1) must be a square
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        raise UntrustedError("registry.trust.key_off_curve", field="x")


def _es256(parts: Mapping[str, bytes]) -> _Verifier:
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(parts["x"], "big"), int.from_bytes(parts["y"], "big"), ec.SECP256R1()
    )
    try:
        native = numbers.public_key()
    except ValueError:
        raise UntrustedError("registry.trust.key_off_curve", field="x") from None
    scheme = ec.ECDSA(hashes.SHA256())

    def verify(signature: bytes, data: bytes, /) -> bool:
        # of the right length: `PublicKey.verify` has looked
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            native.verify(encode_dss_signature(r, s), data, scheme)
        except InvalidSignature:
            return False
        return True

    return verify


def _sm2(parts: Mapping[str, bytes]) -> _Verifier:
    return Sm2PublicKey(parts["x"], parts["y"]).verify


def _table(*rows: Algorithm) -> Mapping[str, Algorithm]:
    return {row.name: row for row in rows}


_OCTET = {"kty": "oct", "k": None}
_RSA = {"kty": "RSA", "n": None, "e": None}

#: name → algorithm. What does not stand here is unknown and refused.
ALGORITHMS: Mapping[str, Algorithm] = _table(
    Algorithm("Ed25519", {"kty": "OKP", "crv": "Ed25519", "x": None}, AlgorithmStatus.ACTIVE, _ed25519),
    Algorithm("ES256", {"kty": "EC", "crv": "P-256", "x": None, "y": None}, AlgorithmStatus.ACTIVE, _es256),
    Algorithm("SM2-SM3", {"kty": "SM2", "x": None, "y": None}, AlgorithmStatus.ACTIVE, _sm2),
    Algorithm("ML-DSA-44", {"kty": "AKP", "pub": None}, AlgorithmStatus.NOT_AVAILABLE),
    Algorithm("none", {}, AlgorithmStatus.FORBIDDEN),
    *(Algorithm(f"HS{bits}", _OCTET, AlgorithmStatus.FORBIDDEN) for bits in (256, 384, 512)),
    *(Algorithm(f"RS{bits}", _RSA, AlgorithmStatus.FORBIDDEN) for bits in (1, 256, 384, 512)),
)


def usable(name: str) -> Algorithm:
    """Return the algorithm, if keys of it may be admitted here.

    Raises:
        UntrustedError: it is unknown, forbidden or not available.
    """
    row = ALGORITHMS.get(name)
    if row is None:
        raise UntrustedError("registry.trust.alg_unknown", field="alg", value=name[:64])
    if row.status is AlgorithmStatus.FORBIDDEN:
        raise UntrustedError("registry.trust.alg_forbidden", field="alg", value=name)
    if row.load is None or (name == sm2.ALGORITHM and not sm2.is_available()):
        raise UntrustedError("registry.trust.alg_unavailable", field="alg", value=name)
    return row


class PublicKey:
    """An admitted public key: its algorithm is its own and cannot be chosen by a message.

    Made by `admit`. Two keys are equal when algorithm and thumbprint are.
    """

    __slots__ = ("_members", "_verify", "alg", "kid")

    def __init__(self, alg: str, kid: str, members: tuple[tuple[str, str], ...], verify: _Verifier) -> None:
        self.alg = alg
        self.kid = kid
        self._members = members
        self._verify = verify

    @property
    def jwk(self) -> dict[str, str]:
        """The required members of the JWK, nothing else."""
        return dict(self._members)

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Say whether `signature` is this key's over `data`."""
        return len(signature) == SIGNATURE_BYTES and self._verify(signature, data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and (self.alg, self.kid) == (other.alg, other.kid)

    def __hash__(self) -> int:
        return hash((self.alg, self.kid))

    def __repr__(self) -> str:
        return f"PublicKey({self.alg}, {self.kid})"


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the RFC 7638 thumbprint: base64url SHA-256 of the required members in order.

    Raises:
        UntrustedError: the key type is unknown or a required member is missing.
    """
    for row in ALGORITHMS.values():
        names = sorted(row.members)
        if names and all(
            isinstance(jwk.get(name), str) and jwk[name] == (row.members[name] or jwk[name]) for name in names
        ):
            return b64u(hashlib.sha256(orjson.dumps({name: jwk[name] for name in names})).digest())
    raise UntrustedError("registry.trust.key_type", field="kty", value=str(jwk.get("kty"))[:64])


def admit(jwk: Mapping[str, Any], allowed_algs: Collection[str]) -> PublicKey:
    """Admit a public key or say why not.

    Args:
        jwk: the key; members that are not key material (`alg`, `kid`, `use`, `nbf`, `exp`) are checked where they
            say something about the key, other members are refused.
        allowed_algs: the algorithms its holder may use.

    Raises:
        UntrustedError: algorithm unknown, forbidden, unavailable or not allowed; wrong or private members; wrong
            length or spelling; off the curve; of low order; a `kid` that is not the thumbprint.
    """
    alg = _algorithm_of(jwk)
    row = usable(alg)
    if alg not in allowed_algs:
        raise UntrustedError(
            "registry.trust.alg_not_allowed", field="alg", value=alg, allowed=", ".join(sorted(allowed_algs))
        )
    for name in jwk:
        if name in _PRIVATE_MEMBERS:
            raise UntrustedError("registry.trust.key_private", field=name)
        if name not in row.members and name not in _DESCRIPTIVE_MEMBERS:
            raise UntrustedError("registry.trust.key_member", field=str(name)[:64])
    members: list[tuple[str, str]] = []
    for name, fixed in row.members.items():
        value = jwk.get(name)
        if not isinstance(value, str) or (fixed is not None and value != fixed):
            raise UntrustedError("registry.trust.key_type", field=name, value=str(value)[:64])
        members.append((name, value))
    key = _load(alg, tuple(members))
    if jwk.get("kid", key.kid) != key.kid:
        raise UntrustedError("registry.trust.key_kid", field="kid", value=str(jwk["kid"])[:64], right=key.kid)
    return key


_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_DESCRIPTIVE_MEMBERS = frozenset({"alg", "kid", "use", "nbf", "exp"})
_COORDINATE_BYTES = 32


def _algorithm_of(jwk: Mapping[str, Any]) -> str:
    stated = jwk.get("alg")
    if isinstance(stated, str):
        return stated
    if stated is None:
        for row in ALGORITHMS.values():
            fixed = {name: value for name, value in row.members.items() if value is not None}
            if fixed and all(jwk.get(name) == value for name, value in fixed.items()):
                return row.name
        raise UntrustedError("registry.trust.key_type", field="kty", value=str(jwk.get("kty"))[:64])
    raise UntrustedError("registry.trust.alg_unknown", field="alg", value=str(stated)[:64])


@lru_cache(maxsize=8192)
def _load(alg: str, members: tuple[tuple[str, str], ...]) -> PublicKey:
    row = usable(alg)
    if row.load is None:  # pragma: no cover — `usable` has refused it
        raise UntrustedError("registry.trust.alg_unavailable", field="alg", value=alg)
    parts: dict[str, bytes] = {}
    for name, value in members:
        if row.members[name] is None:
            raw = from_b64u(value)
            if raw is None:
                raise UntrustedError("registry.trust.key_encoding", field=name)
            if len(raw) != _COORDINATE_BYTES:
                raise UntrustedError(
                    "registry.trust.key_length", field=name, length=len(raw), right=_COORDINATE_BYTES
                )
            parts[name] = raw
    return PublicKey(alg, thumbprint(dict(members)), members, row.load(parts))
