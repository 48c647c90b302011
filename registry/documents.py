"""A record's values as one compact document, and a whole record as JSON data.

The document is a JSON array with one array per value:

    [index, type, data, ttl, permissions, timestamp, more]

Data that is not UTF-8 stands as {"b": base64}. Trailing members at their default are left out: ttl 86,400 s,
permissions 1110, the record's own time as timestamp. `more` holds what few values have: references, an absolute ttl,
visibility, salt.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from registry.record import Record
from registry.value import (
    DEFAULT_PERMISSIONS,
    DEFAULT_TTL_SECONDS,
    PUBLIC,
    Scope,
    TtlType,
    Value,
    Visibility,
)

__all__ = ["pack", "to_form", "unpack"]

_DEFAULTS = (DEFAULT_TTL_SECONDS, DEFAULT_PERMISSIONS)
_FULL = 7


def pack(values: Iterable[Value], modified: int) -> bytes:
    """Return the document of `values`; `modified` is the record's own time."""
    return orjson.dumps([_pack(value, modified) for value in values])


def unpack(document: bytes, modified: int) -> tuple[Value, ...]:
    """Return the values of a document."""
    return tuple(_unpack(row, modified) for row in orjson.loads(document))


def to_form(record: Record) -> dict[str, Any]:
    """Return a record as JSON data for people and files; private values and salts included."""
    return {
        "identifier": record.identifier.text,
        "kind": record.kind,
        "version": record.version,
        "status": record.status.name.lower(),
        "modified": record.modified,
        "values": [_pack(value, record.modified) for value in record.values],
    }


def _pack(value: Value, modified: int) -> list[Any]:
    try:
        data: object = value.data.decode()
    except UnicodeDecodeError:
        data = {"b": b64encode(value.data).decode()}
    row: list[Any] = [value.index, value.type, data, value.ttl, value.permissions, value.timestamp]
    more = _more(value)
    if more:
        return [*row, more]
    if value.timestamp == modified:
        row.pop()
        for default in reversed(_DEFAULTS):
            if row[-1] != default:
                break
            row.pop()
    return row


def _more(value: Value) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if value.references:
        more["r"] = [list(reference) for reference in value.references]
    if value.ttl_type is TtlType.ABSOLUTE:
        more["a"] = 1
    if not value.visibility.is_public:
        more["v"] = [int(value.visibility.scope), *value.visibility.prefixes]
    if value.salt:
        more["s"] = b64encode(value.salt).decode()
    return more


def _unpack(row: list[Any], modified: int) -> Value:
    size = len(row)
    data = row[2]
    raw = data.encode() if isinstance(data, str) else b64decode(data["b"])
    ttl = row[3] if size > 3 else DEFAULT_TTL_SECONDS  # noqa: PLR2004 — position in the row
    permissions = row[4] if size > 4 else DEFAULT_PERMISSIONS  # noqa: PLR2004 — position in the row
    timestamp = row[5] if size > 5 else modified  # noqa: PLR2004 — position in the row
    if size < _FULL:
        return Value(row[0], row[1], raw, ttl, TtlType.RELATIVE, timestamp, permissions)
    more: Mapping[str, Any] = row[6]
    scope = more.get("v")
    return Value(
        index=row[0],
        type=row[1],
        data=raw,
        ttl=ttl,
        ttl_type=TtlType.ABSOLUTE if "a" in more else TtlType.RELATIVE,
        timestamp=timestamp,
        permissions=permissions,
        references=tuple((handle, index) for handle, index in more.get("r", ())),
        visibility=Visibility(Scope(scope[0]), tuple(scope[1:])) if scope else PUBLIC,
        salt=b64decode(more["s"]) if "s" in more else b"",
    )
