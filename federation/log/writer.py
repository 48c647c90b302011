"""The one writer of the log: makes tiles out of new leaves, checks everything it stands on, and signs checkpoints.

Rules (facts on federation, (c) "Writer"):

- a checkpoint is signed only when the tiles give the root of the mark outside the database and that of the last
  checkpoint, and the new tree continues both; the mark is raised before the signature is made;
- with each checkpoint a piece of what is old is read again, leaf against tile and tile against the one above, round
  and round: damage is found before it is signed over;
- what does not fit stops the writer for good: only somebody who has looked (fsck, rebuild) starts it again;
- one writer at a time: the fence, in the mark file and in the database, belongs to the elected process.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from federation.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from federation.log.cosigning import add_cosignatures
from federation.log.merkle import (
    HASH_BYTES,
    consistency,
    inclusion,
    leaf_hash,
    root,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from federation.log.note import NoteKey, NoteSignature, key_of
from federation.log.storage import LogUnit, StoredCheckpoint, StoredTile
from federation.log.tiles import WIDTH, TileHashes, width_at
from registry.clock import Clock
from registry.errors import HazlinkError, UntrustedError
from registry.storage.engine import Database
from registry.trust.keys import Signer

__all__ = ["CheckpointMarks", "LogWriter", "check_tiles", "open_log", "tile_hashes"]

_CHUNK_LEAVES = 32 * WIDTH
_CHECKED_TILES = 16
_TILE_BYTES = WIDTH * HASH_BYTES


class CheckpointMarks(Protocol):
    """The memory outside the database of what was signed.

    Consistency: marks only rise. Durability: `raise_checkpoint` survives power loss once it returned. Concurrency:
    any number of threads. Errors: UnavailableError when it cannot be read or written, ConflictError when somebody
    else has become the signer, UntrustedError when a mark would fall or change.
    """

    def checkpoint(self, origin: str) -> tuple[int, bytes] | None:
        """Return size and root of the newest checkpoint signed, or None."""
        ...

    def raise_checkpoint(self, origin: str, size: int, root: bytes) -> None:
        """Remember a checkpoint that is about to be signed."""
        ...


def tile_hashes(unit: LogUnit) -> TileHashes:
    """Return the hashes of the log of this transaction."""
    return TileHashes(unit.tiles)


def open_log(
    database: Database, *, origin: str, signer: Signer, clock: Clock, first: Sequence[bytes] = ()
) -> None:
    """Open the node's first log, or close the one there is (it cannot go on) and open another.

    Args:
        database: where the log is.
        origin: its name.
        signer: its key.
        clock: the time.
        first: the leaves it begins with.

    Raises:
        MalformedError: the origin is no name.
        NotSupportedError: the key cannot sign notes.
        UnavailableError: the database cannot be written.
    """
    key = key_of(origin, signer)
    with database.write() as connection:
        unit = LogUnit(connection)
        unit.open(origin, signer.kid, key.vkey, int(clock.now()))
        if first:
            unit.append(first)


class LogWriter:
    """Signs the checkpoints of one log.

    Consistency: never signs what contradicts what was signed. Durability: a checkpoint that was returned is stored,
    its mark too. Concurrency: one thread at a time, others wait. Errors: as `publish` says.

    Args:
        database: where the log is.
        signer: the log's key.
        origin: the log's name.
        marks: what was signed, outside the database.
        clock: for the time kept with a checkpoint.
        fence: gives the fence this process holds; compared with the database's in each transaction. None: no other
            process can write here.
        checked_tiles: how many old tiles are read again before each checkpoint.
    """

    def __init__(
        self,
        database: Database,
        signer: Signer,
        origin: str,
        marks: CheckpointMarks,
        clock: Clock,
        *,
        fence: Callable[[], int] | None = None,
        checked_tiles: int = _CHECKED_TILES,
    ) -> None:
        self._database = database
        self._signer = signer
        self._origin = origin
        self._key = key_of(origin, signer)
        self._marks = marks
        self._clock = clock
        self._fence = fence
        self._checked_tiles = checked_tiles
        self._next_checked = 0
        self._lock = threading.Lock()
        self._stopped: UntrustedError | None = None

    @property
    def key(self) -> NoteKey:
        """The public side of the log's key."""
        return self._key

    @property
    def stopped(self) -> HazlinkError | None:
        """Why nothing is signed any more, or None."""
        return self._stopped

    def resume(self) -> None:
        """Start again after somebody has looked at what stopped the writer, and has healed it."""
        with self._lock:
            self._stopped = None
            self._next_checked = 0

    def publish(self) -> Checkpoint | None:
        """Sign a checkpoint over all leaves there are; None when the newest one covers them, or there are none.

        Raises:
            UntrustedError: leaves, tiles, checkpoint and mark do not fit together; the writer stays stopped.
            ConflictError: another process holds the fence.
            UnavailableError: database, mark or key cannot be used now; nothing was signed.
        """
        with self._lock:
            if self._stopped is not None:
                raise self._stopped
            try:
                return self._publish()
            except UntrustedError as error:
                self._stopped = error
                raise

    def add_cosignatures(
        self, size: int, signatures: Sequence[NoteSignature], witnesses: Sequence[NoteKey]
    ) -> int:
        """Put witnesses' signatures under the stored checkpoint of `size`; return how many witnesses it has now.

        Raises:
            NotFoundError: there is no such checkpoint.
            UntrustedError: a signature is not one of `witnesses` over this checkpoint.
        """
        return add_cosignatures(self._database, size, signatures, witnesses)

    def _publish(self) -> Checkpoint | None:
        self._prepare()
        size, tiled, known, newest = self._standing()
        while tiled < size:
            tiled = self._grow(size)
        with self._database.read() as connection:
            unit = LogUnit(connection)
            made = self._judge(unit, size, known)
            self._check_old(unit)
        if made is None or newest == size:
            return None
        self._marks.raise_checkpoint(self._origin, made.size, made.root)
        self._sign(made)
        return made

    def _prepare(self) -> None:
        with self._database.read() as connection:
            row = LogUnit(connection).row()
        if row is None:
            open_log(self._database, origin=self._origin, signer=self._signer, clock=self._clock)
        elif (row.origin, row.vkey, row.state) != (self._origin, self._key.vkey, "open"):
            raise UntrustedError(
                "federation.log.other_log", field="origin", value=self._origin, right=row.origin
            )

    def _standing(self) -> tuple[int, int, list[tuple[int, bytes]], int]:
        """Return the size to sign, how far tiles go, what was signed before, and the newest checkpoint's size."""
        mark = self._marks.checkpoint(self._origin)
        with self._database.read() as connection:
            unit = LogUnit(connection)
            size, end, tiled, newest = unit.size(), unit.end(), unit.tiled(), unit.newest()
        if end != size:
            raise UntrustedError("federation.log.rows", field="log_leaf", value=end, right=size)
        if tiled > size:
            raise UntrustedError("federation.log.tiles_ahead", field="log_tile", value=tiled, right=size)
        known = [] if mark is None else [mark]
        if newest is not None:
            known.append((newest.size, newest.root))
        for signed, _ in known:
            if signed > size:
                raise UntrustedError("federation.log.behind", field="size", value=size, right=signed)
        return size, tiled, known, newest.size if newest is not None else -1

    def _grow(self, size: int) -> int:
        """Make tiles of the next leaves; return how far they go then."""
        with self._database.write() as connection:
            unit = LogUnit(connection)
            self._check_fence(unit)
            tiled = unit.tiled()
            count = min(size - tiled, _CHUNK_LEAVES)
            leaves = unit.leaves(tiled, count)
            if len(leaves) != count:
                raise UntrustedError("federation.log.rows", field="log_leaf", value=len(leaves), right=count)
            unit.put_tiles(_grown(unit, tiled, [leaf_hash(leaf) for leaf in leaves]))
            return tiled + count

    def _judge(self, unit: LogUnit, size: int, known: Iterable[tuple[int, bytes]]) -> Checkpoint | None:
        """Return the checkpoint for `size`, if the tiles agree with all that was signed before."""
        if not size:
            return None
        hashes = tile_hashes(unit)
        try:
            made = root_at(hashes, size)
            for old, old_root in known:
                if old and not verify_consistency(old, old_root, size, made, consistency(hashes, old, size)):
                    raise UntrustedError(
                        "federation.log.inconsistent", field="log_tile", value=size, right=old
                    )
            (last,) = unit.leaves(size - 1, 1)
            steps = inclusion(hashes, size - 1, size)
        except (KeyError, ValueError):
            raise UntrustedError("federation.log.tile_short", field="log_tile", value=size) from None
        if not verify_inclusion(leaf_hash(last), size - 1, size, steps, made):
            raise UntrustedError("federation.log.leaf_tile", field="log_leaf", value=size - 1)
        return Checkpoint(self._origin, size, made)

    def _check_old(self, unit: LogUnit) -> None:
        """Read the next few tiles again, with their leaves and the tiles above."""
        tiled = unit.tiled()
        tiles = -(-tiled // WIDTH)
        if self._next_checked >= tiles:
            self._next_checked = 0
        end = min(tiles, self._next_checked + self._checked_tiles)
        check_tiles(unit, range(self._next_checked, end), tiled)
        self._next_checked = end

    def _sign(self, made: Checkpoint) -> None:
        with self._database.write() as connection:
            unit = LogUnit(connection)
            self._check_fence(unit)
            note = sign_checkpoint(made, self._signer)
            open_checkpoint(note.encode(), self._key)
            at = int(self._clock.now())
            unit.put_checkpoint(StoredCheckpoint(made.size, made.root, note.encode(), 0, at))

    def _check_fence(self, unit: LogUnit) -> None:
        if self._fence is not None:
            unit.check_fence(self._fence())


def check_tiles(unit: LogUnit, numbers: Sequence[int], tiled: int) -> None:
    """Compare level-0 tiles with their leaves, and every tile above them with the one it stands on.

    Raises:
        UntrustedError: one does not fit; `field` says which.
    """
    if not numbers:
        return
    level, wanted = 0, list(numbers)
    first = wanted[0] * WIDTH
    leaves = unit.leaves(first, min(tiled, (wanted[-1] + 1) * WIDTH) - first)
    below = b"".join(leaf_hash(leaf) for leaf in leaves)
    start = wanted[0] * _TILE_BYTES
    while wanted:
        held = unit.tiles([(level, number) for number in wanted])
        roots: dict[int, bytes] = {}
        for number, tile in zip(wanted, held, strict=True):
            width = width_at(tiled, level, number)
            offset = number * _TILE_BYTES - start
            # at level 0 the whole tile is known from its leaves; above, the part that was computed just now
            right = below[max(offset, 0) : offset + _TILE_BYTES]
            at = max(-offset, 0)
            if len(tile) != width * HASH_BYTES or tile[at : at + len(right)] != right:
                raise UntrustedError("federation.log.tile_wrong", field=f"tile/{level}/{number}")
            if width == WIDTH:
                roots[number] = root([tile[i : i + HASH_BYTES] for i in range(0, _TILE_BYTES, HASH_BYTES)])
        if not roots:
            return
        full = sorted(roots)
        below = b"".join(roots[number] for number in full)
        start = full[0] * HASH_BYTES
        wanted = list(range(full[0] // WIDTH, full[-1] // WIDTH + 1))
        level += 1


def _grown(unit: LogUnit, tiled: int, fresh: list[bytes]) -> list[StoredTile]:
    """Return the tiles that come or grow when `fresh` leaf hashes follow the `tiled` ones."""
    made: list[StoredTile] = []
    level, first = 0, tiled
    while fresh:
        number, offset = divmod(first, WIDTH)
        held = unit.tiles([(level, number)])[0]
        if len(held) != offset * HASH_BYTES:
            raise UntrustedError("federation.log.tile_wrong", field=f"tile/{level}/{number}")
        row = held + b"".join(fresh)
        pieces = [row[i : i + _TILE_BYTES] for i in range(0, len(row), _TILE_BYTES)]
        made += [StoredTile(level, at, piece) for at, piece in enumerate(pieces, start=number)]
        fresh = [
            root([piece[i : i + HASH_BYTES] for i in range(0, _TILE_BYTES, HASH_BYTES)])
            for piece in pieces
            if len(piece) == _TILE_BYTES
        ]
        level, first = level + 1, number
    return made
