"""One statement for many rows, each a plain tuple: what the hot paths use where SQLAlchemy's way costs too much.

Rules:

- SQLite gets the statement once and the rows one by one; PostgreSQL gets one statement with an array for each column,
  because it would else be asked, or would have to read a text, for every row;
- an array's type never narrows a value: texts travel as `text`, integers as `bigint`, and it is the column that
  refuses what does not fit;
- everything runs in the transaction of the connection given; errors are those of SQLAlchemy.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Connection, Integer, LargeBinary, String, Table

__all__ = ["Bulk", "Insert", "kind_of"]


class Bulk:
    """A statement for many rows.

    Args:
        each: for SQLite; a `?` for each value of a row, then one for each value that is the same for all.
        at_once: for PostgreSQL; a `%s` for the array of each value of a row, then one for each value that is the
            same for all.
        kinds: of the values of a row, as PostgreSQL calls them: `bytea`, `text` or `bigint`.
    """

    __slots__ = ("_at_once", "_each", "_kinds")

    def __init__(self, each: str, at_once: str, kinds: Sequence[str]) -> None:
        self._each = each
        self._at_once = at_once
        self._kinds = tuple(kinds)

    def run(self, connection: Connection, rows: Sequence[Sequence[Any]], *fixed: Any) -> None:
        """Run it; does nothing without rows.

        Args:
            connection: the open transaction.
            rows: the values of each row.
            fixed: the values that are the same for all.
        """
        if not rows:
            return
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(self._each, [(*row, *fixed) for row in rows] if fixed else list(rows))
            return
        columns = zip(*rows, strict=True)
        arrays = [_array(kind, column) for kind, column in zip(self._kinds, columns, strict=True)]
        connection.exec_driver_sql(self._at_once, (*arrays, *fixed))


class Insert:
    """Inserts rows into a table; each mapping has every column.

    Args:
        table: which.
    """

    __slots__ = ("_bulk", "_row")

    def __init__(self, table: Table) -> None:
        names = [column.name for column in table.columns]
        kinds = [kind_of(column) for column in table.columns]
        places = ", ".join(f'"{name}"' for name in names)
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
        marks = ", ".join("?" for _ in names)
        self._row = itemgetter(*names)
        self._bulk = Bulk(
            f'INSERT INTO "{table.name}" ({places}) VALUES ({marks})',  # noqa: S608 — names of our own table
            f'INSERT INTO "{table.name}" ({places}) SELECT * FROM unnest({arrays})',  # noqa: S608 — likewise
            kinds,
        )

    def run(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert.

        Raises:
            IntegrityError: a key stands there already; nothing of the transaction may stand then.
        """
        self._bulk.run(connection, [self._row(row) for row in rows])


def kind_of(column: "Column[Any]") -> str:
    """Return what PostgreSQL calls the values of a column, as they travel."""
    for kind, name in ((LargeBinary, "bytea"), (String, "text"), (Integer, "bigint")):
        if isinstance(column.type, kind):
            return name
    raise TypeError(f"{column} has no kind that travels in bulk")


def _array(kind: str, values: Sequence[Any]) -> str:
    """Return values as PostgreSQL spells an array."""
    if kind == "bigint":
        return "{" + ",".join(["NULL" if value is None else str(int(value)) for value in values]) + "}"
    if kind == "bytea":
        return (
            "{" + ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values]) + "}"
        )
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
