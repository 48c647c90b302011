"""The signed manifest of a deposit: what it holds, so that a file of it stands on its own.

`hz-escrow+jws` by the prefix: `{iss, aud, deposit, rev, kind, base, watermark, parts, records, sha256, kid, iat}`.
`sha256` chains the digests of the parts as they were sent: c(0) = 32 zero bytes, c(n) = SHA-256(c(n-1) || SHA-256 of
part n). A `DIFF` holds what changed between the watermark of revision `base` and its own.
"""

import hashlib
from dataclasses import dataclass

import orjson

from federation.escrow.cipher import MAX_PARTS, read_name
from registry.errors import HazlinkError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.chain import VerifiedChain
from registry.trust.claims import Claims
from registry.trust.encoding import b64u, from_b64u
from registry.trust.keys import Signer
from registry.trust.refusal import as_untrusted

__all__ = [
    "DIFF",
    "EMPTY",
    "FULL",
    "MANIFEST_TYPE",
    "Manifest",
    "chained",
    "deposit_of",
    "read_manifest",
    "sign_manifest",
]

MANIFEST_TYPE = "hz-escrow+jws"
FULL = "FULL"
DIFF = "DIFF"
#: The digest before the first part.
EMPTY = bytes(32)
_ISSUER_INDEX = 300


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a deposit is.

    Attributes:
        owner: whose it is.
        receiver: the superior it was made for.
        deposit: its name.
        rev: 1, 2, 3 … over all deposits of the owner.
        kind: `FULL` or `DIFF`.
        base: the revision a DIFF stands on; 0 for a FULL.
        watermark: position of the owner's change table up to which it goes.
        records: how many records it holds.
        sha256: over the parts.
        kid: the superior's key it is encrypted to.
        iat: POSIX seconds.
    """

    owner: Prefix
    receiver: Prefix
    deposit: str
    rev: int
    kind: str
    base: int
    watermark: int
    parts: int
    records: int
    sha256: bytes
    kid: str
    iat: int


def chained(before: bytes, part: bytes) -> bytes:
    """Return the digest over the parts so far and one more."""
    return hashlib.sha256(before + hashlib.sha256(part).digest()).digest()


def sign_manifest(signer: Signer, made: Manifest) -> str:
    """Return the manifest as a token."""
    claims = {
        "iss": f"{_ISSUER_INDEX}:{made.owner.handle.text}",
        "aud": made.receiver.handle.text,
        "deposit": made.deposit,
        "rev": made.rev,
        "kind": made.kind,
        "base": made.base,
        "watermark": made.watermark,
        "parts": made.parts,
        "records": made.records,
        "sha256": b64u(made.sha256),
        "kid": made.kid,
        "iat": made.iat,
    }
    return jws.sign(signer, MANIFEST_TYPE, orjson.dumps(claims))


def deposit_of(token: str) -> str | None:
    """Return which deposit an own manifest is of, unverified; None when it cannot be read."""
    try:
        return read_name(Claims(jws.parse(token, typ=MANIFEST_TYPE).claims(), at="manifest"), "deposit")
    except HazlinkError:
        return None


def read_manifest(token: str, chain: VerifiedChain) -> Manifest:
    """Read and verify a manifest under the chain of the prefix that signed it.

    Raises:
        UntrustedError: it cannot be read, is signed by another key, or by a key that was not in use then.
    """
    with as_untrusted():
        parsed = jws.parse(token, typ=MANIFEST_TYPE)
        claims = Claims(parsed.claims(), at="manifest")
        jws.verify(parsed, chain.signing_key(parsed.kid, claims.integer("iat")))
        owner, receiver = claims.reference("iss", _ISSUER_INDEX), claims.prefix("aud")
        digest = from_b64u(claims.text("sha256"))
        kind = claims.text("kind")
        if receiver is None or digest is None or len(digest) != len(EMPTY) or kind not in (FULL, DIFF):
            raise MalformedError("federation.escrow.manifest", field="manifest")
        if owner != chain.subject:
            raise UntrustedError("federation.escrow.manifest", field="manifest.iss")
        return Manifest(
            owner=chain.subject,
            receiver=receiver,
            deposit=read_name(claims, "deposit"),
            rev=claims.integer("rev", least=1),
            kind=kind,
            base=claims.integer("base"),
            watermark=claims.integer("watermark"),
            parts=claims.integer("parts", least=1, most=MAX_PARTS),
            records=claims.integer("records"),
            sha256=digest,
            kid=read_name(claims, "kid"),
            iat=claims.integer("iat"),
        )
