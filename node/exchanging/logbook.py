"""The node's log and its key: opened with the first prefix, written by the elected process alone."""

from collections.abc import Callable
from typing import Protocol

from federation.log.checkpoint import Checkpoint
from federation.log.linking import link_leaf
from federation.log.note import key_of
from federation.log.reading import LogReader
from federation.log.storage import LogRow, LogUnit
from federation.log.watched import WatchedLogs
from federation.log.witness import Witness
from federation.log.writer import CheckpointMarks, LogWriter, open_log
from federation.marks.content import CheckpointMark
from registry.clock import Clock
from registry.errors import HazlinkError, NotFoundError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.keys import Signer

__all__ = ["LogKeys", "Logbook"]


class LogKeys(Protocol):
    """Where private keys are kept, as `registry.trust.keys.KeyFolder`."""

    def create(self, alg: str = "Ed25519") -> Signer:
        """Make a key pair and keep it."""
        ...

    def load(self, kid: str) -> Signer:
        """Return the key pair with this thumbprint."""
        ...


class Logbook:
    """The log of this node, as the rest of the node sees it.

    Consistency: as the database. Durability: `open` returns when the key and the log's row are on the disk.
    Concurrency: any number of threads; checkpoints are written by whoever holds the fence. Errors: UnavailableError
    when the key or the database does not answer.
    """

    def __init__(
        self,
        *,
        database: Database,
        keys: LogKeys,
        marks: CheckpointMarks,
        clock: Clock,
        fence: Callable[[], int],
    ) -> None:
        self._database = database
        self._keys = keys
        self._marks = marks
        self._clock = clock
        self._fence = fence
        self._writer: tuple[str, LogWriter] | None = None
        self._witness: tuple[str, Witness] | None = None
        self.reader = LogReader(database)

    def open(self, prefix: Prefix) -> str:
        """Return the verifier key of this node's log; the first time, open it under the name of `prefix`.

        Raises:
            UnavailableError: the key cannot be kept, or the database cannot be written.
        """
        known = self._row()
        if known is not None:
            return known.vkey
        # a key without a log, after a crash between the two, harms nobody
        signer = self._keys.create()
        origin = f"{prefix.key}/log1"
        with self._database.write() as connection:
            unit = LogUnit(connection)
            known = unit.row()
            if known is not None:
                return known.vkey
            vkey = key_of(origin, signer).vkey
            unit.open(origin, signer.kid, vkey, int(self._clock.now()))
        return vkey

    @property
    def origin(self) -> str | None:
        """The name of the newest log; None before it is opened."""
        row = self._row()
        return row.origin if row is not None else None

    def renew(self, last: CheckpointMark) -> None:
        """Close the log, which cannot go on, and open another under the next name with a key of its own.

        Args:
            last: the furthest checkpoint of the old log that is known; the new one's first leaf names it.

        Raises:
            NotFoundError: there is no log yet.
            UnavailableError: the key cannot be kept, or the database cannot be written.
        """
        row = self._row()
        if row is None:
            raise NotFoundError("federation.log.no_log")
        prefix = row.origin.rpartition("/")[0]
        origin = f"{prefix}/log{row.number + 1}"
        link = link_leaf(row.origin, last.size, last.root, origin, int(self._clock.now()))
        open_log(self._database, origin=origin, signer=self._keys.create(), clock=self._clock, first=[link])

    @property
    def vkey(self) -> str | None:
        """The verifier key of the newest log; None before it is opened."""
        row = self._row()
        return row.vkey if row is not None else None

    def publish(self) -> Checkpoint | None:
        """Sign a checkpoint over what is in the log; None when nothing is new, or there is no log yet.

        Raises:
            UntrustedError: what is there contradicts what was signed; nothing more is signed.
            UnavailableError: the key or the database does not answer.
        """
        writer = self.writer()
        return writer.publish() if writer is not None else None

    def writer(self) -> LogWriter | None:
        """Return the writer of the newest log; None before it is opened.

        Raises:
            UnavailableError: the key cannot be loaded.
        """
        row = self._row()
        if row is None:
            return None
        if self._writer is None or self._writer[0] != row.vkey:
            signer = self._keys.load(row.kid)
            made = LogWriter(self._database, signer, row.origin, self._marks, self._clock, fence=self._fence)
            self._writer = (row.vkey, made)
        return self._writer[1]

    def witness(self, logs: WatchedLogs) -> Witness | None:
        """Return what cosigns for others, with the key of this log; None before it is opened.

        Raises:
            UnavailableError: the key cannot be loaded.
        """
        row = self._row()
        if row is None:
            return None
        if self._witness is None or self._witness[0] != row.vkey:
            made = Witness(
                database=self._database,
                signer=self._keys.load(row.kid),
                name=row.origin,
                logs=logs,
                clock=self._clock,
            )
            self._witness = (row.vkey, made)
        return self._witness[1]

    @property
    def stopped(self) -> HazlinkError | None:
        """Why the writer signs nothing more; None while all is well."""
        return self._writer[1].stopped if self._writer is not None else None

    def _row(self) -> LogRow | None:
        with self._database.read() as connection:
            return LogUnit(connection).row()
