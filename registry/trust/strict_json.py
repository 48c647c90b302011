"""JSON that came from somebody else, read so that two readers cannot understand it differently.

Refused: bytes that are not UTF-8, a byte order mark, a member named twice, NaN and Infinity (also by overflow),
integers beyond 2^53 - 1, lone surrogates, and nesting deeper than `max_depth`.
"""

import json
import math
import re
from typing import Any, NoReturn

from registry.errors import MalformedError

__all__ = ["MAX_DEPTH", "MAX_INTEGER", "loads"]

MAX_DEPTH = 32
#: The largest integer that every JSON reader holds exactly (RFC 7493 §2.2).
MAX_INTEGER = (1 << 53) - 1

_MAX_DIGITS = 17
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
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("registry.trust.json_utf8", position=error.start) from None
    _check_depth(data, max_depth)
    try:
        content = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedError("registry.trust.json_syntax", position=error.pos) from None
    if "\\u" in text:
        _check_surrogates(content)
    return content


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


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
