"""The database in a backup: a copied file of SQLite, or one file of rows for each table of PostgreSQL.

Both are made inside one read snapshot: what was committed before it is there, what came later is not, and nobody who
writes has to wait. What is in the copy is counted in the copy and compared with the snapshot.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from federation.exchange.storage.healing import HealingUnit
from federation.log.merkle import CompactRange, leaf_hash
from federation.log.storage.unit import LogUnit
from node.backup.manifest import LogState, Manifest
from registry.errors import ConflictError, HazlinkError, NotSupportedError, UnavailableError, UntrustedError
from registry.storage.engine import Database

__all__ = [
    "SQLITE_NAME",
    "TABLES_NAME",
    "Dumped",
    "Tell",
    "dump",
    "is_empty",
    "kind_of",
    "load",
    "log_state",
    "settle_restored",
]

#: The copied file of SQLite, and the folder of PostgreSQL's tables.
SQLITE_NAME = "database.sqlite3"
TABLES_NAME = "tables"

#: Told (what, done, all) as the work goes on; `what` is a table or file.
Tell = Callable[[str, int, int], None]

_REVISION_TABLE = "alembic_version"
_PAGES = 2_048
_LEAVES = 5_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Dumped:
    """What was copied: revision of the schema, rows of each table, the log."""

    revision: str
    tables: dict[str, int]
    log: LogState | None


def kind_of(database: Database) -> str:
    """Return `sqlite` or `postgresql`."""
    return "sqlite" if database.is_sqlite else "postgresql"


def is_empty(database: Database) -> bool:
    """Say whether there is no table in the database.

    Raises:
        UnavailableError: it cannot be reached.
    """
    with database.read() as connection:
        return not inspect(connection).get_table_names()


def dump(database: Database, folder: Path, tell: Tell) -> Dumped:
    """Copy the database into `folder`, as it is at this moment, and compare the copy.

    Raises:
        UnavailableError: the database cannot be read, or it was never used.
        UntrustedError: the copy is not what was copied: the disk or the database is damaged.
        OSError: the folder cannot be written.
    """
    with database.read() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None:
            raise UnavailableError("node.backup.no_schema")
        tables = {name: _count(connection, name) for name in _tables(connection)}
        if database.is_sqlite:
            _dump_sqlite(connection, folder / SQLITE_NAME, tell)
            copied = _counted(folder / SQLITE_NAME)
        else:
            copied = _dump_postgresql(connection, folder / TABLES_NAME, tables, tell)
        for name, rows in tables.items():
            if copied.get(name) != rows:
                raise UntrustedError("node.backup.rows", field=name, value=copied.get(name), right=rows)
        return Dumped(revision, tables, log_state(connection))


def load(database: Database, folder: Path, manifest: Manifest, tell: Tell) -> None:
    """Fill an empty PostgreSQL database; all of it or nothing.

    The schema is made at the revision of the backup; bringing it up to date is the caller's next step.

    Raises:
        UnavailableError: the database cannot be used.
        UntrustedError: the rows do not fit the tables or their number.
        NotSupportedError: the backup is of a later release.
        ConflictError: the database is not empty.
    """
    with database.write() as connection:
        if inspect(connection).get_table_names():
            raise ConflictError("node.backup.not_empty", field=database.url.render_as_string())
        _make_schema(connection, manifest.revision)
        tables, there = manifest.tables, set(_tables(connection))
        missing = sorted(set(tables) - there)
        if missing:
            raise UntrustedError("node.backup.unknown_table", field=missing[0])
        order = [name for name, _ in inspect(connection).get_sorted_table_and_fkc_names() if name in there]
        for name in reversed(order):
            connection.execute(text(f'DELETE FROM "{name}"'))  # noqa: S608 — see _NAME
        for done, name in enumerate(name for name in order if name in tables):
            tell(name, done, len(tables))
            _fill(connection, name, folder / TABLES_NAME / f"{name}.copy")
            rows = _count(connection, name)
            if rows != tables[name]:
                raise UntrustedError("node.backup.rows", field=name, value=rows, right=tables[name])
        _set_sequences(connection, order)
        _compare_log(connection, manifest)
        HealingUnit(connection).forget()
        tell("", len(tables), len(tables))


def settle_restored(database: Database, manifest: Manifest) -> None:
    """Compare the log of a restored file with the one that was backed up, and note that nobody has healed it yet.

    Raises:
        UntrustedError: it is another one.
        UnavailableError: the database cannot be used.
    """
    with database.write() as connection:
        _compare_log(connection, manifest)
        HealingUnit(connection).forget()


def log_state(connection: Connection) -> LogState | None:
    """Return the open log with its root computed from its leaves; None where none was opened.

    Raises:
        UntrustedError: a leaf is missing.
    """
    if not inspect(connection).has_table("log"):
        return None
    unit = LogUnit(connection)
    row = unit.row()
    if row is None:
        return None
    size, made = unit.size(), CompactRange()
    while made.size < size:
        leaves = unit.numbered(made.size, min(_LEAVES, size - made.size))
        if not leaves:
            raise UntrustedError("node.backup.log_gap", field=row.origin, value=made.size)
        for position, leaf in leaves:
            if position != made.size:
                raise UntrustedError("node.backup.log_gap", field=row.origin, value=made.size)
            made.add(leaf_hash(leaf))
    return LogState(row.origin, size, made.root())


def _compare_log(connection: Connection, manifest: Manifest) -> None:
    if log_state(connection) != manifest.log:
        raise UntrustedError("node.backup.log_differs", field=manifest.log.origin if manifest.log else "log")


# tables


def _tables(connection: Connection) -> list[str]:
    """Return every table with rows of its own or of its partitions, without the one that holds the revision."""
    if connection.dialect.name == "sqlite":
        names = inspect(connection).get_table_names()
    else:
        asked = text(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        names = [row.relname for row in connection.execute(asked)]
    for name in names:
        if not _NAME.fullmatch(name):
            raise UntrustedError("node.backup.unknown_table", field=name)
    return sorted(name for name in names if name != _REVISION_TABLE)


def _count(connection: Connection, name: str) -> int:
    return int(connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one())  # noqa: S608 — see _NAME


# SQLite


def _dump_sqlite(connection: Connection, target: Path, tell: Tell) -> None:
    """Copy page by page. The snapshot is held, so writers neither wait nor make the copy begin again."""
    source = connection.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)  # noqa: S101 — the engine of a SQLite URL

    def progress(_status: int, remaining: int, total: int) -> None:
        tell(SQLITE_NAME, total - remaining, total)

    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy, pages=_PAGES, progress=progress)
        # one file that needs no log beside it; the node that opens it chooses its own mode again
        copy.execute("PRAGMA journal_mode=DELETE")
        damage = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if damage != "ok":
            raise UntrustedError("node.backup.database_damaged", field=str(damage)[:200])


def _counted(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
        names = [row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 — its own names
            for name in names
        }


# PostgreSQL


def _dump_postgresql(
    connection: Connection, folder: Path, tables: dict[str, int], tell: Tell
) -> dict[str, int]:
    folder.mkdir(mode=0o700)
    cursor: Any = connection.connection.cursor()
    copied = {}
    for done, name in enumerate(tables):
        tell(name, done, len(tables))
        file = folder / f"{name}.copy"
        with file.open("xb") as opened:
            # through a query: a partitioned table cannot be copied by its name
            cursor.copy_expert(f'COPY (SELECT {_columns(connection, name)} FROM "{name}") TO STDOUT', opened)  # noqa: S608 — see _NAME
        copied[name] = _lines(file)
        header = folder / f"{name}.columns"
        header.write_text(_columns(connection, name), encoding="utf-8")
    tell("", len(tables), len(tables))
    return copied


def _columns(connection: Connection, name: str) -> str:
    columns = [column["name"] for column in inspect(connection).get_columns(name)]
    return ", ".join(f'"{column}"' for column in columns)


def _lines(path: Path) -> int:
    """Count rows: the text form of COPY has one line for each, whatever stands in it."""
    with path.open("rb") as opened:
        return sum(part.count(b"\n") for part in _parts(opened))


def _parts(opened: BinaryIO) -> Iterator[bytes]:
    while part := opened.read(1 << 20):
        yield part


def _make_schema(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "node:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise NotSupportedError("node.backup.later_release", field="revision", value=revision) from error


def _fill(connection: Connection, name: str, file: Path) -> None:
    columns = file.with_suffix(".columns").read_text(encoding="utf-8")
    if set(columns.split(", ")) - set(_columns(connection, name).split(", ")):
        raise UntrustedError("node.backup.columns", field=name)
    cursor: Any = connection.connection.cursor()
    try:
        with file.open("rb") as opened:
            cursor.copy_expert(f'COPY "{name}" ({columns}) FROM STDIN', opened)
    except Exception as error:
        # the driver's own errors; SQLAlchemy does not see this call
        if isinstance(error, OSError | HazlinkError):
            raise
        raise UntrustedError("node.backup.row_refused", field=name, reason=str(error)[:200]) from error


def _set_sequences(connection: Connection, tables: list[str]) -> None:
    """Let generated numbers go on above those restored."""
    for name in tables:
        for column in inspect(connection).get_columns(name):
            asked = text("SELECT pg_get_serial_sequence(:t, :c)")
            try:
                sequence = connection.execute(asked, {"t": f'"{name}"', "c": column["name"]}).scalar()
            except SQLAlchemyError as error:
                raise UnavailableError("registry.storage.unavailable", reason=str(error)[:200]) from error
            if sequence:
                highest = f'(SELECT max("{column["name"]}") FROM "{name}")'  # noqa: S608 — names of the catalogue
                connection.execute(
                    text(f"SELECT setval(:s, coalesce({highest}, 1), {highest} IS NOT NULL)"),
                    {"s": sequence},
                )
