"""Reading the ledger: stock now or as of any instant, runs, what is open, and what does not add up."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Select, select

from node.flow.books.storage import Names
from node.flow.ledger.lines import Account, Line
from node.flow.ledger.measures import EXACT, amount_of
from node.flow.ledger.storage.rows import decimal_of
from node.flow.ledger.storage.tables import flow_balance, flow_line, flow_note

__all__ = ["Balance", "Finding", "LedgerReader"]

_ZERO = Decimal(0)


class Balance(NamedTuple):
    """So much of a batch on one account, in kilograms, cubic metres, pieces or a unit of its own.

    Attributes:
        kg: mass of the part that was weighed or has a density; `unweighed` is the rest, in `uom`.
    """

    account: Account
    holder: str
    location: str
    document: str
    batch: str
    qty: Decimal
    uom: str
    kg: Decimal
    unweighed: Decimal


class Finding(NamedTuple):
    """Something that a person must see; the name is that of its text in `flow_ledger`.

    Attributes:
        event: number of the event; 0 where it is the sum of several.
    """

    event: int
    name: str
    detail: Mapping[str, str]


class LedgerReader:
    """The ledger of one book, inside a snapshot."""

    def __init__(self, connection: Connection, book: int) -> None:
        self._connection = connection
        self._book = book
        self._names = Names(connection, book)

    def balances(self, *, batch: str | None = None, holder: str | None = None) -> list[Balance]:
        """Return what stands now: stock, transit and ownership, of everything or of one batch or holder."""
        asked = select(flow_balance).where(flow_balance.c.book == self._book)
        if batch is not None:
            asked = asked.where(flow_balance.c.batch == self._number(batch))
        if holder is not None:
            asked = asked.where(flow_balance.c.holder == self._number(holder))
        return self._named(
            (
                Account(row.account), row.holder, row.location, row.document, row.batch,
                Decimal(row.qty), row.uom, Decimal(row.kg), Decimal(row.unweighed),
            )
            for row in self._connection.execute(asked)
        )  # fmt: skip

    def balances_as_of(
        self, t_event: int, *, batch: str | None = None, known_at: int | None = None
    ) -> list[Balance]:
        """Return what stood on every account at an instant.

        Args:
            t_event: microseconds since 1970; what happened in it is in.
            batch: of one batch; else of all.
            known_at: as it was known then; else as it is known now.
        """
        asked = select(flow_line).where(flow_line.c.book == self._book, flow_line.c.t_event <= t_event)
        if batch is not None:
            asked = asked.where(flow_line.c.batch == self._number(batch))
        if known_at is not None:
            asked = asked.where(flow_line.c.t_record <= known_at)
        return self._added_up(asked)

    def run(self, document: str) -> list[Balance]:
        """Return what a run took and did not give, batch by batch; or what is on any other document."""
        number = self._number(document)
        asked = select(flow_line).where(
            flow_line.c.book == self._book, flow_line.c.document == number, flow_line.c.document != 0
        )
        return self._added_up(asked)

    def lines(self, batch: str) -> list[tuple[int, Line]]:
        """Return the journal of a batch with the number of each line, `event_id` and `reverses` as event numbers."""
        asked = select(flow_line).where(
            flow_line.c.book == self._book, flow_line.c.batch == self._number(batch)
        )
        rows = self._connection.execute(asked.order_by(flow_line.c.number)).all()
        names = self._names.spelled(
            number for row in rows for number in (row.holder, row.location, row.document)
        )
        return [
            (
                row.number,
                Line(
                    str(row.event), index, Account(row.account), names[row.holder], names[row.location],
                    names[row.document], batch, Decimal(row.qty), row.uom, decimal_of(row.kg), row.t_event,
                    row.t_record, str(row.reverses) if row.reverses else None,
                ),
            )
            for index, row in enumerate(rows)
        ]  # fmt: skip

    def notes(self, *, name: str | None = None) -> list[Finding]:
        """Return what was noted about events, in the order of arrival."""
        asked = select(flow_note).where(flow_note.c.book == self._book)
        if name is not None:
            asked = asked.where(flow_note.c.name == name)
        rows = self._connection.execute(asked.order_by(flow_note.c.event, flow_note.c.part))
        return [Finding(row.event, row.name, orjson.loads(row.detail)) for row in rows]

    def findings(self, owner: str) -> list[Finding]:
        """Return what does not add up now.

        Args:
            owner: the prefix of the book: what others have in stock is not all known here, and is not judged.
        """
        found = []
        for one in self.balances():
            amount = {"batch": one.batch, "quantity": f"{abs(one.qty):f}", "uom": one.uom}
            if one.account is Account.STOCK and one.qty < 0 and one.holder == owner:
                place = {"holder": one.holder, "location": one.location}
                found.append(Finding(0, "negative_balance", {**amount, **place, "quantity": f"{one.qty:f}"}))
            elif one.account is Account.TRANSIT and one.qty:
                name = "receipt_without_dispatch" if one.qty < 0 else "open_transit"
                found.append(Finding(0, name, {**amount, "document": one.document}))
        return found

    # ---------------------------------------------------------------------------------------------------------------

    def _number(self, name: str) -> int:
        """Return a name's number; -1, which nothing has, for one that never came up."""
        found = self._names.known([name])
        found |= {} if found else self._names.known([name], run=True)
        return found.get(name, -1)

    def _added_up(self, asked: Select[Any]) -> list[Balance]:
        sums: dict[tuple[Any, ...], list[Decimal]] = defaultdict(lambda: [_ZERO, _ZERO, _ZERO])
        for row in self._connection.execute(asked):
            qty, uom = amount_of(Decimal(row.qty), row.uom)
            whole = sums[row.account, row.holder, row.location, row.document, row.batch, uom]
            whole[0] = EXACT.add(whole[0], qty)
            if row.kg is None:
                whole[2] = EXACT.add(whole[2], qty)
            else:
                whole[1] = EXACT.add(whole[1], Decimal(row.kg))
        return self._named(
            (Account(account), holder, location, document, batch, qty, uom, kg, unweighed)
            for (account, holder, location, document, batch, uom), (qty, kg, unweighed) in sums.items()
            if qty or kg or unweighed
        )

    def _named(self, rows: Iterable[tuple[Any, ...]]) -> list[Balance]:
        some = list(rows)
        names = self._names.spelled(number for row in some for number in row[1:5])
        return sorted(
            Balance(row[0], names[row[1]], names[row[2]], names[row[3]], names[row[4]], *row[5:])
            for row in some
        )
