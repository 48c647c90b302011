"""The search table: one row for each value by which a record is found."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select

from registry.globs import Glob
from registry.identifier import Identifier, Prefix
from registry.storage.tables import search

__all__ = ["SEARCH_LENGTH", "Candidate", "Pairs", "find", "move_rows"]

#: Characters of a value that the search table keeps.
SEARCH_LENGTH = 255

#: Folded `(type, value)` pairs of one record.
Pairs = frozenset[tuple[str, str]]

_INSERT = insert(search)
_DELETE = delete(search).where(
    *(column == bindparam(f"old_{column.name}") for column in search.primary_key.columns)
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What to look for: a folded type and a pattern."""

    type: str
    glob: Glob


def find(
    connection: Connection, prefix: Prefix, candidate: Candidate, *, after: str | None, limit: int
) -> list[str]:
    """Return suffixes, ascending, whose rows may match; the caller looks at the records."""
    value = search.c.value
    glob = candidate.glob
    literal, beyond = glob.literal[:SEARCH_LENGTH], glob.beyond(SEARCH_LENGTH)
    asked = (
        select(search.c.suffix)
        .distinct()
        .where(search.c.prefix == prefix.key, search.c.type == candidate.type)
        # a cut value may match beyond the cut
        .where(or_(value.like(glob.like, escape="\\"), func.length(value) >= SEARCH_LENGTH))
        .order_by(search.c.suffix)
        .limit(limit)
    )
    if literal:
        # said apart from LIKE: PostgreSQL and SQLite both go to the index by it
        asked = asked.where(value >= literal)
        if beyond is not None:
            asked = asked.where(value < beyond)
    if after is not None:
        asked = asked.where(search.c.suffix > after)
    return list(connection.execute(asked).scalars())


def move_rows(connection: Connection, moves: Iterable[tuple[Identifier, Pairs, Pairs]]) -> None:
    """Remove and add rows: for each record the pairs that no longer hold, and the new ones.

    Rows are removed by their whole key: an index by record alone would double what a row costs.
    """
    stale: list[dict[str, str]] = []
    fresh: list[dict[str, str]] = []
    for identifier, gone, come in moves:
        prefix, suffix = identifier.prefix.key, identifier.suffix_key
        stale += (
            {"old_prefix": prefix, "old_suffix": suffix, "old_type": kind, "old_value": value}
            for kind, value in gone
        )
        fresh += ({"prefix": prefix, "suffix": suffix, "type": kind, "value": value} for kind, value in come)
    if stale:
        connection.execute(_DELETE, stale)
    if fresh:
        connection.execute(_INSERT, fresh)
