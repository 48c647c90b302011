"""The database: one SQLite file by default, PostgreSQL by URL.

SQLite runs in WAL mode with full sync: a commit that returned is on the disk. There is one writer at a time: inside
the process threads take turns, and do not busy-wait on SQLite's own lock, which other processes respect through the
busy timeout. Each `read()` sees one snapshot, each `write()` is one transaction that commits at its end or leaves
nothing.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from registry.errors import UnavailableError

__all__ = ["Database", "metadata"]

#: Every table of every room hangs here, so that one set of migrations covers them.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_BUSY_MILLISECONDS = 30_000


class Database:
    """An open database.

    Consistency: read snapshots, serialised writes. Durability: a commit that returned survives `kill -9` and power
    loss. Concurrency: any number of threads. Errors: UnavailableError when the database cannot be reached, is
    locked for longer than 30 s or read-only; nothing was written then.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"poolclass": QueuePool, "pool_size": pool_size, "pool_timeout": 30}
        if self.is_sqlite:
            # The connection used last comes first: what it has cached and mapped is used again.
            options["pool_use_lifo"] = True
            options["connect_args"] = {"check_same_thread": False, "timeout": _BUSY_MILLISECONDS / 1000}
        else:
            options["pool_pre_ping"] = True
        self.engine = create_engine(self.url, **options)
        # PostgreSQL would else show each statement of a reader another moment
        self._reading = (
            self.engine
            if self.is_sqlite
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._writer = _Turns() if self.is_sqlite else None
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one read-only snapshot."""
        with _translated(), self._reading.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()
                if self.is_sqlite:
                    _end_sqlite(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open one transaction; commit at the end, roll back on any exception."""
        with _translated(), self._writer or nullcontext(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                if self.is_sqlite:
                    connection.exec_driver_sql("COMMIT")
                connection.commit()
            except BaseException:
                connection.rollback()
                if self.is_sqlite:
                    _end_sqlite(connection)
                raise

    def hurry(self) -> None:
        """Let this thread write before threads that are in no hurry, from now on; for the initializer of a pool."""
        if self._writer is not None:
            self._writer.hurry()

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


class _Turns:
    """Lets one thread in at a time: those in a hurry first, the others in the order in which they came."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: dict[bool, deque[threading.Lock]] = {True: deque(), False: deque()}
        self._thread = threading.local()

    def hurry(self) -> None:
        """Let this thread go first from now on."""
        self._thread.hurries = True

    def __enter__(self) -> None:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting[getattr(self._thread, "hurries", False)].append(turn)
        turn.acquire()

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            for waiting in self._waiting.values():
                if waiting:
                    # handed over: nobody who comes later can be quicker
                    waiting.popleft().release()
                    return
            self._taken = False


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # SQLAlchemy's BEGIN is a promise only; the driver must not open transactions of its own.
    # Mapping the file makes scattered reads of a large database cheaper than copying each page. Every connection's
    # mapping counts as resident, though the system shares the pages and takes them back when memory is short.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-16384",
        "mmap_size=1073741824",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _end_sqlite(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    if driver is not None and driver.in_transaction:
        driver.execute("ROLLBACK")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise UnavailableError(
            "registry.storage.unavailable", retry_after=1, reason=str(error.orig)
        ) from error
