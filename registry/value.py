"""Typed, indexed values: the Handle data model, its binary encoding, and who may see each value.

Source: RFC 3651 §3.1 and version 2.10 of the protocol; the project's facts file on identifiers, §2 and §4.4.
"""

import hashlib
import struct
from base64 import b64encode
from dataclasses import dataclass, replace
from enum import IntEnum

__all__ = [
    "ADMIN_INDEX",
    "DEFAULT_TTL_SECONDS",
    "PUBLIC",
    "TOMBSTONE_INDEX",
    "Scope",
    "TtlType",
    "Value",
    "Visibility",
    "digest",
    "encode_value",
    "salted_digest",
]

DEFAULT_TTL_SECONDS = 86_400
#: Receivers never keep a value longer than this (facts §2).
MAX_TTL_SECONDS = 172_800

#: Where the field's habit puts them (facts §2); 500 is this node's own choice for the tombstone.
ADMIN_INDEX = 100
GROUP_INDEX = 200
KEY_INDEX = 300
CERT_INDEX = 400
TOMBSTONE_INDEX = 500
TEMPLATE_INDEX = 1000
TEMPLATE_VERSION_INDEX = 1001
BUSINESS_INDEX = 2000

_HEAD = struct.Struct(">IIBiB")


class TtlType(IntEnum):
    """Whether `ttl` counts from the answer or is a point in time."""

    RELATIVE = 0
    ABSOLUTE = 1


class Permission(IntEnum):
    """The four permission bits of a Handle value."""

    PUBLIC_WRITE = 1
    PUBLIC_READ = 2
    ADMIN_WRITE = 4
    ADMIN_READ = 8


DEFAULT_PERMISSIONS = 0b1110
SECRET_PERMISSIONS = 0b1100


class Scope(IntEnum):
    """How far a value may be seen; the narrower, the larger the number."""

    PUBLIC = 0
    FEDERATION = 1
    PREFIXES = 2
    PRIVATE = 3


@dataclass(frozen=True, slots=True)
class Visibility:
    """Who may see a value: everybody, the federation, named prefixes (folded keys), or its owner alone."""

    scope: Scope = Scope.PUBLIC
    prefixes: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether everybody may see it."""
        return self.scope is Scope.PUBLIC


PUBLIC = Visibility()
FEDERATION = Visibility(Scope.FEDERATION)
PRIVATE = Visibility(Scope.PRIVATE)


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a record.

    Attributes:
        index: 1 … 2^32-1, unique within the record.
        type: UTF-8 type name, for example `URL`, `HS_ADMIN`, `CAS_NO`.
        data: the bytes; text is UTF-8.
        ttl: seconds to keep (`RELATIVE`) or POSIX time to forget (`ABSOLUTE`).
        timestamp: POSIX seconds of the last change, set by the registry.
        permissions: Handle bits; public-read is set exactly when `visibility` is public.
        references: `(handle, index)` pairs; the field hardly uses them.
        visibility: who may see it.
        salt: 16 random bytes of a value that is not public, so that its signed digest cannot be guessed.
    """

    index: int
    type: str
    data: bytes
    ttl: int = DEFAULT_TTL_SECONDS
    ttl_type: TtlType = TtlType.RELATIVE
    timestamp: int = 0
    permissions: int = DEFAULT_PERMISSIONS
    references: tuple[tuple[str, int], ...] = ()
    visibility: Visibility = PUBLIC
    salt: bytes = b""

    @property
    def text(self) -> str | None:
        """The data as text, or None when it is not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    def seen_as(self, visibility: Visibility) -> "Value":
        """Return this value with another visibility and the permission bit that goes with it."""
        bit = Permission.PUBLIC_READ if visibility.is_public else 0
        return replace(
            self, visibility=visibility, permissions=(self.permissions & ~Permission.PUBLIC_READ) | bit
        )

    def same_content(self, other: "Value") -> bool:
        """Compare everything an owner chooses: not the timestamp, not the salt."""
        return replace(self, timestamp=0, salt=b"") == replace(other, timestamp=0, salt=b"")


def encode_value(value: Value) -> bytes:
    """Encode a value for the wire (facts §4.4): index, timestamp, ttl, permissions, type, data, references."""
    kind = value.type.encode()
    parts = [
        _HEAD.pack(value.index, value.timestamp, value.ttl_type, value.ttl, value.permissions),
        len(kind).to_bytes(4, "big"),
        kind,
        len(value.data).to_bytes(4, "big"),
        value.data,
        len(value.references).to_bytes(4, "big"),
    ]
    for handle, index in value.references:
        spelled = handle.encode()
        parts += [len(spelled).to_bytes(4, "big"), spelled, index.to_bytes(4, "big")]
    return b"".join(parts)


def digest(value: Value) -> str:
    """Return the digest an HS_SIGNATURE carries.

    Standard base64 of SHA-256 over the encoding without its first 8 bytes (index and timestamp).
    """
    return b64encode(hashlib.sha256(encode_value(value)[8:]).digest()).decode()


def salted_digest(value: Value) -> str:
    """Return the digest of a value that is not public: as `digest`, the salt put before the encoding."""
    return b64encode(hashlib.sha256(value.salt + encode_value(value)[8:]).digest()).decode()
