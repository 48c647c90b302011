"""Rebuilding a log that is behind what it signed, from the mirror its witness keeps.

After a restore from an older backup the database has fewer leaves than were signed. The missing ones are appended
again, the very same bytes at the very same positions; then the root must be the one that was signed. If it is not,
what was appended is taken away again, and the log must be closed and another opened.
"""

from collections.abc import Sequence

from federation.log.merkle import CompactRange, leaf_hash
from federation.log.storage import LogUnit
from registry.errors import ConflictError, UntrustedError
from registry.storage.engine import Database

__all__ = ["LogRebuild"]

_CHUNK = 4_096


class LogRebuild:
    """One rebuilding. Nothing else may append meanwhile.

    Consistency: leaves are only appended where the last ended. Durability: each piece is kept; after a crash begin
    again and the rest is asked for. Concurrency: one thread. Errors: UnavailableError when the database cannot be
    used, and as said at each method.

    Args:
        database: where the log is.
        size: leaves that were signed.
        root: the root over them: of the mark outside the database, or of the checkpoint a witness cosigned.
    """

    def __init__(self, database: Database, *, size: int, root: bytes) -> None:
        self._database = database
        self._size = size
        self._root = root
        self._tree = CompactRange()
        self._started = -1

    @property
    def missing(self) -> tuple[int, int]:
        """Return the first leaf that is still missing, and how many are; reads what is there the first time."""
        if self._started < 0:
            self._read()
        return self._tree.size, max(0, self._size - self._tree.size)

    def feed(self, first: int, leaves: Sequence[bytes]) -> int:
        """Append leaves fetched from the mirror; those beyond the signed size are left out.

        Returns:
            How many are still missing.

        Raises:
            ConflictError: they do not follow the last leaf there is.
        """
        at, left = self.missing
        fresh = list(leaves[:left])
        if first != at:
            raise ConflictError("federation.log.rebuild_place", field="from", value=first, right=at)
        with self._database.write() as connection:
            unit = LogUnit(connection)
            if unit.size() != at:
                raise ConflictError("federation.log.rebuild_place", field="from", value=unit.size(), right=at)
            unit.append(fresh)
        for leaf in fresh:
            self._tree.add(leaf_hash(leaf))
        return self.missing[1]

    def finish(self) -> int:
        """Check the root over the signed leaves; return how many were appended.

        Raises:
            UntrustedError: it is not the one that was signed; what was appended is gone again.
            ConflictError: leaves are still missing.
        """
        at, left = self.missing
        if left:
            raise ConflictError("federation.log.rebuild_short", field="size", value=at, right=self._size)
        # when more is there than was signed, only the signed part can be compared
        made = self._tree.root() if at == self._size else self._walk(self._size).root()
        if made != self._root:
            with self._database.write() as connection:
                LogUnit(connection).truncate(self._started)
            raise UntrustedError("federation.log.rebuild_root", field="root", value=self._size)
        return at - self._started

    def root(self) -> bytes:
        """Return the root over the first `size` leaves there are.

        Raises:
            UntrustedError: one of them is not there.
        """
        return self._walk(self._size).root()

    def _read(self) -> None:
        self._tree = self._walk(None)
        self._started = self._tree.size

    def _walk(self, end: int | None) -> CompactRange:
        tree = CompactRange()
        with self._database.read() as connection:
            unit = LogUnit(connection)
            size = unit.size() if end is None else end
            while tree.size < size:
                leaves = unit.leaves(tree.size, min(_CHUNK, size - tree.size))
                if not leaves:
                    raise UntrustedError("federation.log.rows", field="log_leaf", value=tree.size, right=size)
                for leaf in leaves:
                    tree.add(leaf_hash(leaf))
        return tree
