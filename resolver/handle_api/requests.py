"""Reading what a Handle client sends: parameters and bodies.

Rules (the project's facts on identifiers, §3):

- a parameter without value is true; `index` and `type` may be repeated;
- POST carries the parameters of a GET in a JSON object;
- the body of a PUT is an array of values, an object with `values` (and a `handle` that must match), or one value;
- `data` is a bare string or `{format, value}`; an index may be written as text.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.errors import InvalidValueError, LimitError, MalformedError
from registry.identifier import Prefix, fold
from registry.structured import from_json, structure_of
from registry.trust import strict_json
from registry.value import (
    DEFAULT_PERMISSIONS,
    DEFAULT_TTL_SECONDS,
    FEDERATION,
    PRIVATE,
    PUBLIC,
    Permission,
    Scope,
    TtlType,
    Value,
    Visibility,
)

__all__ = [
    "MAX_VALUES",
    "VARIOUS",
    "GivenValue",
    "Parameters",
    "body_parameters",
    "read_values",
    "seen_version",
]

#: The wire protocol's own limit (facts §1).
MAX_VALUES = 2048
#: Stands for "whatever indexes the body has".
VARIOUS = "various"

_MAX_INDEX = (1 << 32) - 1
_MAX_TYPE_BYTES = 255
_TTL_RANGE = range(1 << 31)
_DIGITS = re.compile(r"[0-9]{1,10}")
_BITS = re.compile(r"[01]{4}")
_SHOWN_CHARACTERS = 60
_VERSION = re.compile(r'(?:W/)?"([0-9]{1,18})"')


class Parameters:
    """The parameters of one request, each possibly repeated."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._all: dict[str, list[str]] = {}
        for name, value in pairs:
            self._all.setdefault(name, []).append(value)

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def texts(self, name: str) -> tuple[str, ...]:
        """Return every value of a parameter."""
        return tuple(self._all.get(name, ()))

    def text(self, name: str) -> str | None:
        """Return the last value of a parameter."""
        return self._all.get(name, [None])[-1]

    def items(self) -> Iterable[tuple[str, list[str]]]:
        """Return all parameters."""
        return self._all.items()

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a truth value; a bare parameter is true.

        Raises:
            MalformedError: neither true nor false.
        """
        given = self.text(name)
        if given is None:
            return default
        known = {"": True, "true": True, "1": True, "false": False, "0": False}.get(given.lower())
        if known is None:
            raise MalformedError("resolver.handle_api.boolean", field=name, value=given)
        return known

    def number(self, name: str, *, default: int, low: int, high: int) -> int:
        """Return a whole number.

        Raises:
            MalformedError: no number, or out of range.
        """
        given = self.text(name)
        if given is None:
            return default
        if not _DIGITS.fullmatch(given) or not low <= int(given) <= high:
            raise MalformedError("resolver.handle_api.number", field=name, value=given, low=low, high=high)
        return int(given)

    def indexes(self, *, various: bool = False) -> frozenset[int] | None:
        """Return the indexes asked for; None for `index=various`, where that is allowed.

        Raises:
            MalformedError: an index that is none, or `various` where it does not belong.
        """
        given = self.texts("index")
        if VARIOUS in given:
            if not various:
                raise MalformedError("resolver.handle_api.various", field="index")
            return None
        return frozenset(_index(text) for text in given)


@dataclass(frozen=True, slots=True)
class GivenValue:
    """A value as a client gave it.

    Attributes:
        value: the value; its timestamp is the registry's to set.
        said: how the client said who may read it: `visibility`, `permissions`, or not at all.
    """

    value: Value
    said: str = ""


def body_parameters(body: bytes) -> Parameters:
    """Read the parameters a POST carries in its body.

    Raises:
        MalformedError: not a JSON object of simple values.
    """
    content = _json(body) if body.strip() else {}
    if not isinstance(content, dict):
        raise MalformedError("resolver.handle_api.body_parameters", field="body")
    pairs: list[tuple[str, str]] = []
    for name, given in content.items():
        for one in given if isinstance(given, list) else [given]:
            if isinstance(one, bool):
                pairs.append((name, "true" if one else "false"))
            elif isinstance(one, str | int):
                pairs.append((name, str(one)))
            else:
                raise MalformedError("resolver.handle_api.body_parameters", field=name)
    return Parameters(pairs)


def seen_version(if_match: str | None) -> int | None:
    """Read the version a writer saw, from `If-Match`; None when any will do.

    Raises:
        MalformedError: not the entity tag of an answer.
    """
    given = (if_match or "*").strip()
    if given == "*":
        return None
    match = _VERSION.fullmatch(given)
    if match is None:
        raise MalformedError("resolver.handle_api.if_match", field="If-Match", value=given)
    return int(match[1])


def read_values(body: bytes, handle: str) -> tuple[GivenValue, ...]:
    """Read the values in the body of a PUT, in the order of the body, by which refusals count them.

    Raises:
        MalformedError: not JSON, none of the three shapes, another handle in it, or an index twice.
        InvalidValueError: a member of a value is wrong.
        LimitError: too many values.
    """
    content = _json(body)
    if isinstance(content, dict) and "values" in content:
        named = content.get("handle")
        if named is not None and (not isinstance(named, str) or fold(named) != fold(handle)):
            raise MalformedError(
                "resolver.handle_api.body_handle", field="handle", value=named, handle=handle
            )
        content = content["values"]
    elif isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise MalformedError("resolver.handle_api.body", field="body")
    if len(content) > MAX_VALUES:
        raise LimitError("resolver.handle_api.many", field="values", given=len(content), limit=MAX_VALUES)
    found: dict[int, GivenValue] = {}
    for position, entry in enumerate(content):
        given = _value(entry, f"values[{position}]")
        if given.value.index in found:
            raise MalformedError(
                "resolver.handle_api.twice", field=f"values[{position}]", index=given.value.index
            )
        found[given.value.index] = given
    return tuple(found.values())


def _json(body: bytes) -> Any:
    try:
        return strict_json.loads(body)
    except MalformedError as error:
        raise MalformedError(error.code, field="body", retry_after=None, **error.params) from error


def _wrong(field: str, given: object, right: str) -> InvalidValueError:
    shown = repr(given)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    return InvalidValueError("resolver.handle_api.member", field=field, value=shown, right=right)


def _index(text: str) -> int:
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= _MAX_INDEX:
        raise MalformedError("resolver.handle_api.index", field="index", value=text)
    return int(text)


def _value(entry: Any, field: str) -> GivenValue:
    if not isinstance(entry, dict):
        raise _wrong(field, entry, "{index, type, data}")
    for name in ("index", "type", "data"):
        if name not in entry:
            raise InvalidValueError("resolver.handle_api.member_missing", field=f"{field}.{name}")
    index = entry["index"]
    if isinstance(index, str) and _DIGITS.fullmatch(index):
        index = int(index)
    if not isinstance(index, int) or isinstance(index, bool) or not 1 <= index <= _MAX_INDEX:
        raise _wrong(f"{field}.index", entry["index"], "1 … 4294967295")
    kind = entry["type"]
    if (
        not isinstance(kind, str)
        or not kind
        or len(kind.encode()) > _MAX_TYPE_BYTES
        or not kind.isprintable()
    ):
        raise _wrong(f"{field}.type", kind, f"1 … {_MAX_TYPE_BYTES} bytes of printable text")
    if fold(kind) == "HS_SECKEY":
        raise InvalidValueError("resolver.handle_api.secret", field=f"{field}.type")
    ttl, ttl_type = _ttl(entry.get("ttl", DEFAULT_TTL_SECONDS), f"{field}.ttl")
    permissions, visibility = _rights(entry, field)
    value = Value(
        index=index,
        type=kind,
        data=_data(kind, entry["data"], f"{field}.data"),
        ttl=ttl,
        ttl_type=ttl_type,
        permissions=permissions,
        references=_references(entry.get("references", ()), f"{field}.references"),
    )
    said = next((name for name in ("visibility", "permissions") if name in entry), "")
    return GivenValue(value.seen_as(visibility), said)


def _data(kind: str, given: Any, field: str) -> bytes:
    structure = structure_of(kind)
    if isinstance(given, str):
        return given.encode()
    if not isinstance(given, dict) or "format" not in given or "value" not in given:
        raise _wrong(field, given, "text or {format, value}")
    form, content = given["format"], given["value"]
    if form == structure or form in {"admin", "vlist", "site", "key"}:
        return from_json(form, content, field=f"{field}.value")
    decode: Callable[[str], bytes] | None = _DECODERS.get(form) if isinstance(form, str) else None
    if decode is None:
        raise _wrong(f"{field}.format", form, "string, base64, hex, admin, vlist, site or key")
    if not isinstance(content, str):
        raise _wrong(f"{field}.value", content, "text")
    try:
        return decode(content)
    except ValueError as error:
        raise _wrong(f"{field}.value", content, form) from error


_DECODERS: Mapping[str, Callable[[str], bytes]] = {
    "string": str.encode,
    "base64": lambda text: b64decode(text, validate=True),
    "hex": bytes.fromhex,
}


def _ttl(given: Any, field: str) -> tuple[int, TtlType]:
    if isinstance(given, int) and not isinstance(given, bool) and given in _TTL_RANGE:
        return given, TtlType.RELATIVE
    if isinstance(given, str):
        if _DIGITS.fullmatch(given) and int(given) in _TTL_RANGE:
            return int(given), TtlType.RELATIVE
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None and int(moment.timestamp()) in _TTL_RANGE:
            return int(moment.timestamp()), TtlType.ABSOLUTE
    raise _wrong(field, given, "seconds, or a time such as 2030-01-01T00:00:00Z")


def _rights(entry: Mapping[str, Any], field: str) -> tuple[int, Visibility]:
    bits = entry.get("permissions")
    permissions = DEFAULT_PERMISSIONS
    if bits is not None:
        if not isinstance(bits, str) or not _BITS.fullmatch(bits):
            raise _wrong(f"{field}.permissions", bits, "four of 0 and 1")
        permissions = int(bits, 2)
    if "visibility" in entry:
        return permissions, _visibility(entry["visibility"], f"{field}.visibility")
    return permissions, PUBLIC if permissions & Permission.PUBLIC_READ else PRIVATE


def _visibility(given: Any, field: str) -> Visibility:
    known = {"public": PUBLIC, "federation": FEDERATION, "private": PRIVATE}
    if isinstance(given, str) and given in known:
        return known[given]
    if isinstance(given, list) and given and all(isinstance(prefix, str) for prefix in given):
        return Visibility(Scope.PREFIXES, tuple(sorted({Prefix.parse(p, field=field).key for p in given})))
    raise _wrong(field, given, "public, federation, private or a list of prefixes")


def _references(given: Any, field: str) -> tuple[tuple[str, int], ...]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise _wrong(field, given, "[{handle, index}]")
    found: list[tuple[str, int]] = []
    for entry in given:
        handle, index = (entry.get("handle"), entry.get("index")) if isinstance(entry, dict) else (None, None)
        if isinstance(index, str) and _DIGITS.fullmatch(index):
            index = int(index)
        if not isinstance(handle, str) or not isinstance(index, int) or not 0 <= index <= _MAX_INDEX:
            raise _wrong(field, entry, "{handle, index}")
        found.append((handle, index))
    return tuple(found)
