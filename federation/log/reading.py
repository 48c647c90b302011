"""Reading the log: checkpoints, tiles, entries and proofs, all of them under a checkpoint that was published.

What no checkpoint covers yet is not shown. Entries below the minimum index are no longer served; they are kept, and
proofs for them can still be made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from federation.log.merkle import HASH_BYTES, consistency, inclusion
from federation.log.proof import TlogProof
from federation.log.storage import LogUnit, StoredCheckpoint
from federation.log.tiles import WIDTH, width_at
from federation.log.writer import tile_hashes
from registry.errors import GoneError, InvalidValueError, LimitError, NotFoundError
from registry.storage.engine import Database

__all__ = [
    "MAX_PROOFS",
    "LogReader",
    "LogState",
    "Proven",
    "bundle",
    "consistency_in",
    "proofs_in",
]

#: How many proofs one call makes.
MAX_PROOFS = 1_000

_LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True)
class LogState:
    """How the log stands.

    Attributes:
        origin, vkey: of the newest log; None before it is opened.
        size: leaves there are.
        published: leaves under the newest checkpoint.
        published_at: POSIX seconds of that checkpoint, or None.
        cosigned: leaves under the newest checkpoint that a witness signed.
        minimum: entries below are not served.
    """

    origin: str | None
    vkey: str | None
    size: int
    published: int
    published_at: int | None
    cosigned: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Proven:
    """Proofs under one checkpoint.

    Attributes:
        checkpoint: the signed note.
        size: its size.
        proofs: by position, the hashes from the leaf to the root; what the checkpoint does not cover is missing.
    """

    checkpoint: bytes
    size: int
    proofs: dict[int, tuple[bytes, ...]]


def bundle(leaves: Sequence[bytes]) -> bytes:
    """Return an entries bundle: each leaf after its length in two bytes."""
    return b"".join(len(leaf).to_bytes(_LENGTH_BYTES, "big") + leaf for leaf in leaves)


def proofs_in(unit: LogUnit, positions: Sequence[int], *, cosigned: bool = False) -> Proven:
    """Make proofs in an open transaction; see `LogReader.proofs`.

    Raises:
        LimitError: more than 1,000.
        NotFoundError: nothing was published yet.
    """
    if len(positions) > MAX_PROOFS:
        raise LimitError("federation.log.proofs", count=len(positions), limit=MAX_PROOFS)
    newest = _covering(unit, max(positions, default=0)) if cosigned else None
    newest = newest or _newest(unit)
    hashes = tile_hashes(unit)
    proofs = {
        position: tuple(inclusion(hashes, position, newest.size))
        for position in sorted(set(positions))
        if 0 <= position < newest.size
    }
    return Proven(newest.note, newest.size, proofs)


def consistency_in(unit: LogUnit, old: int, size: int) -> tuple[bytes, ...]:
    """Make a consistency proof in an open transaction.

    Raises:
        InvalidValueError: not 0 < old <= size <= what was published.
    """
    published = _newest(unit).size
    if not 0 < old <= size <= published:
        raise InvalidValueError("federation.log.range", field="size", first=old, end=size, limit=published)
    return tuple(consistency(tile_hashes(unit), old, size))


class LogReader:
    """Reads the node's log.

    Consistency: each call sees one snapshot. Concurrency: any number of threads. Errors: as said at each method, and
    UnavailableError when the database cannot be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def state(self) -> LogState:
        """Return how the log stands."""
        with self._database.read() as connection:
            unit = LogUnit(connection)
            row, size, newest, cosigned = unit.row(), unit.size(), unit.newest(), unit.newest(cosigned=True)
        return LogState(
            origin=row.origin if row else None,
            vkey=row.vkey if row else None,
            size=size,
            published=newest.size if newest else 0,
            published_at=newest.at if newest else None,
            cosigned=cosigned.size if cosigned else 0,
            minimum=row.minimum if row else 0,
        )

    def checkpoint(self, *, cosigned: bool = False) -> StoredCheckpoint:
        """Return the newest checkpoint, or the newest that a witness signed.

        Raises:
            NotFoundError: there is none yet.
        """
        with self._database.read() as connection:
            found = LogUnit(connection).newest(cosigned=cosigned)
        if found is None:
            raise NotFoundError("federation.log.unpublished")
        return found

    def step(self, after: int, most: int) -> StoredCheckpoint:
        """Return the checkpoint to show next to somebody who has seen `after` leaves: the newest, or one on the way.

        Args:
            after: how many leaves.
            most: how many more at a time, where there is a checkpoint so near.

        Raises:
            NotFoundError: there is none yet.
        """
        with self._database.read() as connection:
            unit = LogUnit(connection)
            return unit.step(after, most) or _newest(unit)

    def tile(self, level: int, number: int, width: int = WIDTH) -> bytes:
        """Return the first `width` hashes of a tile.

        Raises:
            NotFoundError: no published tree has such a tile.
        """
        with self._database.read() as connection:
            unit = LogUnit(connection)
            _require(unit, level, number, width)
            (held,) = unit.tiles([(level, number)])
        return held[: width * HASH_BYTES]

    def entries(self, number: int, width: int = WIDTH) -> bytes:
        """Return the leaves under the first `width` hashes of tile (0, number), as an entries bundle.

        Raises:
            NotFoundError: no published tree has such a tile.
            GoneError: they lie below the minimum index.
        """
        with self._database.read() as connection:
            unit = LogUnit(connection)
            _require(unit, 0, number, width)
            row = unit.row()
            if row is not None and number * WIDTH < row.minimum:
                raise GoneError("federation.log.pruned", field="entries", minimum=row.minimum)
            return bundle(unit.leaves(number * WIDTH, width))

    def leaves(self, first: int, count: int) -> list[bytes]:
        """Return leaves of this node for its own use, published or not."""
        with self._database.read() as connection:
            return LogUnit(connection).leaves(first, count)

    def find(self, env: str) -> list[tuple[int, bytes]]:
        """Return (position, leaf) of every leaf about an envelope, oldest first; `env`: its base64url hash."""
        with self._database.read() as connection:
            return LogUnit(connection).find([env]).get(env, [])

    def proofs(self, positions: Sequence[int], *, cosigned: bool = False) -> Proven:
        """Prove many entries under one checkpoint.

        Args:
            positions: up to 1,000.
            cosigned: take the newest checkpoint that a witness signed if it covers all of them.

        Raises:
            LimitError: more than 1,000.
            NotFoundError: nothing was published yet.
        """
        with self._database.read() as connection:
            return proofs_in(LogUnit(connection), positions, cosigned=cosigned)

    def proof(self, position: int) -> TlogProof:
        """Prove one entry, under a checkpoint that a witness signed where there is one.

        Raises:
            NotFoundError: no checkpoint covers it yet.
        """
        proven = self.proofs([position], cosigned=True)
        if position not in proven.proofs:
            raise NotFoundError("federation.log.uncovered", field="index", value=position, size=proven.size)
        return TlogProof(position, proven.proofs[position], proven.checkpoint)

    def prove(self, env: str, kinds: Sequence[str] = ("in", "out", "ack", "key", "epoch")) -> TlogProof:
        """Prove that this log holds an envelope: its receipt's leaf first, else that of its sending, and so on.

        Args:
            env: base64url hash of the envelope.
            kinds: which leaves, the most wanted first.

        Raises:
            NotFoundError: there is no such leaf, or no checkpoint covers it yet.
        """
        found = self.find(env)
        for kind in kinds:
            mark = f'"kind":"{kind}"'.encode()
            for position, leaf in found:
                if mark in leaf:
                    return self.proof(position)
        raise NotFoundError("federation.log.no_leaf", field="env", value=env[:64])

    def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """Prove that the tree of `size` leaves continues that of `old`.

        Raises:
            InvalidValueError: not 0 < old <= size <= what was published.
            NotFoundError: nothing was published yet.
        """
        with self._database.read() as connection:
            return consistency_in(LogUnit(connection), old, size)


def _newest(unit: LogUnit) -> StoredCheckpoint:
    found = unit.newest()
    if found is None:
        raise NotFoundError("federation.log.unpublished")
    return found


def _covering(unit: LogUnit, position: int) -> StoredCheckpoint | None:
    found = unit.newest(cosigned=True)
    return found if found is not None and position < found.size else None


def _require(unit: LogUnit, level: int, number: int, width: int) -> None:
    newest = unit.newest()
    if newest is None or width > width_at(newest.size, level, number):
        raise NotFoundError("federation.log.no_tile", field="tile", value=f"{level}/{number}")
