"""Posting: what events say about quantities becomes lines, inside somebody else's transaction.

Rules:

- lines are only added; what no longer holds is taken back by a line that says which event it reverses, dated like it;
- the sum of everything is the same in whatever order events come: legs under one document count by rank, and a count
  moves the stock to its figure whatever is booked before it, also later;
- a move that comes to light before a count that is already booked is offset at that count, and only there;
- moves of one moment come before counts of that moment; counts of one moment go by the hash of their events.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, delete, insert, select

from node.flow.books.storage import Book, Names, chunks
from node.flow.ledger.lines import Account, Line, Note
from node.flow.ledger.measures import EXACT, amount_of
from node.flow.ledger.storage.legs import Legs
from node.flow.ledger.storage.rows import Entry, Row, decimal_of, write_rows
from node.flow.ledger.storage.tables import flow_count, flow_line, flow_note
from registry.storage.bulk import Insert

__all__ = ["Posting"]

_NOTES = Insert(flow_note)
_ZERO = Decimal(0)
#: batch, holder, location, unit
_StockKey = tuple[int, int, int, str]


class _Counted(NamedTuple):
    t_event: int
    tie: bytes
    event: int
    qty: Decimal


class Posting:
    """The ledger of one locked book."""

    def __init__(self, connection: Connection, book: Book, names: Names) -> None:
        self._connection = connection
        self._book = book
        self._names = names
        self._legs = Legs(connection, book.number)

    def post(self, entries: Sequence[Entry]) -> None:
        """Book events that came; none of them is booked yet."""
        numbers = self._numbers(entries)
        rows: list[Row] = []
        for entry in entries:
            rows.extend([_row(entry.event, line, numbers) for line in entry.booking.lines])
        rows.extend(self._legs.add(entries, numbers))
        self._write(rows)
        self._write_counts(entries, numbers)
        self.note((entry.event, entry.booking.notes) for entry in entries)

    def take_back(self, entry: Entry, by: int, t_record: int) -> None:
        """Take back all that an event said, because the event numbered `by` declares it void."""
        numbers = self._numbers([entry])
        batches = {line.batch for line in _lines(entry)} | {count.batch for count in entry.booking.counts}
        counted = self._forget_counts(entry.event, [numbers[batch] for batch in batches])
        back = [
            row.taken_back(by, t_record)
            for row in self._net(entry.event, entry.t_event, [numbers[batch] for batch in batches])
        ]
        self._write(back, tie=entry.tie if counted else b"")
        self._write(self._legs.remove(entry, numbers, t_record))

    def note(self, notes: Iterable[tuple[int, Sequence[Note]]], *, first: int = 0) -> None:
        """Write down what must be seen about events."""
        _NOTES.run(
            self._connection,
            [
                {
                    "book": self._book.number,
                    "event": event,
                    "part": part,
                    "name": note.name,
                    "detail": orjson.dumps(dict(note.detail)).decode(),
                }
                for event, some in notes
                for part, note in enumerate(some, first)
            ],
        )

    # Names ---------------------------------------------------------------------------------------------------------

    def _numbers(self, entries: Iterable[Entry]) -> dict[str, int]:
        names: set[str] = set()
        for entry in entries:
            for line in _lines(entry):
                names.update((line.holder, line.location, line.document, line.batch))
            for count in entry.booking.counts:
                names.update((count.holder, count.location, count.batch))
        return dict(self._names.give(self._book, names))

    # Moves ---------------------------------------------------------------------------------------------------------

    def _write(self, rows: Sequence[Row], tie: bytes = b"") -> None:
        """Write moves, and offset each at the count that comes next after it; `tie`: they are a count's own."""
        counts = self._counts({row.batch for row in rows if row.account == Account.STOCK})
        offsets: list[Row] = []
        if counts:
            for row in rows:
                if row.account == Account.STOCK:
                    amount = amount_of(row.qty, row.uom)
                    key = (row.batch, row.holder, row.location, amount.uom)
                    later = _after(counts.get(key, ()), row.t_event, tie)
                    if later is not None:
                        offsets.extend(_adjustment(key, later, amount.qty.copy_negate(), row.t_record))
        write_rows(self._connection, self._book, [*rows, *offsets])

    def _net(self, event: int, t_event: int, batches: Iterable[int]) -> list[Row]:
        """Return what an event's lines come to, account by account, after all that was taken back already."""
        sums: dict[tuple[int | str, ...], list[Decimal]] = {}
        weighed: dict[tuple[int | str, ...], bool] = {}
        for part in chunks(sorted(batches)):
            asked = select(flow_line).where(
                flow_line.c.book == self._book.number,
                flow_line.c.batch.in_(part),
                flow_line.c.t_event == t_event,
            )
            for row in self._connection.execute(asked):
                if (row.reverses or row.event) != event:
                    continue
                kg = decimal_of(row.kg)
                key = (
                    row.account, row.holder, row.location, row.document, row.batch, row.uom, int(kg is None)
                )  # fmt: skip
                known = sums.setdefault(key, [_ZERO, _ZERO])
                known[0] = EXACT.add(known[0], Decimal(row.qty))
                known[1] = EXACT.add(known[1], kg or _ZERO)
                weighed[key] = kg is not None
        return [
            Row(
                event, 0, int(key[0]), int(key[1]), int(key[2]), int(key[3]), int(key[4]), qty, str(key[5]),
                kg if weighed[key] else None, t_event, 0,
            )
            for key, (qty, kg) in sums.items()
            if qty or kg
        ]  # fmt: skip

    # Counts --------------------------------------------------------------------------------------------------------

    def _counts(self, batches: Iterable[int]) -> dict[_StockKey, list[_Counted]]:
        found: dict[_StockKey, list[_Counted]] = defaultdict(list)
        for part in chunks(sorted(batches)):
            asked = select(flow_count).where(
                flow_count.c.book == self._book.number, flow_count.c.batch.in_(part)
            )
            for row in self._connection.execute(asked.order_by(flow_count.c.t_event, flow_count.c.tie)):
                key = (row.batch, row.holder, row.location, row.uom)
                found[key].append(_Counted(row.t_event, bytes(row.tie), row.event, Decimal(row.qty)))
        return found

    def _write_counts(self, entries: Iterable[Entry], numbers: dict[str, int]) -> None:
        for entry in entries:
            whole: dict[_StockKey, Decimal] = {}
            for count in entry.booking.counts:
                qty, uom = amount_of(count.qty, count.uom)
                key = (numbers[count.batch], numbers[count.holder], numbers[count.location], uom)
                whole[key] = EXACT.add(whole.get(key, _ZERO), qty)
            for key, qty in whole.items():
                self._count(key, _Counted(entry.t_event, entry.tie, entry.event, qty), entry.t_record)

    def _count(self, key: _StockKey, count: _Counted, t_record: int) -> None:
        known = self._counts([key[0]]).get(key, [])
        booked = self._booked(key, count, known)
        batch, holder, location, uom = key
        self._connection.execute(
            insert(flow_count).values(
                book=self._book.number, batch=batch, holder=holder, location=location, uom=uom,
                t_event=count.t_event, tie=count.tie, event=count.event, qty=str(count.qty),
            )
        )  # fmt: skip
        difference = EXACT.subtract(count.qty, booked)
        if not difference:
            return
        rows = _adjustment(key, count, difference, t_record)
        later = _after(known, count.t_event, count.tie)
        if later is not None:
            rows += _adjustment(key, later, difference.copy_negate(), t_record)
        write_rows(self._connection, self._book, rows)

    def _booked(self, key: _StockKey, count: _Counted, known: Sequence[_Counted]) -> Decimal:
        """Return what the ledger has in stock at a count, before it."""
        batch, holder, location, uom = key
        after = {one.event for one in known if one.t_event == count.t_event and one.tie > count.tie}
        asked = select(flow_line.c.qty, flow_line.c.uom, flow_line.c.event, flow_line.c.reverses).where(
            flow_line.c.book == self._book.number,
            flow_line.c.batch == batch,
            flow_line.c.t_event <= count.t_event,
            flow_line.c.account == int(Account.STOCK),
            flow_line.c.holder == holder,
            flow_line.c.location == location,
        )
        whole = _ZERO
        for qty, written, event, reverses in self._connection.execute(asked):
            amount = amount_of(Decimal(qty), written)
            if amount.uom == uom and (reverses or event) not in after:
                whole = EXACT.add(whole, amount.qty)
        return whole

    def _forget_counts(self, event: int, batches: Sequence[int]) -> bool:
        gone = 0
        for part in chunks(batches):
            made = delete(flow_count).where(
                flow_count.c.book == self._book.number,
                flow_count.c.batch.in_(part),
                flow_count.c.event == event,
            )
            gone += self._connection.execute(made).rowcount
        return gone > 0


