"""What every value must obey whatever its template: the limits of the Handle data model and of this node.

Checked before anything is encoded, signed or stored, so that a bad value is refused by name and never ends a batch.
Sources: the project's facts on identifiers, §1 (limits of the wire) and §2 (record and value).
"""

from collections.abc import Sequence

from registry.errors import HazlinkError, InvalidValueError, LimitError, MalformedError
from registry.identifier import HANDLE_MAX_BYTES, Prefix
from registry.value import PUBLIC, TOMBSTONE_INDEX, Permission, Scope, Value

__all__ = ["TOMBSTONE_TYPE", "aligned", "check_values"]

TOMBSTONE_TYPE = "HZ_TOMBSTONE"

MAX_VALUES = 2_048
MAX_DATA_BYTES = 65_536
#: All data of one record; leaves room for the frame in a message of 262,144 bytes.
MAX_RECORD_BYTES = 200_000
MAX_TYPE = 128
MAX_REFERENCES = 64
MAX_VISIBLE_PREFIXES = 64

_MAX_UINT32 = (1 << 32) - 1
_MAX_INT32 = (1 << 31) - 1
_MAX_PERMISSIONS = 0b1111
_SECRET = "HS_SECKEY"  # noqa: S105 — the name of a type


def check_values(values: Sequence[Value]) -> None:
    """Refuse values that cannot be kept.

    Raises:
        InvalidValueError: index, type, ttl, permissions, references or visibility out of range; a type that must not
            be stored; `field` says which.
        LimitError: too many values, or too much data.
        MalformedError: the index or type of a tombstone, which only withdrawing and deleting write.
    """
    if len(values) > MAX_VALUES:
        raise LimitError("registry.model.values", field="values", count=len(values), limit=MAX_VALUES)
    total = 0
    for position, value in enumerate(values):
        size = len(value.data)
        total += size
        if size > MAX_DATA_BYTES:
            raise LimitError(
                "registry.model.value_size",
                field=f"values[{position}].data",
                size=size,
                limit=MAX_DATA_BYTES,
            )
        _check_frame(value, position)
        if value.references or value.visibility is not PUBLIC:
            _check_rare(value, position)
    if total > MAX_RECORD_BYTES:
        raise LimitError("registry.model.record_size", field="values", size=total, limit=MAX_RECORD_BYTES)


def aligned(values: Sequence[Value]) -> tuple[Value, ...]:
    """Return the values with the public-read bit set exactly where the visibility is public."""
    return tuple(
        value
        if bool(value.permissions & Permission.PUBLIC_READ) is value.visibility.is_public
        else value.seen_as(value.visibility)
        for value in values
    )


def _check_frame(value: Value, position: int) -> None:
    kind = value.type
    if not 0 < value.index <= _MAX_UINT32:
        raise _bad("index", position, "index", value=value.index)
    if not 0 < len(kind) <= MAX_TYPE or not kind.isprintable():
        raise _bad("type", position, "type", limit=MAX_TYPE)
    if not 0 <= value.ttl <= _MAX_INT32:
        raise _bad("ttl", position, "ttl", value=value.ttl, limit=_MAX_INT32)
    if not 0 <= value.permissions <= _MAX_PERMISSIONS:
        raise _bad("permissions", position, "permissions", value=value.permissions)
    if value.index == TOMBSTONE_INDEX or kind == TOMBSTONE_TYPE:
        raise MalformedError(
            "registry.model.index_reserved", field=f"values[{position}].index", index=TOMBSTONE_INDEX
        )
    if kind.upper() == _SECRET:
        raise _bad("secret", position, "type")


def _check_rare(value: Value, position: int) -> None:
    if len(value.references) > MAX_REFERENCES:
        raise _bad("references", position, "references", limit=MAX_REFERENCES)
    for handle, index in value.references:
        size = len(handle.encode("utf-8", "surrogatepass"))
        fits = 0 <= index <= _MAX_UINT32 and 0 < size <= HANDLE_MAX_BYTES
        # surrogates and control characters are not printable either
        if not fits or not handle.isprintable():
            raise _bad("references", position, "references", limit=MAX_REFERENCES)
    scope, prefixes = value.visibility.scope, value.visibility.prefixes
    if (scope is Scope.PREFIXES) != bool(prefixes) or len(prefixes) > MAX_VISIBLE_PREFIXES:
        raise _bad("visibility", position, "visibility.prefixes", limit=MAX_VISIBLE_PREFIXES)
    for prefix in prefixes:
        try:
            folded = Prefix.parse(prefix).key
        except HazlinkError as error:
            raise _bad("prefix", position, "visibility.prefixes", value=prefix[:64]) from error
        if folded != prefix:
            raise _bad("prefix", position, "visibility.prefixes", value=prefix)


def _bad(
    name: str, position: int, member: str, *, value: object = None, limit: int | None = None
) -> InvalidValueError:
    return InvalidValueError(
        f"registry.model.{name}", field=f"values[{position}].{member}", value=value, limit=limit
    )
