"""The books and the names in them.

Every table of the flow rooms has the book first in its key: a book is one homed prefix. URIs are long and come back
in every line and edge, so each stands once, under a number of its book; numbers are never used again. A book is
written by one transaction at a time: whoever writes locks its row first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    insert,
    select,
    update,
)

from registry.storage.bulk import Insert
from registry.storage.engine import metadata

__all__ = [
    "LOOKUP",
    "Book",
    "Names",
    "chunks",
    "flow_book",
    "flow_name",
    "key",
    "lock_book",
    "open_book",
    "save_book",
]

#: Values in one IN list.
LOOKUP = 500
#: The lock under which books are made on PostgreSQL: any number that nothing else in the database uses.
_MAKING = 8_801_072
_T = TypeVar("_T")


def key(length: int) -> String:
    """Return text that is compared byte by byte on both databases."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


#: One homed prefix, and the numbers that come next in its book.
flow_book = Table(
    "flow_book",
    metadata,
    Column("book", Integer, primary_key=True, autoincrement=False),
    Column("prefix", key(64), nullable=False),
    Column("next_name", BigInteger, nullable=False),
    Column("next_event", BigInteger, nullable=False),
    Column("next_line", BigInteger, nullable=False),
    Column("next_capture", BigInteger, nullable=False),
    Index("uq_flow_book_prefix", "prefix", unique=True),
)

#: Names of lots, instances, places, parties, documents and runs. `run` 1: a run, whose name may also be a lot's.
flow_name = Table(
    "flow_name",
    metadata,
    Column("book", Integer, nullable=False),
    Column("id", BigInteger, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("name", key(1000), nullable=False),
    PrimaryKeyConstraint("book", "id"),
    Index("uq_flow_name_name", "book", "name", "run", unique=True),
    sqlite_with_rowid=False,
)

_INSERT = Insert(flow_name)


@dataclass(slots=True)
class Book:
    """A book whose row is locked, and the numbers it has given out."""

    number: int
    prefix: str
    next_name: int
    next_event: int
    next_line: int
    next_capture: int


def chunks(items: Iterable[_T], size: int = LOOKUP) -> Iterator[list[_T]]:
    """Cut items into lists of at most `size`."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def open_book(connection: Connection, prefix: str) -> int | None:
    """Return the number of a prefix's book; None when nothing was ever written to it."""
    found = connection.execute(select(flow_book.c.book).where(flow_book.c.prefix == prefix)).scalar()
    return None if found is None else int(found)


def lock_book(connection: Connection, prefix: str) -> Book:
    """Lock a prefix's book for this transaction; it is made when it is missing."""
    wanted = select(flow_book).where(flow_book.c.prefix == prefix).with_for_update()
    row = connection.execute(wanted).first()
    if row is None:
        if connection.dialect.name == "postgresql":
            # those who make a book take turns, and nobody who holds one waits for them
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MAKING})")
            row = connection.execute(wanted).first()
        if row is None:
            last = connection.execute(
                select(flow_book.c.book).order_by(flow_book.c.book.desc()).limit(1)
            ).scalar()
            made = Book((last or 0) + 1, prefix, 1, 1, 1, 1)
            connection.execute(insert(flow_book).values(_row(made)))
            return made
    return Book(row.book, row.prefix, row.next_name, row.next_event, row.next_line, row.next_capture)


def save_book(connection: Connection, book: Book) -> None:
    """Write down which numbers a locked book has given out."""
    connection.execute(update(flow_book).where(flow_book.c.book == book.number).values(_row(book)))


class Names:
    """Numbers for names, and back, inside somebody else's transaction."""

    def __init__(self, connection: Connection, book: int) -> None:
        self._connection = connection
        self._book = book
        self._numbers: dict[tuple[str, int], int] = {("", 0): 0}

    def known(self, names: Iterable[str], *, run: bool = False) -> dict[str, int]:
        """Return the numbers of those names that have one; the empty name is 0."""
        kind = int(run)
        numbers = self._numbers
        missing = sorted({name for name in names if (name, kind) not in numbers})
        for part in chunks(missing):
            asked = select(flow_name.c.name, flow_name.c.id).where(
                flow_name.c.book == self._book, flow_name.c.name.in_(part), flow_name.c.run == kind
            )
            numbers.update({(name, kind): number for name, number in self._connection.execute(asked)})
        return {name: numbers[name, kind] for name in names if (name, kind) in numbers}

    def give(self, book: Book, names: Iterable[str], *, run: bool = False) -> Mapping[str, int]:
        """Return the number of every name; a new one gets the next of the locked book."""
        wanted = set(names)
        found = self.known(wanted, run=run)
        kind = int(run)
        new = sorted(wanted - found.keys())
        rows = []
        for name in new:
            rows.append({"book": self._book, "id": book.next_name, "run": kind, "name": name})
            self._numbers[name, kind] = found[name] = book.next_name
            book.next_name += 1
        _INSERT.run(self._connection, rows)
        return found

    def spelled(self, numbers: Iterable[int]) -> dict[int, str]:
        """Return the names of numbers."""
        found = {0: ""}
        for part in chunks(sorted(set(numbers) - {0})):
            asked = select(flow_name.c.id, flow_name.c.name).where(
                flow_name.c.book == self._book, flow_name.c.id.in_(part)
            )
            found.update({int(number): name for number, name in self._connection.execute(asked)})
        return found

    def runs(self, numbers: Sequence[int]) -> set[int]:
        """Return which of the numbers are runs."""
        found: set[int] = set()
        for part in chunks(sorted(set(numbers))):
            asked = select(flow_name.c.id).where(
                flow_name.c.book == self._book, flow_name.c.id.in_(part), flow_name.c.run == 1
            )
            found.update(self._connection.execute(asked).scalars())
        return found


def _row(book: Book) -> dict[str, int | str]:
    return {
        "book": book.number,
        "prefix": book.prefix,
        "next_name": book.next_name,
        "next_event": book.next_event,
        "next_line": book.next_line,
        "next_capture": book.next_capture,
    }
