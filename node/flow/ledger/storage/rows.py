"""Rows of the ledger while they are in hand, and the balances they add up to."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from node.flow.books.storage import Book, chunks
from node.flow.ledger.lines import Account, Booking
from node.flow.ledger.measures import EXACT, amount_of
from node.flow.ledger.storage.tables import flow_balance, flow_line
from registry.storage.bulk import Bulk, kind_of

__all__ = ["BALANCED", "Entry", "Row", "decimal_of", "spelled", "write_rows"]

#: Accounts whose balance is kept; the others are added up when somebody asks.
BALANCED = frozenset({Account.STOCK, Account.TRANSIT, Account.OWNED})
_ZERO = Decimal(0)
_BalanceKey = tuple[int, int, int, int, int, str]


class Entry(NamedTuple):
    """An event on its way into the ledger: its number in the book, its hash, when, and what it says."""

    event: int
    tie: bytes
    t_event: int
    t_record: int
    booking: Booking


class Row(NamedTuple):
    """A line with its names as numbers."""

    event: int
    reverses: int
    account: int
    holder: int
    location: int
    document: int
    batch: int
    qty: Decimal
    uom: str
    kg: Decimal | None
    t_event: int
    t_record: int

    def taken_back(self, by: int, t_record: int) -> "Row":
        """Return the row that takes this one back, caused by another event."""
        kg = None if self.kg is None else self.kg.copy_negate()
        return self._replace(
            event=by,
            reverses=self.reverses or self.event,
            qty=self.qty.copy_negate(),
            kg=kg,
            t_record=t_record,
        )


def spelled(figure: Decimal) -> str:
    """Return a figure in one spelling: no exponent, no idle zeros."""
    if not figure:
        return "0"
    return format(figure.normalize(EXACT), "f")


def decimal_of(written: str | None) -> Decimal | None:
    """Return the figure that a column spells."""
    return None if written is None else Decimal(written)


def write_rows(connection: Connection, book: Book, rows: Sequence[Row]) -> None:
    """Add lines to the journal and their figures to the balances."""
    if not rows:
        return
    first = book.next_line
    book.next_line += len(rows)
    written = [
        (
            book.number, number, row.event, row.reverses, row.account, row.holder, row.location, row.document,
            row.batch, str(row.qty), row.uom, None if row.kg is None else str(row.kg), row.t_event, row.t_record,
        )
        for number, row in enumerate(rows, first)
    ]  # fmt: skip
    _LINES.run(connection, written)
    _add(connection, book.number, rows)


def _insert(*, update: Sequence[str] = ()) -> Bulk:
    table = flow_balance if update else flow_line
    names = [column.name for column in table.columns]
    kinds = [kind_of(column) for column in table.columns]
    tail = ""
    if update:
        keys = ", ".join(name for name in names if name not in update)
        changed = ", ".join(f"{name} = excluded.{name}" for name in update)
        tail = f" ON CONFLICT ({keys}) DO UPDATE SET {changed}"
    places = ", ".join(names)
    marks = ", ".join("?" for _ in names)
    arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
    return Bulk(
        f"INSERT INTO {table.name} ({places}) VALUES ({marks}){tail}",  # noqa: S608 — names of our own tables
        f"INSERT INTO {table.name} ({places}) SELECT * FROM unnest({arrays}){tail}",  # noqa: S608 — likewise
        kinds,
    )


_LINES = _insert()
_BALANCES = _insert(update=("qty", "kg", "unweighed"))
_KEYS = [column.name for column in flow_balance.primary_key.columns]
_GONE = Bulk(
    f"DELETE FROM flow_balance WHERE {' AND '.join(f'{name} = ?' for name in _KEYS)}",  # noqa: S608 — our own names
    f"DELETE FROM flow_balance b USING unnest({', '.join('%s::text[]' if name == 'uom' else '%s::bigint[]' for name in _KEYS)})"  # noqa: S608, E501 — our own names
    f" AS u({', '.join(_KEYS)}) WHERE {' AND '.join(f'b.{name} = u.{name}' for name in _KEYS)}",
    ["text" if name == "uom" else "bigint" for name in _KEYS],
)


def _add(connection: Connection, book: int, rows: Iterable[Row]) -> None:
    sums: dict[_BalanceKey, list[Decimal]] = {}
    plus = EXACT.add
    for row in rows:
        if row.account not in BALANCED:
            continue
        qty, uom = amount_of(row.qty, row.uom)
        key = (row.batch, row.account, row.holder, row.location, row.document, uom)
        known = sums.get(key)
        if known is None:
            known = sums[key] = [_ZERO, _ZERO, _ZERO]
        known[0] = plus(known[0], qty)
        if row.kg is None:
            known[2] = plus(known[2], qty)
        else:
            known[1] = plus(known[1], row.kg)
    stands = _stands(connection, book, {key[0] for key in sums})
    changed, gone = [], []
    for key, more in sums.items():
        before = stands.get(key)
        whole = more if before is None else [plus(Decimal(a), b) for a, b in zip(before, more, strict=True)]
        if any(whole):
            changed.append((book, *key, *(spelled(figure) for figure in whole)))
        elif before is not None:
            gone.append((book, *key))
    _BALANCES.run(connection, changed)
    _GONE.run(connection, gone)


def _stands(connection: Connection, book: int, batches: Iterable[int]) -> dict[_BalanceKey, Sequence[Any]]:
    found: dict[_BalanceKey, Sequence[Any]] = {}
    columns = list(flow_balance.columns)[1:]
    for part in chunks(sorted(batches)):
        asked = select(*columns).where(flow_balance.c.book == book, flow_balance.c.batch.in_(part))
        for row in connection.execute(asked):
            found[tuple(row[:6])] = tuple(row[6:])
    return found
