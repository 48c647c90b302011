"""How a part of a deposit is kept from everybody but the superior: this node's own format, `hazlink/escrow/v1`.

A part is one line of compact JSON, LF, and what is encrypted: the line is authenticated with it.

1. the content is compressed (zlib);
2. a fresh X25519 key for each part agrees with the superior's escrow key; HKDF-SHA256 over the shared secret (salt:
   both public keys, info: the label) gives a key that is used for this part alone;
3. AES-256-GCM with a zero nonce, which that one use allows, and the line as additional data.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from registry.errors import InvalidValueError, LimitError, MalformedError, UntrustedError
from registry.trust import strict_json
from registry.trust.claims import Claims
from registry.trust.encoding import b64u, from_b64u

__all__ = [
    "MAX_PARTS",
    "MAX_PART_BYTES",
    "MAX_PLAIN_BYTES",
    "PartHead",
    "check_recipient",
    "mapping",
    "open_part",
    "read_head",
    "read_name",
    "seal_part",
]

#: What a part may weigh on its way, and what it may weigh unpacked.
MAX_PART_BYTES = 8 * 1024 * 1024
MAX_PLAIN_BYTES = 32 * 1024 * 1024
MAX_PARTS = 1_000_000
_LABEL = b"hazlink/escrow/v1"
_MAX_LINE = 1024
_MAX_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_KEY_BYTES = 32
_NONCE = bytes(12)
_MEMBERS = {"v", "deposit", "part", "kid", "epk"}


@dataclass(frozen=True, slots=True)
class PartHead:
    """The line in front of a part.

    Attributes:
        deposit: which deposit it belongs to.
        part: 1, 2, 3 …
        kid: the escrow key it is for.
        epk: the public key made for this part.
    """

    deposit: str
    part: int
    kid: str
    epk: bytes


def seal_part(
    content: bytes, *, deposit: str, part: int, kid: str, recipient: bytes, entropy: Callable[[int], bytes]
) -> bytes:
    """Return a part.

    Args:
        content: what it holds.
        deposit: which deposit it belongs to.
        part: 1, 2, 3 …
        kid: thumbprint of the superior's escrow key.
        recipient: that key's 32 bytes.
        entropy: source of random bytes.

    Raises:
        LimitError: the content is too large for one part.
        InvalidValueError: the superior's key is not one to agree with.
    """
    if len(content) > MAX_PLAIN_BYTES:
        raise LimitError("federation.escrow.part_large", field="part", limit=MAX_PLAIN_BYTES)
    secret = X25519PrivateKey.from_private_bytes(entropy(_KEY_BYTES))
    epk = secret.public_key().public_bytes_raw()
    line = orjson.dumps({"v": 1, "deposit": deposit, "part": part, "kid": kid, "epk": b64u(epk)})
    key = _agreed(secret, recipient, epk + recipient)
    made = line + b"\n" + AESGCM(key).encrypt(_NONCE, zlib.compress(content), line)
    if len(made) > MAX_PART_BYTES:
        raise LimitError("federation.escrow.part_large", field="part", limit=MAX_PART_BYTES)
    return made


def read_head(data: Any) -> PartHead:
    """Read the line in front of a part.

    Raises:
        MalformedError: there is none, or it is not one.
        LimitError: the part is too large.
    """
    if not isinstance(data, bytes):
        raise MalformedError("federation.escrow.part", field="part")
    if len(data) > MAX_PART_BYTES:
        raise LimitError("federation.escrow.part_large", field="part", limit=MAX_PART_BYTES)
    line, end, rest = data[: _MAX_LINE + 1].partition(b"\n")
    if not end or not rest:
        raise MalformedError("federation.escrow.part", field="part")
    claims = Claims(strict_json.loads(line), at="part")
    epk = from_b64u(claims.text("epk"))
    if set(claims.content) != _MEMBERS or claims.get("v") != 1 or epk is None or len(epk) != _KEY_BYTES:
        raise MalformedError("federation.escrow.part", field="part")
    return PartHead(
        deposit=read_name(claims, "deposit"),
        part=claims.integer("part", least=1, most=MAX_PARTS),
        kid=read_name(claims, "kid"),
        epk=epk,
    )


def read_name(claims: Claims, member: str) -> str:
    """Return a member that names a deposit or a key: letters, digits, `-` and `_`.

    Raises:
        MalformedError: it is missing or something else.
    """
    name = claims.text(member, _MAX_NAME)
    if not _NAME.fullmatch(name):
        raise MalformedError("registry.trust.claim_type", field=claims.where(member), right="[A-Za-z0-9_-]")
    return name


def open_part(data: bytes, key: X25519PrivateKey) -> bytes:
    """Return the content of a part.

    Raises:
        MalformedError, LimitError: it is not one.
        UntrustedError: it was changed, or is for another key.
    """
    head = read_head(data)
    line, _, sealed = data.partition(b"\n")
    mine = key.public_key().public_bytes_raw()
    try:
        packed = AESGCM(_agreed(key, head.epk, head.epk + mine)).decrypt(_NONCE, sealed, line)
    except (InvalidTag, InvalidValueError) as error:
        raise UntrustedError("federation.escrow.part_other", field="part", part=head.part) from error
    return _unpacked(packed)


def _unpacked(packed: bytes) -> bytes:
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(packed, MAX_PLAIN_BYTES)
    except zlib.error as error:
        raise MalformedError("federation.escrow.part", field="part") from error
    if reader.unconsumed_tail:
        raise LimitError("federation.escrow.part_large", field="part", limit=MAX_PLAIN_BYTES)
    return content


def _agreed(mine: X25519PrivateKey, theirs: bytes, salt: bytes) -> bytes:
    try:
        shared = mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:
        # a public key of small order agrees to nothing
        raise InvalidValueError("federation.escrow.key", field="key") from error
    return HKDF(hashes.SHA256(), _KEY_BYTES, salt, _LABEL).derive(shared)


def check_recipient(key: bytes) -> None:
    """Refuse a public key that nobody can agree with.

    Raises:
        InvalidValueError: it is none, or of small order.
    """
    if len(key) != _KEY_BYTES:
        raise InvalidValueError("federation.escrow.key", field="key")
    _agreed(X25519PrivateKey.from_private_bytes(b"\x01" * _KEY_BYTES), key, b"")


def mapping(key: X25519PublicKey) -> Mapping[str, str]:
    """Return the JWK of a public key."""
    return {"kty": "OKP", "crv": "X25519", "x": b64u(key.public_bytes_raw())}
