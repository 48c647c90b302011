"""One row of an import file → a draft. No I/O.

Two shapes are read:

- a flat row, as a CSV line or a JSON object gives it: `identifier`, `kind`, then type names with their texts;
- a JSON object with `fields` and `values` beside `identifier` and `kind`; a value is
  `{"index": 1, "type": "URL", "data": "https://…", "ttl": 86400, "visibility": "federation"}`, its data a text or
  `{"format": "string" | "base64" | "hex" | …, "value": …}` as in the Handle API, its visibility `public`,
  `federation`, `private` or a list of prefixes.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from registry.errors import HazlinkError, MalformedError
from registry.identifier import Prefix
from registry.record import Draft
from registry.structured import from_json
from registry.value import DEFAULT_TTL_SECONDS, FEDERATION, PRIVATE, PUBLIC, Scope, Value, Visibility

__all__ = ["Mapped", "PlainRows", "RowMapping"]

_SEPARATOR = ";"
_SCOPES = {"public": PUBLIC, "federation": FEDERATION, "private": PRIVATE}
_VALUE_KEYS = frozenset({"index", "type", "data", "ttl", "visibility"})
_MAX_TTL = (1 << 31) - 1
_MAX_INDEX = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a row became: a draft, and remarks that do not keep it from being imported."""

    draft: Draft
    warnings: tuple[HazlinkError, ...] = ()


class RowMapping(Protocol):
    """Turns one row into a draft. Called for every row of a file in order, also for those an earlier run finished.

    Consistency: may remember earlier rows of the same run. Durability: none. Concurrency: one task. Errors:
    HazlinkError for a row that cannot be understood; it is reported and the rest goes on.
    """

    @property
    def key(self) -> str:
        """The mapping and its options in one text; an interrupted run goes on only under the same one."""
        ...

    def draft(self, row: Mapping[str, Any]) -> Mapped:
        """Return the draft of a row."""
        ...


class PlainRows:
    """The mapping for files that already speak of identifiers, kinds and types."""

    @property
    def key(self) -> str:
        """The name of the mapping."""
        return "plain"

    def draft(self, row: Mapping[str, Any]) -> Mapped:
        """Return the draft of a row.

        Raises:
            MalformedError: no identifier, a member of the wrong sort, or both flat fields and `fields`.
        """
        identifier = row.get("identifier")
        if not isinstance(identifier, str) or not identifier:
            raise MalformedError("registry.importing.identifier", field="identifier")
        kind = row.get("kind")
        if kind is not None and not isinstance(kind, str):
            raise MalformedError("registry.importing.kind", field="kind", value=kind)
        flat = {name: content for name, content in row.items() if name not in _MEMBERS}
        nested = _or(row.get("fields"), {})
        if not isinstance(nested, Mapping):
            raise MalformedError("registry.importing.object", field="fields")
        if flat and nested:
            raise MalformedError("registry.importing.mixed", field=next(iter(flat)))
        values = _or(row.get("values"), ())
        if not isinstance(values, list | tuple):
            raise MalformedError("registry.importing.list", field="values")
        return Mapped(
            Draft(
                identifier=identifier,
                kind=kind or None,
                values=tuple(_value(v, f"values[{n}]") for n, v in enumerate(values)),
                fields=_fields(flat or nested),
            )
        )


_MEMBERS = frozenset({"identifier", "kind", "fields", "values"})


def _or(given: Any, absent: Any) -> Any:
    return absent if given is None else given


def _fields(given: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: _text(content, f"fields.{name}") for name, content in given.items()}
    return {name: text for name, text in texts.items() if text is not None}


def _text(content: Any, path: str) -> str | None:
    """Return a member as text; None and empty text mean that the field is not there."""
    match content:
        case None | "":
            return None
        case bool():
            return "true" if content else "false"
        case str():
            return content
        case int() | Decimal():
            return str(content)
        case list() if all(isinstance(one, str) for one in content):
            return _SEPARATOR.join(content) or None
    raise MalformedError("registry.importing.field_text", field=path)


def _value(given: Any, path: str) -> Value:
    if not isinstance(given, Mapping):
        raise MalformedError("registry.importing.object", field=path)
    if odd := sorted(set(given) - _VALUE_KEYS):
        raise MalformedError(
            "registry.importing.value_key", field=f"{path}.{odd[0]}", known=", ".join(sorted(_VALUE_KEYS))
        )
    kind = given.get("type")
    if not isinstance(kind, str) or not kind:
        raise MalformedError("registry.importing.value_type", field=f"{path}.type")
    value = Value(
        index=_number(given.get("index"), f"{path}.index", least=1, most=_MAX_INDEX),
        type=kind,
        data=_data(given.get("data"), f"{path}.data"),
        ttl=_number(given.get("ttl", DEFAULT_TTL_SECONDS), f"{path}.ttl", least=0, most=_MAX_TTL),
    )
    return value.seen_as(_visibility(given.get("visibility", "public"), f"{path}.visibility"))


def _number(given: Any, path: str, *, least: int, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise MalformedError("registry.importing.number", field=path, least=least, most=most)
    return given


def _data(given: Any, path: str) -> bytes:
    match given:
        case str():
            return _utf8(given, path)
        case {"format": "string", "value": str(text)}:
            return _utf8(text, path)
        case {"format": "base64", "value": str(text)}:
            return _decoded(text, path, base64=True)
        case {"format": "hex", "value": str(text)}:
            return _decoded(text, path, base64=False)
        case {"format": "admin" | "vlist" | "site" | "key" as structure, "value": content}:
            return from_json(structure, content, field=f"{path}.value")
    raise MalformedError("registry.importing.value_data", field=path)


def _utf8(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MalformedError("registry.importing.value_data", field=path) from None


def _decoded(text: str, path: str, *, base64: bool) -> bytes:
    try:
        return b64decode(text, validate=True) if base64 else bytes.fromhex(text)
    except (binascii.Error, ValueError):
        raise MalformedError("registry.importing.value_data", field=path) from None


def _visibility(given: Any, path: str) -> Visibility:
    if isinstance(given, str) and given in _SCOPES:
        return _SCOPES[given]
    if isinstance(given, Sequence) and not isinstance(given, str) and given:
        return Visibility(
            Scope.PREFIXES, tuple(Prefix.parse(str(p), field=f"{path}[{n}]").key for n, p in enumerate(given))
        )
    raise MalformedError("registry.importing.visibility", field=path)
