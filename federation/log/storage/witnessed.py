"""One transaction over other nodes' logs: what was cosigned, mirrored and seen, and evidence of forks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from federation.log.storage.tables import log_fork, log_mirror, log_seen, log_witnessed

__all__ = ["ForkRow", "WitnessUnit", "WitnessedRow"]

_CHUNK = 2_000
_SEEN_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class WitnessedRow:
    """How far this node witnessed a log.

    Attributes:
        id: of the row.
        origin, vkey: of the log.
        size, root, note, at: the newest checkpoint cosigned; size 0 before the first.
        mirrored: leaves of the mirror under a cosigned checkpoint.
        peaks: the complete subtrees over those, 32 bytes each, from the left.
    """

    id: int
    origin: str
    vkey: str
    size: int
    root: bytes
    note: bytes
    at: int
    mirrored: int
    peaks: bytes


@dataclass(frozen=True, slots=True)
class ForkRow:
    """Two signed checkpoints of one log that exclude each other; `proof` where their sizes differ."""

    origin: str
    first: bytes
    second: bytes
    proof: bytes
    via: str
    at: int


class WitnessUnit:
    """Other nodes' logs inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # what was cosigned

    def get(self, origin: str, *, lock: bool = False) -> WitnessedRow | None:
        """Return how far a log was witnessed; `lock`: and let nobody else change it."""
        asked = select(log_witnessed).where(log_witnessed.c.origin == origin)
        row = self._connection.execute(asked.with_for_update() if lock else asked).first()
        return None if row is None else _row(row)

    def begin(self, origin: str, vkey: str, root: bytes, at: int) -> WitnessedRow:
        """Return the locked row of a log, making it when it is new (size 0, `root` the empty one)."""
        known = self.get(origin, lock=True)
        if known is None:
            try:
                with self._connection.begin_nested():
                    self._connection.execute(
                        insert(log_witnessed).values(
                            origin=origin,
                            vkey=vkey,
                            size=0,
                            root=root,
                            note=b"",
                            at=at,
                            mirrored=0,
                            peaks=b"",
                        )
                    )
            except IntegrityError:
                pass
            known = self.get(origin, lock=True)
        if known is None:  # pragma: no cover — it was there or was made just now
            raise LookupError(origin)
        return known

    def every(self) -> list[WitnessedRow]:
        """Return every witnessed log, by origin."""
        rows = self._connection.execute(select(log_witnessed).order_by(log_witnessed.c.origin))
        return [_row(row) for row in rows]

    def set(self, row: WitnessedRow) -> None:
        """Store the new state of a row."""
        self._connection.execute(
            update(log_witnessed)
            .where(log_witnessed.c.id == row.id)
            .values(
                vkey=row.vkey,
                size=row.size,
                root=row.root,
                note=row.note,
                at=row.at,
                mirrored=row.mirrored,
                peaks=row.peaks,
            )
        )

    # their leaves

    def mirror_size(self, witnessed: int) -> int:
        """Return one more than the highest position in the mirror, covered by a checkpoint or not."""
        asked = select(func.max(log_mirror.c.position)).where(log_mirror.c.witnessed == witnessed)
        highest = self._connection.execute(asked).scalar()
        return 0 if highest is None else int(highest) + 1

    def mirror(self, witnessed: int, first: int, leaves: Sequence[bytes]) -> None:
        """Add leaves to a mirror."""
        rows = [
            {"witnessed": witnessed, "position": position, "leaf": leaf}
            for position, leaf in enumerate(leaves, start=first)
        ]
        for start in range(0, len(rows), _CHUNK):
            self._connection.execute(insert(log_mirror), rows[start : start + _CHUNK])

    def mirrored(self, witnessed: int, first: int, end: int) -> list[bytes]:
        """Return the leaves at [first, end) that are there, in order."""
        asked = (
            select(log_mirror.c.leaf)
            .where(log_mirror.c.witnessed == witnessed)
            .where(log_mirror.c.position >= first, log_mirror.c.position < end)
            .order_by(log_mirror.c.position)
        )
        return [bytes(row.leaf) for row in self._connection.execute(asked)]

    def forget(self, witnessed: int, first: int) -> None:
        """Drop the leaves from `first` on: no checkpoint covers them."""
        self._connection.execute(
            delete(log_mirror).where(log_mirror.c.witnessed == witnessed, log_mirror.c.position >= first)
        )

    # what was seen

    def saw(self, origin: str, size: int, root: bytes, note: bytes, *, via: str, at: int) -> None:
        """Remember a signed checkpoint; the newest thousand of a log are kept."""
        here = (log_seen.c.origin == origin, log_seen.c.size == size, log_seen.c.root == root)
        if self._connection.execute(select(log_seen.c.at).where(*here)).first() is not None:
            return
        self._connection.execute(
            insert(log_seen).values(origin=origin, size=size, root=root, note=note, via=via, at=at)
        )
        old = (
            select(log_seen.c.size)
            .where(log_seen.c.origin == origin)
            .order_by(log_seen.c.size.desc())
            .offset(_SEEN_KEPT)
            .limit(1)
        )
        bound = self._connection.execute(old).scalar()
        if bound is not None:
            self._connection.execute(
                delete(log_seen).where(log_seen.c.origin == origin, log_seen.c.size <= bound)
            )

    def seen_at(self, origin: str, size: int) -> list[tuple[bytes, bytes]]:
        """Return (root, note) of every checkpoint of this size that was seen."""
        rows = self._connection.execute(
            select(log_seen.c.root, log_seen.c.note).where(
                log_seen.c.origin == origin, log_seen.c.size == size
            )
        )
        return [(bytes(row.root), bytes(row.note)) for row in rows]

    def last_seen(self, origin: str) -> tuple[int, bytes, bytes] | None:
        """Return (size, root, note) of the largest checkpoint seen."""
        row = self._connection.execute(
            select(log_seen.c.size, log_seen.c.root, log_seen.c.note)
            .where(log_seen.c.origin == origin)
            .order_by(log_seen.c.size.desc())
            .limit(1)
        ).first()
        return None if row is None else (int(row.size), bytes(row.root), bytes(row.note))

    # forks

    def put_fork(self, fork: ForkRow) -> bool:
        """Keep the evidence of a fork; say whether it is new."""
        digest = hashlib.sha256(b"\x00".join(sorted((fork.first, fork.second)))).digest()
        if self._connection.execute(select(log_fork.c.id).where(log_fork.c.digest == digest)).first():
            return False
        self._connection.execute(
            insert(log_fork).values(
                origin=fork.origin,
                first=fork.first,
                second=fork.second,
                proof=fork.proof,
                via=fork.via,
                at=fork.at,
                digest=digest,
            )
        )
        return True

    def forks(self, limit: int = 100) -> list[ForkRow]:
        """Return the evidence kept, newest first."""
        asked = select(
            log_fork.c.origin,
            log_fork.c.first,
            log_fork.c.second,
            log_fork.c.proof,
            log_fork.c.via,
            log_fork.c.at,
        )
        rows = self._connection.execute(asked.order_by(log_fork.c.id.desc()).limit(limit))
        return [
            ForkRow(row.origin, bytes(row.first), bytes(row.second), bytes(row.proof), row.via, int(row.at))
            for row in rows
        ]


def _row(row: Any) -> WitnessedRow:
    return WitnessedRow(
        id=int(row.id),
        origin=row.origin,
        vkey=row.vkey,
        size=int(row.size),
        root=bytes(row.root),
        note=bytes(row.note),
        at=int(row.at),
        mirrored=int(row.mirrored),
        peaks=bytes(row.peaks),
    )
