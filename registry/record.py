"""Records: what stands under an identifier, in one version, under one signature."""

from dataclasses import dataclass, field
from enum import IntEnum

import orjson

from registry.identifier import Identifier
from registry.value import TOMBSTONE_INDEX, Value

__all__ = ["GENERIC", "Draft", "Record", "RecordSignature", "Status", "Tombstone"]

#: The kind of a record that came through a Handle client and names no template.
GENERIC = "generic"
#: The kind of `0.NA/<prefix>` records.
PREFIX_KIND = "prefix"


class Status(IntEnum):
    """Where a record stands in its life.

    WITHDRAWN still resolves, with a HZ_TOMBSTONE value beside its values (a business withdrawal: recalled,
    scrapped, left the company). DELETED answers "not found" with its tombstone, for ever.
    """

    ACTIVE = 0
    WITHDRAWN = 1
    DELETED = 2


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Who took a record back, when and why, and what stands in its place."""

    state: str
    by: str
    reason: str
    at: int
    replaced_by: tuple[str, ...] = ()

    def to_data(self) -> bytes:
        """Return the data of the HZ_TOMBSTONE value."""
        return orjson.dumps(
            {
                "state": self.state,
                "by": self.by,
                "reason": self.reason,
                "at": self.at,
                "replacedBy": list(self.replaced_by),
            }
        )

    @classmethod
    def from_data(cls, data: bytes) -> "Tombstone":
        """Read the data of a HZ_TOMBSTONE value."""
        content = orjson.loads(data)
        return cls(
            state=content["state"],
            by=content["by"],
            reason=content["reason"],
            at=content["at"],
            replaced_by=tuple(content["replacedBy"]),
        )


@dataclass(frozen=True, slots=True)
class RecordSignature:
    """The stored part of a record's JWS: key id and raw signatures; headers and payloads are rebuilt.

    Attributes:
        kid: RFC 7638 thumbprint of the signing key.
        issuer: prefix (folded key) that signed; the record's own, or an ancestor under a take-over.
        public: signature of the JWS over the public values.
        restricted: signature of the JWS over salted digests, when some value is not public.
        alg: the key's algorithm, which the rebuilt header must name.
    """

    kid: str
    issuer: str
    public: bytes
    restricted: bytes | None = None
    alg: str = "Ed25519"


@dataclass(frozen=True, slots=True)
class Record:
    """One version of what stands under an identifier.

    Attributes:
        identifier: in its registered spelling.
        kind: template name, for example `batch`; `generic` without a template.
        version: 1, 2, 3 … over all changes, deletion and re-registration included.
        values: ascending by index.
        modified: POSIX seconds of this version; the `iat` of its signature.
    """

    identifier: Identifier
    kind: str
    version: int
    status: Status
    values: tuple[Value, ...]
    modified: int
    signature: RecordSignature | None = None

    @property
    def tombstone(self) -> Tombstone | None:
        """The tombstone of a withdrawn or deleted record."""
        if self.status is Status.ACTIVE:
            return None
        for value in self.values:
            if value.index == TOMBSTONE_INDEX:
                return Tombstone.from_data(value.data)
        return None

    def value(self, index: int) -> Value | None:
        """Return the value at `index`."""
        return next((v for v in self.values if v.index == index), None)


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wants to register: not yet checked, signed or stored.

    Attributes:
        identifier: the spelling to register; checked by `Identifier.parse_new`.
        kind: template name; None takes it from the value at index 1000, else `generic`.
        values: values by index, Handle style. Their visibility is taken as given.
        fields: business fields by type name, as text (`{"CAS_NO": "67-64-1"}`): the template gives each its index,
            default visibility and order. `values` and `fields` may be mixed; both naming one index is an error.
    """

    identifier: str
    kind: str | None = None
    values: tuple[Value, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)