def _lines(entry: Entry) -> Iterable[Line]:
    yield from entry.booking.lines
    for leg in entry.booking.legs:
        yield from leg.lines


def _row(event: int, line: Line, numbers: dict[str, int]) -> Row:
    return Row(
        event, 0, int(line.account), numbers[line.holder], numbers[line.location], numbers[line.document],
        numbers[line.batch], line.qty, line.uom, line.kg, line.t_event, line.t_record,
    )  # fmt: skip


def _after(counts: Sequence[_Counted], t_event: int, tie: bytes) -> _Counted | None:
    """Return the first count after a position; a move, which has no tie, comes before counts of its moment."""
    place = bisect_right([one[:2] for one in counts], (t_event, tie))
    return counts[place] if place < len(counts) else None


def _adjustment(key: _StockKey, count: _Counted, qty: Decimal, t_record: int) -> list[Row]:
    batch, holder, location, uom = key
    weighed = uom == "KGM"
    stock = Row(
        count.event, 0, int(Account.STOCK), holder, location, 0, batch, qty, uom, qty if weighed else None,
        count.t_event, t_record,
    )  # fmt: skip
    less = qty.copy_negate()
    adjusted = stock._replace(account=int(Account.ADJUSTED), qty=less, kg=less if weighed else None)
    return [stock, adjusted]
