"""Keeps ledger and genealogy in step with the events: booked as they come, taken back, or made anew from them.

What is derived can be thrown away at any time: `rebuild` reads the events in the order in which they came, and does
for each what capture did.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete

from node.flow.books.storage import Book, Names, lock_book, save_book
from node.flow.capture.storage.events import EventRows, Stored
from node.flow.events.event import Event
from node.flow.genealogy import edges as genealogy
from node.flow.genealogy.storage.tables import DERIVED as PEDIGREE_TABLES
from node.flow.genealogy.storage.writing import Pedigree, Pedigrees
from node.flow.ledger.derive import derive, microseconds
from node.flow.ledger.lines import Note
from node.flow.ledger.storage.posting import Posting
from node.flow.ledger.storage.rows import Entry
from node.flow.ledger.storage.tables import DERIVED as LEDGER_TABLES

__all__ = ["Deriving", "Taken", "rebuild"]

_REBUILT_AT_ONCE = 1_000


class Taken(NamedTuple):
    """An event that was given a number."""

    number: int
    hash: bytes
    t_record: int
    event: Event


class Deriving:
    """Ledger and genealogy of one locked book."""

    def __init__(self, connection: Connection, book: Book) -> None:
        names = Names(connection, book.number)
        self._book = book
        self._posting = Posting(connection, book, names)
        self._pedigrees = Pedigrees(connection, book, names)

    def book(self, taken: Sequence[Taken]) -> None:
        """Book events; none of them is booked yet."""
        if not taken:
            return
        entries = [self._entry(one) for one in taken]
        pedigrees = [_pedigree(one) for one in taken]
        self._posting.post(entries)
        notes = {entry.event: len(entry.booking.notes) for entry in entries}
        for number in self._pedigrees.add(pedigrees):
            self._posting.note([(number, [Note("cycle", {})])], first=notes[number])

    def take_back(self, taken: Taken, by: int, t_record: int) -> None:
        """Take back what an event said, because the declaration numbered `by` makes it void."""
        self._posting.take_back(self._entry(taken), by, t_record)
        self._pedigrees.void(_pedigree(taken), by)

    def note(self, number: int, name: str, **detail: str) -> None:
        """Write down something about an event beside what was noted when it was booked."""
        self._posting.note([(number, [Note(name, detail)])], first=1_000)

    def _entry(self, taken: Taken) -> Entry:
        booking = derive(taken.event, self._book.prefix, taken.t_record)
        return Entry(taken.number, taken.hash, microseconds(taken.event.time), taken.t_record, booking)


def rebuild(connection: Connection, prefix: str) -> int:
    """Make ledger and genealogy of a book anew from its events; return how many events were read."""
    book = lock_book(connection, prefix)
    for table in (*LEDGER_TABLES, *PEDIGREE_TABLES):
        connection.execute(delete(table).where(table.c.book == book.number))
    book.next_line = 1
    rows = EventRows(connection, book.number)
    deriving = Deriving(connection, book)
    waiting = rows.ahead()
    number = 0
    for part in rows.all(_REBUILT_AT_ONCE):
        _replay(rows, deriving, part, waiting)
        number += len(part)
    save_book(connection, book)
    return number


def _replay(
    rows: EventRows, deriving: Deriving, part: Sequence[Stored], ahead: Mapping[str, tuple[int, int]]
) -> None:
    taken: list[Taken] = []
    otherwise: list[int] = []
    for stored in part:
        if not stored.declares:
            if stored.contradicts:
                deriving.note(stored.number, "same_id")
            elif not 0 < stored.void_by < stored.number:
                taken.append(_taken(stored))
                declared, voids = ahead.get(stored.event_id, (stored.number, 0))
                if declared < stored.number and (not voids or voids > stored.number):
                    otherwise.append(stored.number)
        elif 0 < stored.voids < stored.number:
            deriving.book(taken)
            taken = []
            target = rows.one(stored.voids)
            if not target.contradicts:
                deriving.take_back(_taken(target), stored.number, stored.t_record)
    deriving.book(taken)
    for number in otherwise:
        deriving.note(number, "declared_otherwise")


def _taken(stored: Stored) -> Taken:
    return Taken(stored.number, stored.hash, stored.t_record, stored.event)


def _pedigree(taken: Taken) -> Pedigree:
    return Pedigree(taken.number, microseconds(taken.event.time), genealogy.edges(taken.event))
