"""register-bulk: how many signed records of five values a second one node registers into its SQLite file.

    hazlink bench register-bulk [--records 30000] [--rounds 3] [--batch 2000] [--json FILE]

The subject is `Registry.register_many`: identifier and template checks, record signature, search rows, change and
audit rows, one transaction a batch, flushed to disk. The floor does the least that could be asked, in turns with it: one
Ed25519 signature and one plain INSERT for each record, in the same batches and with the same durability. Identifiers
come in no order, as they do in real use. Target: at least 3,000 records a second.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node.schema import upgrade
from registry.clock import SystemClock
from registry.errors import NotResponsibleError
from registry.identifier import Prefix
from registry.principal import Grant, Principal, Role
from registry.record import Draft
from registry.results import Done
from registry.service import MAX_BATCH, Registry
from registry.storage.engine import Database
from registry.template import load_templates
from registry.trust.keys import KeySigner, Signer
from tests.bench._harness import Figure, Series, options_of, report

__all__ = ["HOME", "WHO", "OneHome", "a_draft", "a_registry", "batches", "run"]

HOME = Prefix("88.107.1001")
WHO = Principal(name="bench", grants=frozenset({Grant(HOME, Role.EDITOR)}))
TARGET = 3_000
#: About as many bytes as the document of such a record.
_DOCUMENT_BYTES = 170


class OneHome:
    """`Signers` of a node with one prefix, its key in memory."""

    def __init__(self) -> None:
        self._signer = KeySigner(Ed25519PrivateKey.generate())

    def homes(self, prefix: Prefix) -> bool:
        return HOME.contains(prefix)

    def home_of(self, prefix: Prefix) -> Prefix | None:
        return HOME if HOME.contains(prefix) else None

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        if not HOME.contains(prefix):
            raise NotResponsibleError("registry.prefixes.not_homed", field="prefix", prefix=prefix.key)
        return self._signer, HOME


def a_registry(database: Database) -> Registry:
    """A registry over an empty database, whose schema is made here."""
    upgrade(database)
    return Registry(
        database=database,
        signers=OneHome(),
        templates=load_templates(),
        clock=SystemClock(),
        salts=os.urandom,
    )


def a_draft(number: int) -> Draft:
    """A batch with five values: three fields of its own, and the two that name the template."""
    return Draft(
        identifier=f"{HOME}/BATCH-{number * 7_919 % 100_000_007:08d}",
        kind="batch",
        fields={
            "NAME_ZH": f"示例溶剂{number % 100}号",
            "SUBSTANCE": f"{HOME}/SUBSTANCE-{number % 500:04d}",
            "QUANTITY": "20 t",
        },
    )


def batches(first: int, count: int, size: int) -> Iterator[list[Draft]]:
    for start in range(first, first + count, size):
        yield [a_draft(number) for number in range(start, min(start + size, first + count))]


def registered(registry: Registry, work: Sequence[Sequence[Draft]]) -> float:
    """Register every batch; return records a second."""
    began = time.perf_counter()
    for drafts in work:
        refused = [r for r in registry.register_many(WHO, drafts) if r.done is not Done.CREATED]
        if refused:
            raise SystemExit(f"{refused[0].identifier}: {refused[0].done.name} {refused[0].error or ''}")
    return sum(map(len, work)) / (time.perf_counter() - began)


def _floor(database: Database, work: Sequence[Sequence[Draft]]) -> float:
    key = Ed25519PrivateKey.generate()
    document = b"x" * _DOCUMENT_BYTES
    began = time.perf_counter()
    for drafts in work:
        with database.write() as connection:
            cursor = connection.connection.cursor()
            for draft in drafts:
                row = (draft.identifier, key.sign(document), document)
                cursor.execute("INSERT INTO plain VALUES (?, ?, ?)", row)
    return sum(map(len, work)) / (time.perf_counter() - began)


def run(argv: Sequence[str]) -> int:
    options = options_of("register-bulk", argv, records=30_000, rounds=3, batch=MAX_BATCH)
    started = time.monotonic()
    share = max(1, options.records // options.rounds)
    ours, floor = Series("register_many"), Series("signature and INSERT")
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'hazlink.sqlite3'}")
        least = Database(f"sqlite:///{Path(folder) / 'floor.sqlite3'}")
        registry = a_registry(database)
        with least.write() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE plain (id TEXT PRIMARY KEY, signature BLOB, document BLOB)"
            )
        for each in range(options.rounds):
            work = list(batches(each * share, share, options.batch))
            ours.rates.append(registered(registry, work))
            floor.rates.append(_floor(least, work))
        database.close()
        least.close()
    figure = Figure(
        "bulk registration, signed, five values, SQLite",
        ours.rate,
        "records/s",
        TARGET,
        detail={
            "floor (one signature, one INSERT)": floor.rate,
            "ratio": ours.rate / floor.rate,
            "batch": options.batch,
        },
    )
    return report("register-bulk", [figure], started=started, as_json=options.json)


if __name__ == "__main__":
    import sys

    raise SystemExit(run(sys.argv[1:]))
