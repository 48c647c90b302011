"""The fence in the database, and PostgreSQL's session lock.

The counter row `fence` is the number of the last election won. Every transaction that signs locks it first and
refuses when it is not its own: a holder that was asleep while another one took over can commit nothing.
"""

import threading

from sqlalchemy import Connection, create_engine, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from registry.errors import ConflictError, UnavailableError
from registry.storage.engine import Database
from registry.storage.tables import counter

__all__ = ["SessionLock", "fence", "raise_fence", "require_fence"]

_ROW = "fence"
#: Any number that nothing else in the database uses; the database belongs to one node.
_LOCK = 8_801_071
_PATIENCE_MILLISECONDS = 5_000


def fence(database: Database) -> int:
    """Return the fence of the last election won; 0 when there was none.

    Raises:
        UnavailableError: the database cannot be read.
    """
    with database.read() as connection:
        found = connection.execute(select(counter.c.next).where(counter.c.name == _ROW)).scalar()
    return int(found or 0)


def raise_fence(database: Database, to: int) -> None:
    """Write the fence of an election just won.

    Raises:
        ConflictError: another process has won a later one.
        UnavailableError: the database cannot be written.
    """
    with database.write() as connection:
        known = _locked(connection)
        if known is None:
            connection.execute(insert(counter).values(name=_ROW, next=to))
        elif known < to:
            connection.execute(update(counter).where(counter.c.name == _ROW).values(next=to))
        else:
            raise ConflictError("federation.marks.fenced", field="fence", value=to, right=known)


def require_fence(connection: Connection, held: int) -> None:
    """Lock the fence for this transaction; the first statement of every transaction that signs.

    Raises:
        ConflictError: another process has taken over.
    """
    known = _locked(connection)
    if known != held:
        raise ConflictError("federation.marks.fenced", field="fence", value=held, right=known or 0)


def _locked(connection: Connection) -> int | None:
    chosen = select(counter.c.next).where(counter.c.name == _ROW).with_for_update()
    found = connection.execute(chosen).scalar()
    return None if found is None else int(found)


class SessionLock:
    """PostgreSQL's advisory lock, on a connection of its own that does nothing else.

    The server drops it with the connection. A connection that does not answer within five seconds counts as lost, and
    so does one behind a pooler that handed it to another session.
    """

    def __init__(self, database: Database) -> None:
        self._engine = create_engine(
            database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "connect_timeout": _PATIENCE_MILLISECONDS // 1000,
                "keepalives": 1,
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 2,
                "tcp_user_timeout": _PATIENCE_MILLISECONDS,
                "options": f"-c statement_timeout={_PATIENCE_MILLISECONDS} -c idle_session_timeout=0",
            },
        )
        self._connection: Connection | None = None
        # a question that got no answer in time may still be under way when the lock is let go
        self._mutex = threading.RLock()

    def acquire(self) -> bool:
        """Try to take it, without waiting.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        with self._mutex:
            if self.holds():
                return True
            self.release()
            try:
                self._connection = self._engine.connect()
                asked = text("SELECT pg_try_advisory_lock(:n)")
                taken = bool(self._connection.execute(asked, {"n": _LOCK}).scalar())
            except SQLAlchemyError as error:
                self.release()
                raise UnavailableError(
                    "registry.storage.unavailable", retry_after=1, reason=str(getattr(error, "orig", error))
                ) from error
            if not taken:
                self.release()
            return taken

    def holds(self) -> bool:
        """Ask the server whether this very session still has the lock."""
        asked = text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
            " AND classid = 0 AND objid = :n AND objsubid = 1"
        )
        with self._mutex:
            if self._connection is None:
                return False
            try:
                return self._connection.execute(asked, {"n": _LOCK}).scalar() == 1
            except SQLAlchemyError:
                return False

    def release(self) -> None:
        """Let go of it by closing the session."""
        with self._mutex:
            if self._connection is None:
                return
            connection, self._connection = self._connection, None
            try:
                connection.close()
            except SQLAlchemyError:
                connection.invalidate()
