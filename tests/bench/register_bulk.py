"""`hazlink bench register-bulk`: signed registration in batches, beside one signature plus one plain INSERT a record.

Also prints what a record costs on disk, table by table, on SQLite and (with --postgres) on PostgreSQL: the record with
its indexes, its search rows, and apart from them the audit trail and the change feed.
"""

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node.schema import upgrade
from registry.clock import SystemClock
from registry.identifier import Prefix
from registry.principal import Grant, Principal, Role
from registry.record import Draft
from registry.service import MAX_BATCH, Registry
from registry.storage.engine import Database
from registry.template import load_templates
from registry.trust.keys import KeySigner

__all__ = ["drafts", "run"]

HOME = Prefix("88.107.1001")
WHO = Principal(name="bench", grants=frozenset({Grant(HOME, Role.EDITOR)}))
#: Which tables make up a record, and which are counted apart.
GROUPS = {"record": ("record",), "search": ("search",), "audit": ("audit",), "change": ("change",)}


class _OneKey:
    def __init__(self):
        self._key = KeySigner(Ed25519PrivateKey.generate())

    def homes(self, prefix):
        return HOME.contains(prefix)

    def signer_for(self, prefix):
        return self._key, HOME


def drafts(first, count):
    """Batches of a substance with five values: two of the template, three business fields."""
    for n in range(first, first + count):
        yield Draft(
            identifier=f"{HOME}/BATCH-{n:08}",
            kind="substance",
            fields={"NAME_ZH": f"示例物质 {n}", "CAS_NO": "67-64-1", "HIGHLY_TOXIC": "false"},
        )


def a_registry(database):
    return Registry(
        database=database,
        signers=_OneKey(),
        templates=load_templates(),
        clock=SystemClock(),
        salts=os.urandom,
    )


def _register(registry, first, count):
    made = list(drafts(first, count))
    began = time.perf_counter()
    for start in range(0, count, MAX_BATCH):
        results = registry.register_many(WHO, made[start : start + MAX_BATCH])
        assert all(r.error is None for r in results), next(r.error for r in results if r.error)
    return count / (time.perf_counter() - began)


def _floor(folder, first, count):
    """One Ed25519 signature and one row a record, in the same batches and with the same durability."""
    key = Ed25519PrivateKey.generate()
    database = sqlite3.connect(folder / "floor.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS record (name TEXT PRIMARY KEY, document BLOB, signature BLOB)"
    )
    made = list(drafts(first, count))
    began = time.perf_counter()
    for start in range(0, count, MAX_BATCH):
        rows = []
        for draft in made[start : start + MAX_BATCH]:
            document = orjson.dumps(draft.fields)
            rows.append((draft.identifier, document, key.sign(document)))
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
        database.execute("COMMIT")
    return count / (time.perf_counter() - began)


def _sizes_sqlite(path, count):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    owners = dict(connection.execute("SELECT name, tbl_name FROM sqlite_master"))
    sizes = {}
    for name, size in connection.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name"):
        sizes[owners.get(name, name)] = sizes.get(owners.get(name, name), 0) + size
    return {group: sum(sizes.get(t, 0) for t in tables) / count for group, tables in GROUPS.items()}


def _sizes_postgres(database, count):
    asked = (
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class "
        "WHERE relkind = 'r' AND (relname = '{0}' OR relname LIKE '{0}\\_p%%')"
    )
    with database.write() as connection:
        connection.exec_driver_sql("CHECKPOINT")
        return {
            group: sum(int(connection.exec_driver_sql(asked.format(t)).scalar_one()) for t in tables) / count
            for group, tables in GROUPS.items()
        }


def _report_sizes(name, sizes):
    kept = sizes["record"] + sizes["search"]
    print(
        f"{name}: {kept:.0f} bytes a record with indexes (record {sizes['record']:.0f}, search {sizes['search']:.0f});"
        f" apart: audit {sizes['audit']:.0f}, change {sizes['change']:.0f}"
    )


def run(argv=None):
    """Print the figures; return 0."""
    options = argparse.ArgumentParser(prog="hazlink bench register-bulk", description=__doc__)
    options.add_argument("--records", type=int, default=20_000, help="records a round (default 20,000)")
    options.add_argument("--rounds", type=int, default=3, help="rounds, the median counts (default 3)")
    options.add_argument("--postgres", help="also measure on this PostgreSQL URL (an empty database)")
    chosen = options.parse_args(argv)
    count, rounds = chosen.records, chosen.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(f"sqlite:///{folder / 'node.sqlite3'}")
        upgrade(database)
        registry = a_registry(database)
        ours, floor = [], []
        for turn in range(rounds):
            ours.append(_register(registry, turn * count, count))
            floor.append(_floor(folder, turn * count, count))
        figure, beside = statistics.median(ours), statistics.median(floor)
        print(f"register-bulk: {figure:,.0f} records/s on SQLite, signed, durable (batches of {MAX_BATCH})")
        print(f"floor: {beside:,.0f} records/s (one Ed25519 signature and one plain INSERT each)")
        print(f"ratio: {figure / beside:.3f}")
        database.close()
        _report_sizes("SQLite", _sizes_sqlite(folder / "node.sqlite3", rounds * count))
    if chosen.postgres:
        database = Database(chosen.postgres)
        upgrade(database)
        print(f"PostgreSQL: {_register(a_registry(database), 0, count):,.0f} records/s")
        _report_sizes("PostgreSQL", _sizes_postgres(database, count))
        database.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(run())
