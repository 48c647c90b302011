"""JSON that came from somebody else, read so that two readers cannot understand it differently.

Refused: bytes that are not UTF-8, a byte order mark, a member named twice, NaN and Infinity (also by overflow),
integers beyond 2^53 - 1, lone surrogates, and nesting deeper than `max_depth`. `loads_exact` keeps numbers as
decimals with the digits as written, and refuses those with more digits than decimal arithmetic carries instead.
"""

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson

from registry.errors import MalformedError

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "MAX_EXPONENT", "MAX_INTEGER", "loads", "loads_exact"]

MAX_DEPTH = 32
#: The largest integer that every JSON reader holds exactly (RFC 7493 §2.2).
MAX_INTEGER = (1 << 53) - 1

#: What a decimal number may have: the digits of IEEE 754 decimal128, the range of its binary64.
MAX_DIGITS = 34
MAX_EXPONENT = 308

_MAX_DIGITS = 17
_BEYOND = Decimal("1E999")
#: Strings are skipped whole, so that brackets inside them do not count. A string without an end is skipped to the end
#: of the text, possessively: no input is looked at twice.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def loads(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read one JSON document.

    Args:
        data: the bytes as received.
        max_depth: how many arrays and objects may stand inside one another.

    Raises:
        MalformedError: it is not JSON, or breaks one of this module's rules.
    """
    text = _text(data, max_depth)
    plain = _as_written(data)
    if plain is not _OTHER:
        return plain
    return _decoded(text, _DECODER.decode)


def loads_exact(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read one JSON document, every number as a `Decimal` with the digits as written.

    Args:
        data: the bytes as received.
        max_depth: how many arrays and objects may stand inside one another.

    Raises:
        MalformedError: it is not JSON, or breaks one of this module's rules; or a number has more than `MAX_DIGITS`
            digits or an exponent beyond `MAX_EXPONENT`.
    """
    return _decoded(_text(data, max_depth), _EXACT_DECODER.decode)


def _text(data: bytes, max_depth: int) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("registry.trust.json_utf8", position=error.start) from None
    _check_depth(data, max_depth)
    return text


def _decoded(text: str, decode: Callable[[str], Any]) -> Any:
    try:
        content = decode(text)
    except json.JSONDecodeError as error:
        raise MalformedError("registry.trust.json_syntax", position=error.pos) from None
    if "\\u" in text:
        _check_surrogates(content)
    return content


def _as_written(data: bytes) -> Any:
    """Return the content of a document that is spelled the one way a plain writer spells it; `_OTHER` for any else.

    Nearly every token is, and is read here several times faster. What was written again from the content is the same,
    byte by byte: so nothing in it was passed over, no member stood twice, and no number came out as another; and the
    writer has no word for NaN, Infinity, lone surrogates and integers beyond 2^53 - 1.
    """
    try:
        content = orjson.loads(data)
        return content if orjson.dumps(content, option=orjson.OPT_STRICT_INTEGER) == data else _OTHER
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _OTHER


def _check_depth(data: bytes, max_depth: int) -> None:
    if data.count(b"[") + data.count(b"{") <= max_depth:
        return
    depth = 0
    for found in _STRUCTURE.finditer(data):
        mark = found[0]
        if mark in (b"[", b"{"):
            depth += 1
            if depth > max_depth:
                raise MalformedError("registry.trust.json_depth", limit=max_depth)
        elif mark in (b"]", b"}"):
            depth -= 1


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise MalformedError("registry.trust.json_duplicate", name=name[:64])
            seen.add(name)
    return made


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or abs(int(digits)) > MAX_INTEGER:
        raise MalformedError("registry.trust.json_integer", limit=MAX_INTEGER)
    return int(digits)


def _number(digits: str) -> float:
    made = float(digits)
    if not math.isfinite(made):
        _constant(digits)
    return made


def _decimal(digits: str) -> Decimal:
    if len(digits) <= MAX_DIGITS and digits.isdecimal():
        return Decimal(digits)
    try:
        made = Decimal(digits)
    except InvalidOperation:
        made = _BEYOND
    if len(made.as_tuple().digits) > MAX_DIGITS or abs(made.adjusted()) > MAX_EXPONENT:
        raise MalformedError(
            "registry.trust.json_decimal", value=digits[:32], digits=MAX_DIGITS, exponent=MAX_EXPONENT
        )
    return made


def _constant(name: str) -> NoReturn:
    raise MalformedError("registry.trust.json_number", value=name[:32])


def _check_surrogates(content: Any) -> None:
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError:
                raise MalformedError("registry.trust.json_surrogate") from None


_OTHER = object()
_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
_EXACT_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_decimal, parse_float=_decimal, parse_constant=_constant
)
