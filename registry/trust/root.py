"""The root document: the keys everything hangs on, and how they are replaced without trusting anybody new.

Rules (facts on federation, (a) "Root"):

- one payload under n signatures (JWS general JSON), valid with at least `threshold` of its own keys;
- a key counts once, by its thumbprint; a wrong signature under a known key refuses the whole document;
- the successor of version N is exactly N + 1, signed by enough keys of N *and* by enough of its own;
- versions between may have expired, the last must be fresh;
- what is pinned is the fingerprint of version 1: base64url SHA-256 of its payload bytes.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from registry.errors import InvalidValueError, LimitError, MalformedError, UntrustedError
from registry.trust import jws, strict_json
from registry.trust.algorithms import PublicKey, admit
from registry.trust.claims import Claims
from registry.trust.encoding import b64u
from registry.trust.keys import Signer
from registry.trust.refusal import as_kind, as_untrusted

__all__ = [
    "ROOT_TYPE",
    "Anchor",
    "RootDocument",
    "draft_root",
    "fingerprint",
    "make_root",
    "pin",
    "read_draft",
    "read_root",
    "walk",
]

ROOT_TYPE = "hz-root+jws"
_MAX_BYTES = 65_536
_MAX_KEYS = 32


@dataclass(frozen=True, slots=True)
class RootDocument:
    """One version of the root, found to be signed by enough of its own keys.

    Attributes:
        ver: 1, 2, 3 … without a gap.
        keys: thumbprint → key, in the order of the document.
        threshold: how many of them must sign.
        algs: algorithms allowed to the top prefix.
        text: as received.
        payload: the signed bytes.
    """

    ver: int
    iat: int
    exp: int
    keys: Mapping[str, PublicKey] = field(hash=False)
    threshold: int
    algs: tuple[str, ...]
    text: str
    payload: bytes

    def key(self, kid: str) -> PublicKey | None:
        """Return the key with this thumbprint."""
        return self.keys.get(kid)

    def require_fresh(self, now: float) -> None:
        """Refuse a root that has expired.

        Raises:
            UntrustedError: it has.
        """
        if now > self.exp:
            raise UntrustedError("registry.trust.root_expired", field="exp", ver=self.ver, exp=self.exp)


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a node trusts without being told: the newest root, reached from the pinned fingerprint.

    Attributes:
        root: the newest version known.
        fingerprint: of version 1.

    Raises:
        UntrustedError: `root` is version 1 and has another fingerprint.
    """

    root: RootDocument
    fingerprint: str

    def __post_init__(self) -> None:
        if self.root.ver == 1 and fingerprint(self.root) != self.fingerprint:
            raise UntrustedError(
                "registry.trust.fingerprint",
                field="fingerprint",
                value=fingerprint(self.root),
                right=self.fingerprint[:64],
            )

    def advance(self, text: str) -> "Anchor":
        """Return the anchor that stands on the next version of the root; store it before using it.

        Raises:
            UntrustedError: it is not the next version, or not signed by enough keys of this one.
        """
        following = read_root(text)
        if following.ver != self.root.ver + 1:
            raise UntrustedError(
                "registry.trust.root_version", field="ver", value=following.ver, right=self.root.ver + 1
            )
        with as_untrusted():
            signatures = _signatures(text)
        _require_threshold(signatures, self.root.keys, self.root.threshold, self.root.ver)
        return Anchor(root=following, fingerprint=self.fingerprint)


def fingerprint(root: RootDocument) -> str:
    """Return the base64url SHA-256 of the root's payload."""
    return b64u(hashlib.sha256(root.payload).digest())


def make_root(
    signers: Sequence[Signer],
    threshold: int,
    *,
    algs: Collection[str],
    iat: int,
    exp: int,
    ver: int = 1,
    keys: Sequence[Signer | PublicKey] | None = None,
) -> str:
    """Sign a version of the root.

    Args:
        signers: everybody who signs: enough of the new keys, and for a successor enough of the old ones.
        threshold: how many of `keys` must sign this version and its successor.
        algs: algorithms allowed to the keys and to the top prefix.
        iat: POSIX seconds.
        exp: POSIX seconds.
        ver: 1 for the first, one more for each successor.
        keys: the keys of this version; None: those of `signers`.

    Raises:
        InvalidValueError: a reader would refuse it; the reason is the reader's.
    """
    payload = draft_root(signers if keys is None else keys, threshold, algs=algs, iat=iat, exp=exp, ver=ver)
    try:
        text = jws.sign_general(signers, ROOT_TYPE, payload)
        read_root(text)
    except UntrustedError as error:
        raise as_kind(error, InvalidValueError) from error
    return text


