"""Legs: dispatches and receipts under one document, of which only the ones with most authority are booked."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from node.flow.books.storage import chunks
from node.flow.ledger.lines import Account, Leg, Side
from node.flow.ledger.storage.rows import Entry, Row, decimal_of
from node.flow.ledger.storage.tables import flow_leg
from registry.storage.bulk import Insert

__all__ = ["Legs"]

_INSERT = Insert(flow_leg)
#: document, batch, side
_Group = tuple[int, int, int]


class _Known(NamedTuple):
    """A leg as the table holds it: the stock's end of the move; the other end is in transit."""

    event: int
    part: int
    rank: int
    posted: bool
    account: int
    holder: int
    location: int
    qty: Decimal
    uom: str
    kg: Decimal | None
    t_event: int

    def rows(self, group: _Group, t_record: int) -> list[Row]:
        document, batch, _ = group
        stock = Row(
            self.event, 0, self.account, self.holder, self.location, 0, batch, self.qty, self.uom, self.kg,
            self.t_event, t_record,
        )  # fmt: skip
        kg = None if self.kg is None else self.kg.copy_negate()
        transit = stock._replace(
            account=int(Account.TRANSIT), holder=0, location=0, document=document,
            qty=self.qty.copy_negate(), kg=kg,
        )  # fmt: skip
        return [stock, transit]


class Legs:
    """The legs of one locked book."""

    def __init__(self, connection: Connection, book: int) -> None:
        self._connection = connection
        self._book = book

    def add(self, entries: Iterable[Entry], numbers: dict[str, int]) -> list[Row]:
        """Keep the legs of events that came; return the lines that follow."""
        new: dict[_Group, list[_Known]] = defaultdict(list)
        t_record = 0
        for entry in entries:
            t_record = entry.t_record
            for part, leg in enumerate(entry.booking.legs):
                group = (numbers[leg.document], numbers[leg.batch], int(leg.side))
                new[group].append(_known(entry.event, part, leg, numbers))
        if not new:
            return []
        rows: list[Row] = []
        stored: list[dict[str, object]] = []
        known = self._load(new)
        for group, legs in new.items():
            old = known.get(group, [])
            top = max(leg.rank for leg in (*old, *legs))
            cause = min(leg.event for leg in (*old, *legs) if leg.rank == top)
            for one in legs:
                if one.rank == top:
                    rows.extend(one.rows(group, t_record))
                stored.append(self._stored(group, one, posted=one.rank == top))
            for one in old:
                if one.posted and one.rank < top:
                    rows.extend(row.taken_back(cause, t_record) for row in one.rows(group, t_record))
                    self._mark(group, one, posted=False)
        _INSERT.run(self._connection, stored)
        return rows

    def remove(self, entry: Entry, numbers: dict[str, int], t_record: int) -> list[Row]:
        """Forget the legs of an event whose lines were taken back; return the lines of those that count again."""
        groups = {
            (numbers[leg.document], numbers[leg.batch], int(leg.side)): None for leg in entry.booking.legs
        }
        if not groups:
            return []
        rows: list[Row] = []
        for document, batch, side in groups:
            gone = delete(flow_leg).where(
                flow_leg.c.book == self._book, flow_leg.c.document == document, flow_leg.c.batch == batch,
                flow_leg.c.side == side, flow_leg.c.event == entry.event,
            )  # fmt: skip
            self._connection.execute(gone)
        for group, legs in self._load(groups).items():
            top = max(leg.rank for leg in legs)
            for leg in legs:
                if leg.rank == top and not leg.posted:
                    rows.extend(leg.rows(group, t_record))
                    self._mark(group, leg, posted=True)
        return rows

    def _load(self, groups: Iterable[_Group]) -> dict[_Group, list[_Known]]:
        wanted = set(groups)
        found: dict[_Group, list[_Known]] = defaultdict(list)
        for part in chunks(sorted({group[0] for group in wanted})):
            asked = select(flow_leg).where(flow_leg.c.book == self._book, flow_leg.c.document.in_(part))
            for row in self._connection.execute(asked):
                group = (row.document, row.batch, row.side)
                if group in wanted:
                    found[group].append(
                        _Known(
                            row.event, row.part, row.rank, bool(row.posted), row.account, row.holder,
                            row.location, Decimal(row.qty), row.uom, decimal_of(row.kg), row.t_event,
                        )
                    )  # fmt: skip
        return found

    def _mark(self, group: _Group, leg: _Known, *, posted: bool) -> None:
        document, batch, side = group
        self._connection.execute(
            update(flow_leg)
            .where(
                flow_leg.c.book == self._book, flow_leg.c.document == document, flow_leg.c.batch == batch,
                flow_leg.c.side == side, flow_leg.c.event == leg.event, flow_leg.c.part == leg.part,
            )
            .values(posted=int(posted))
        )  # fmt: skip

    def _stored(self, group: _Group, leg: _Known, *, posted: bool) -> dict[str, object]:
        document, batch, side = group
        return {
            "book": self._book, "document": document, "batch": batch, "side": side, "event": leg.event,
            "part": leg.part, "rank": leg.rank, "posted": int(posted), "account": leg.account,
            "holder": leg.holder, "location": leg.location, "qty": str(leg.qty), "uom": leg.uom,
            "kg": None if leg.kg is None else str(leg.kg), "t_event": leg.t_event,
        }  # fmt: skip


def _known(event: int, part: int, leg: Leg, numbers: dict[str, int]) -> _Known:
    stock = leg.lines[0 if leg.side is Side.DISPATCH else 1]
    return _Known(
        event, part, leg.rank, False, int(stock.account), numbers[stock.holder], numbers[stock.location],
        stock.qty, stock.uom, stock.kg, stock.t_event,
    )  # fmt: skip
