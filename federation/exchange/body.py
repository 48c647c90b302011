"""Which identifiers a body speaks for, and whether its sender may.

Rules (facts on federation, (b) step 10):

- every text, and every text of an array, that stands under a member named `identifier`, `identifiers`, `subject`,
  `prefix` or `handle`, at any depth and whatever the type of the envelope, must lie within the sender's rights for
  the operation of the stream; on `control`, which needs no operation, within the names of any right;
- a name without `/` is a prefix P and stands for `0.NA/P`; what cannot be read as an identifier lies within
  nobody's rights;
- one bad identifier refuses the whole envelope;
- what merely points at somebody else's object stands under other names (`refers_to`, `counterparty` …).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from registry.errors import MalformedIdentifierError
from registry.identifier import Identifier, Prefix
from registry.trust.rights import Right, covering

__all__ = ["NAMES", "Outside", "first_outside", "identifiers", "places"]

#: Members whose texts are identifiers the sender answers for.
NAMES = frozenset({"identifier", "identifiers", "subject", "prefix", "handle"})


@dataclass(frozen=True, slots=True)
class Outside:
    """An identifier outside the sender's rights.

    Attributes:
        where: its path, for example `body.entries[3].identifier`.
        value: as it was spelled.
    """

    where: str
    value: str


def identifiers(body: Any) -> Iterator[str]:
    """Yield each text of a body that is an identifier by its place, as spelled; in no particular order."""
    waiting: list[tuple[bool, Any]] = [(False, body)]
    while waiting:
        named, item = waiting.pop()
        if isinstance(item, dict):
            for name, value in item.items():
                if name in NAMES:
                    waiting.append((True, value))
                elif isinstance(value, dict | list):
                    waiting.append((False, value))
        elif isinstance(item, list):
            if named:
                waiting += [(True, value) for value in item]
            else:
                waiting += [(False, value) for value in item if isinstance(value, dict | list)]
        elif named and isinstance(item, str):
            yield item


def places(body: Any) -> Iterator[Outside]:
    """Yield the same texts with their paths, in the order of the document; slower."""
    waiting: list[tuple[bool, str, Any]] = [(False, "body", body)]
    while waiting:
        named, path, item = waiting.pop()
        if isinstance(item, dict):
            rows = [(name in NAMES, f"{path}.{name}", value) for name, value in item.items()]
            waiting += reversed(rows)
        elif isinstance(item, list):
            rows = [(named, f"{path}[{number}]", value) for number, value in enumerate(item)]
            waiting += reversed(rows)
        elif named and isinstance(item, str):
            yield Outside(path, item)


def first_outside(
    body: Any, held: Iterable[Right], operation: str | None, more: Iterable[str] = ()
) -> Outside | None:
    """Return the first identifier that `held` does not cover.

    Args:
        body: the JSON content.
        held: the rights of the sender.
        operation: of the stream; None for `control`.
        more: identifiers the type's own handler found beside those of the shared rule.
    """
    rights = tuple(held)
    known: dict[tuple[Prefix, Prefix | None], bool] = {}
    for spelling in more:
        if not _inside(spelling, rights, operation, known):
            return Outside("body", spelling)
    if all(_inside(spelling, rights, operation, known) for spelling in identifiers(body)):
        return None
    return next(place for place in places(body) if not _inside(place.value, rights, operation, known))


def _inside(
    spelling: str,
    rights: tuple[Right, ...],
    operation: str | None,
    known: dict[tuple[Prefix, Prefix | None], bool],
) -> bool:
    try:
        identifier = Identifier.parse(spelling)
    except MalformedIdentifierError:
        return False
    # rights look at the prefix, or the prefix named, alone
    about = (identifier.prefix, identifier.named_prefix)
    inside = known.get(about)
    if inside is None:
        if operation is None:
            inside = any(right.covers(identifier) for right in rights)
        else:
            inside = covering(identifier, operation, rights)
        known[about] = inside
    return inside