def draft_root(
    keys: Sequence[Signer | PublicKey], threshold: int, *, algs: Collection[str], iat: int, exp: int, ver: int
) -> bytes:
    """Return the payload of a version of the root for others to sign; the arguments are those of `make_root`."""
    return orjson.dumps(
        {
            "type": "root",
            "ver": ver,
            "iat": iat,
            "exp": exp,
            "keys": {key.kid: {**key.jwk, "alg": key.alg} for key in keys},
            "threshold": threshold,
            "algs": list(algs),
        }
    )


def read_draft(payload: bytes) -> RootDocument:
    """Read a payload that is not signed enough yet; it vouches for nothing.

    Raises:
        UntrustedError: it breaks the syntax.
    """
    with as_untrusted():
        content = strict_json.loads(payload)
        if not isinstance(content, dict):
            raise MalformedError("registry.trust.jws_payload", field="payload")
        return _from_claims(content, "", payload)


def read_root(text: str) -> RootDocument:
    """Read a root and verify it against itself; whether it is *the* root, only an `Anchor` says.

    Raises:
        UntrustedError: it breaks the syntax, or fewer of its own keys signed than its threshold.
    """
    with as_untrusted():
        signatures = _signatures(text)
        root = _from_claims(signatures[0].claims(), text, signatures[0].payload)
    _require_threshold(signatures, root.keys, root.threshold, root.ver)
    return root


def pin(texts: Sequence[str], expected: str, *, now: float) -> Anchor:
    """Return the anchor for a pinned fingerprint, given every version of the root from the first on.

    Raises:
        UntrustedError: there is none; the first is not version 1 with this fingerprint; a successor is not signed
            by its predecessor; the last has expired.
    """
    if not texts:
        raise UntrustedError("registry.trust.root_missing", field="root")
    first = read_root(texts[0])
    if first.ver != 1:
        raise UntrustedError("registry.trust.root_version", field="ver", value=first.ver, right=1)
    return walk(Anchor(root=first, fingerprint=expected), texts[1:], now=now)


def walk(anchor: Anchor, texts: Sequence[str], *, now: float) -> Anchor:
    """Return the anchor after its successors, in order; those between may have expired, the last must not.

    Raises:
        UntrustedError: as `Anchor.advance`, or the last has expired.
    """
    for text in texts:
        anchor = anchor.advance(text)
    anchor.root.require_fresh(now)
    return anchor


def _signatures(text: str) -> tuple[jws.Parsed, ...]:
    return jws.parse_general(text, typ=ROOT_TYPE, max_bytes=_MAX_BYTES)


def _from_claims(content: dict[str, Any], text: str, payload: bytes) -> RootDocument:
    claims = Claims(content)
    if claims.text("type") != "root":
        raise MalformedError("registry.trust.claim_type", field="type", right="root")
    algs = tuple(claims.texts("algs", most=16))
    rows = claims.object("keys")
    if len(rows) > _MAX_KEYS:
        raise LimitError("registry.trust.root_keys", field="keys", count=len(rows), limit=_MAX_KEYS)
    keys: dict[str, PublicKey] = {}
    for kid in rows:
        key = admit(Claims(rows).object(kid), algs)
        if key.kid != kid:
            raise UntrustedError(
                "registry.trust.key_kid", field=f"keys.{kid[:64]}", value=kid[:64], right=key.kid
            )
        keys[kid] = key
    iat, exp = claims.integer("iat"), claims.integer("exp")
    if exp <= iat:
        raise MalformedError("registry.trust.life_empty", field="exp", nbf=iat, exp=exp)
    return RootDocument(
        ver=claims.integer("ver", least=1),
        iat=iat,
        exp=exp,
        keys=keys,
        threshold=claims.integer("threshold", least=1, most=max(len(keys), 1)),
        algs=algs,
        text=text,
        payload=payload,
    )


def _require_threshold(
    signatures: Sequence[jws.Parsed], keys: Mapping[str, PublicKey], threshold: int, ver: int
) -> None:
    """Count the different keys that signed; a key of somebody else is not looked at."""
    counted: set[str] = set()
    for parsed in signatures:
        key = keys.get(parsed.kid)
        if key is not None:
            jws.verify(parsed, key)
            counted.add(key.kid)
    if len(counted) < threshold:
        raise UntrustedError(
            "registry.trust.root_threshold",
            field="signatures",
            ver=ver,
            count=len(counted),
            threshold=threshold,
        )
