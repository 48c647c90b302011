"""One transaction over the node's own log: leaves in gapless order, tiles, checkpoints.

Rules:

- the counter row `log` says how many leaves there are; whoever appends locks it until the commit, so positions have
  no gaps and nobody sees a later leaf before an earlier one;
- lock order: `fence`, then lanes, then `log`; so `reserve` comes late in a transaction;
- a leaf is never changed. Only a rebuilding that failed takes its own leaves away again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from federation.log.storage.rows import LogRow, StoredCheckpoint, StoredTile
from federation.log.storage.tables import log, log_checkpoint, log_leaf, log_tile
from federation.log.tiles import HEIGHT, WIDTH
from registry.errors import ConflictError, LimitError, NotFoundError
from registry.storage.bulk import Insert
from registry.storage.tables import counter
from registry.trust.encoding import from_b64u

__all__ = ["LogUnit"]

_COUNTER = "log"
_FENCE = "fence"
_FIRST_LOG = 1
_MAX_LEAF_BYTES = 65_535
_CHUNK = 2_000
_FETCH_CHUNK = 400
_KEY_BYTES = 8

_INSERT_LEAF = Insert(log_leaf)
_TAKE = (
    update(counter)
    .where(counter.c.name == _COUNTER)
    .values(next=counter.c.next + bindparam("n"))
    .returning(counter.c.next)
)
_CURRENT = select(func.max(log.c.number))


class LogUnit:
    """The node's log inside one transaction.

    Args:
        connection: the transaction.
        number: which log; None: the newest.
    """

    def __init__(self, connection: Connection, number: int | None = None) -> None:
        self._connection = connection
        self._number = number

    @property
    def number(self) -> int:
        """The number of the log; 1 before the first is opened."""
        if self._number is None:
            self._number = int(self._connection.execute(_CURRENT).scalar() or _FIRST_LOG)
        return self._number

    # leaves

    def reserve(self, count: int) -> int:
        """Take `count` positions and return the first; nobody else can until this transaction ends."""
        taken = self._connection.execute(_TAKE, {"n": count}).scalar()
        if taken is None:
            try:
                with self._connection.begin_nested():
                    self._connection.execute(insert(counter).values(name=_COUNTER, next=0))
            except IntegrityError:
                pass
            taken = self._connection.execute(_TAKE, {"n": count}).scalar_one()
        return int(taken) - count

    def put(self, first: int, leaves: Sequence[bytes]) -> None:
        """Store leaves at reserved positions, from `first` on.

        Raises:
            LimitError: a leaf is longer than 65,535 bytes.
        """
        number = self.number
        rows = []
        for position, leaf in enumerate(leaves, start=first):
            if len(leaf) > _MAX_LEAF_BYTES:
                raise LimitError("federation.log.leaf_size", length=len(leaf), limit=_MAX_LEAF_BYTES)
            rows.append({"log": number, "position": position, "env_key": _leaf_key(leaf), "leaf": leaf})
        for start in range(0, len(rows), _CHUNK):
            _INSERT_LEAF.run(self._connection, rows[start : start + _CHUNK])

    def append(self, leaves: Sequence[bytes]) -> int:
        """Reserve and store; return the position of the first."""
        first = self.reserve(len(leaves))
        self.put(first, leaves)
        return first

    def leaves(self, first: int, count: int) -> list[bytes]:
        """Return up to `count` leaves from position `first` on, in order."""
        return [raw for _, raw in self.numbered(first, count)]

    def numbered(self, first: int, count: int) -> list[tuple[int, bytes]]:
        """Return (position, leaf) of up to `count` rows from `first` on; a gap would show here."""
        asked = (
            select(log_leaf.c.position, log_leaf.c.leaf)
            .where(log_leaf.c.log == self.number, log_leaf.c.position >= first)
            .where(log_leaf.c.position < first + count)
            .order_by(log_leaf.c.position)
        )
        return [(int(row.position), bytes(row.leaf)) for row in self._connection.execute(asked)]

    def size(self) -> int:
        """Return how many leaves there are."""
        found = self._connection.execute(select(counter.c.next).where(counter.c.name == _COUNTER)).scalar()
        return int(found or 0)

    def end(self) -> int:
        """Return one more than the highest position of a leaf row: in a sound log the size."""
        asked = select(func.max(log_leaf.c.position)).where(log_leaf.c.log == self.number)
        highest = self._connection.execute(asked).scalar()
        return 0 if highest is None else int(highest) + 1

    def find(self, envs: Sequence[str]) -> dict[str, list[tuple[int, bytes]]]:
        """Return (position, leaf) of the leaves about these envelopes (base64url hashes), oldest first."""
        keys = sorted({key for key in map(_digest_key, envs) if key is not None})
        wanted = set(envs)
        found: dict[str, list[tuple[int, bytes]]] = {}
        for start in range(0, len(keys), _FETCH_CHUNK):
            asked = (
                select(log_leaf.c.position, log_leaf.c.leaf)
                .where(log_leaf.c.log == self.number)
                .where(log_leaf.c.env_key.in_(keys[start : start + _FETCH_CHUNK]))
                .order_by(log_leaf.c.position)
            )
            for row in self._connection.execute(asked):
                leaf = bytes(row.leaf)
                # eight bytes may be shared by chance or on purpose
                env = _env(leaf)
                if env in wanted:
                    found.setdefault(env, []).append((int(row.position), leaf))
        return found

    def truncate(self, size: int) -> None:
        """Take away every leaf from position `size` on; only what no checkpoint and no tile covers.

        Raises:
            ConflictError: a checkpoint or tile covers them.
        """
        newest = self.newest()
        if size < max(self.tiled(), newest.size if newest else 0):
            raise ConflictError("federation.log.truncate", field="size", value=size)
        self._connection.execute(
            delete(log_leaf).where(log_leaf.c.log == self.number, log_leaf.c.position >= size)
        )
        self._connection.execute(update(counter).where(counter.c.name == _COUNTER).values(next=size))

    # tiles

    def tiles(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of the tiles (level, number), empty where there is none."""
        found: dict[tuple[int, int], bytes] = {}
        by_level: dict[int, list[int]] = {}
        for level, number in places:
            by_level.setdefault(level, []).append(number)
        for level, numbers in by_level.items():
            for start in range(0, len(numbers), _FETCH_CHUNK):
                asked = select(log_tile.c.number, log_tile.c.hashes).where(
                    log_tile.c.log == self.number,
                    log_tile.c.level == level,
                    log_tile.c.number.in_(numbers[start : start + _FETCH_CHUNK]),
                )
                for row in self._connection.execute(asked):
                    found[level, int(row.number)] = bytes(row.hashes)
        return [found.get(place, b"") for place in places]

    def put_tiles(self, tiles: Iterable[StoredTile]) -> None:
        """Store tiles, replacing narrower ones."""
        rows = [
            {
                "log": self.number,
                "level": tile.level,
                "number": tile.number,
                "width": len(tile.hashes) // 32,
                "hashes": tile.hashes,
            }
            for tile in tiles
        ]
        if not rows:
            return
        for level in {row["level"] for row in rows}:
            numbers = [row["number"] for row in rows if row["level"] == level]
            for start in range(0, len(numbers), _FETCH_CHUNK):
                self._connection.execute(
                    delete(log_tile).where(
                        log_tile.c.log == self.number,
                        log_tile.c.level == level,
                        log_tile.c.number.in_(numbers[start : start + _FETCH_CHUNK]),
                    )
                )
        self._connection.execute(insert(log_tile), rows)

    def tiled(self) -> int:
        """Return how many leaves the tiles cover."""
        asked = (
            select(log_tile.c.number, log_tile.c.width)
            .where(log_tile.c.log == self.number, log_tile.c.level == 0)
            .order_by(log_tile.c.number.desc())
            .limit(1)
        )
        row = self._connection.execute(asked).first()
        return 0 if row is None else int(row.number) * WIDTH + int(row.width)

    def every_tile(self) -> Iterator[StoredTile]:
        """Yield every tile, by level and number."""
        for level in range(HEIGHT):
            after = -1
            while True:
                asked = (
                    select(log_tile.c.number, log_tile.c.hashes, log_tile.c.width)
                    .where(log_tile.c.log == self.number, log_tile.c.level == level)
                    .where(log_tile.c.number > after)
                    .order_by(log_tile.c.number)
                    .limit(_FETCH_CHUNK)
                )
                rows = self._connection.execute(asked).all()
                for row in rows:
                    yield StoredTile(level, int(row.number), bytes(row.hashes))
                if len(rows) < _FETCH_CHUNK:
                    break
                after = int(rows[-1].number)

    # checkpoints

    def newest(self, *, cosigned: bool = False) -> StoredCheckpoint | None:
        """Return the newest checkpoint, or the newest that a witness signed."""
        asked = _checkpoints(self.number).order_by(log_checkpoint.c.size.desc()).limit(1)
        if cosigned:
            asked = asked.where(log_checkpoint.c.cosigned > 0)
        row = self._connection.execute(asked).first()
        return None if row is None else _checkpoint(row)

    def checkpoint(self, size: int, *, lock: bool = False) -> StoredCheckpoint | None:
        """Return the checkpoint of this size; `lock`: and let nobody else change it."""
        asked = _checkpoints(self.number).where(log_checkpoint.c.size == size)
        row = self._connection.execute(asked.with_for_update() if lock else asked).first()
        return None if row is None else _checkpoint(row)

    def checkpoints(self, after: int, limit: int) -> list[StoredCheckpoint]:
        """Return checkpoints larger than `after`, by size."""
        asked = _checkpoints(self.number).where(log_checkpoint.c.size > after)
        rows = self._connection.execute(asked.order_by(log_checkpoint.c.size).limit(limit))
        return [_checkpoint(row) for row in rows]

    def step(self, after: int, most: int) -> StoredCheckpoint | None:
        """Return the largest checkpoint with at most `most` leaves behind `after`, else the next larger one."""
        size = log_checkpoint.c.size
        asked = _checkpoints(self.number).where(size > after)
        row = self._connection.execute(
            asked.where(size <= after + most).order_by(size.desc()).limit(1)
        ).first()
        if row is None:
            row = self._connection.execute(asked.order_by(size).limit(1)).first()
        return None if row is None else _checkpoint(row)

    def put_checkpoint(self, made: StoredCheckpoint) -> None:
        """Store a checkpoint, or its note with more lines."""
        values = {"root": made.root, "note": made.note, "cosigned": made.cosigned, "at": made.at}
        changed = self._connection.execute(
            update(log_checkpoint)
            .where(log_checkpoint.c.log == self.number, log_checkpoint.c.size == made.size)
            .values(**values)
        )
        if not changed.rowcount:
            self._connection.execute(insert(log_checkpoint).values(log=self.number, size=made.size, **values))

    def thin_checkpoints(self, before: int, keep_each: int) -> int:
        """Of the checkpoints older than `before`, keep the largest in each `keep_each` seconds; return how many went.

        The newest and the newest that was witnessed are kept whatever their age.
        """
        kept = select(func.max(log_checkpoint.c.size)).where(log_checkpoint.c.log == self.number)
        each = kept.group_by(log_checkpoint.c.at - log_checkpoint.c.at % keep_each)
        witnessed = kept.where(log_checkpoint.c.cosigned > 0)
        gone = self._connection.execute(
            delete(log_checkpoint).where(
                log_checkpoint.c.log == self.number,
                log_checkpoint.c.at < before,
                log_checkpoint.c.size.not_in(each),
                log_checkpoint.c.size.not_in(select(func.coalesce(witnessed.scalar_subquery(), -1))),
            )
        )
        return int(gone.rowcount)

    # the log itself

    def row(self) -> LogRow | None:
        """Return the log, or None before it is opened."""
        found = self._connection.execute(select(log).where(log.c.number == self.number)).first()
        return None if found is None else LogRow(**found._asdict())

    def logs(self) -> list[LogRow]:
        """Return every log of this node, oldest first."""
        return [
            LogRow(**row._asdict()) for row in self._connection.execute(select(log).order_by(log.c.number))
        ]

    def open(self, origin: str, kid: str, vkey: str, created: int) -> None:
        """Open the first log, or close the one there is and open another, which begins empty.

        Raises:
            IntegrityError: there was a log of this origin.
        """
        known = self._connection.execute(_CURRENT).scalar()
        number = _FIRST_LOG if known is None else int(known) + 1
        if known is not None:
            self._connection.execute(update(log).values(state="closed"))
            # wait for whoever appends; the numbering begins anew
            self.reserve(0)
            self._connection.execute(update(counter).where(counter.c.name == _COUNTER).values(next=0))
        self._connection.execute(
            insert(log).values(
                number=number, origin=origin, kid=kid, vkey=vkey, state="open", minimum=0, created=created
            )
        )
        self._number = number

    def set_minimum(self, minimum: int) -> None:
        """Serve no entry below `minimum` any more.

        Raises:
            NotFoundError: there is no log yet.
        """
        changed = self._connection.execute(
            update(log).where(log.c.number == self.number).values(minimum=minimum)
        )
        if not changed.rowcount:
            raise NotFoundError("federation.log.no_log")

    def check_fence(self, mine: int) -> None:
        """Lock the row `fence` and compare: only its holder may sign.

        Raises:
            ConflictError: somebody else has raised it.
        """
        found = self._connection.execute(
            select(counter.c.next).where(counter.c.name == _FENCE).with_for_update(read=True)
        ).scalar()
        if int(found or 0) != mine:
            raise ConflictError("federation.log.fenced", field="fence", value=mine, right=int(found or 0))


def _checkpoints(number: int) -> Select[Any]:
    return select(
        log_checkpoint.c.size,
        log_checkpoint.c.root,
        log_checkpoint.c.note,
        log_checkpoint.c.cosigned,
        log_checkpoint.c.at,
    ).where(log_checkpoint.c.log == number)


def _checkpoint(row: Any) -> StoredCheckpoint:
    return StoredCheckpoint(int(row.size), bytes(row.root), bytes(row.note), int(row.cosigned), int(row.at))


def _env(leaf: bytes) -> str | None:
    """Return what envelope a leaf is about, without judging the leaf."""
    try:
        content = orjson.loads(leaf)
    except orjson.JSONDecodeError:
        return None
    env = content.get("env") if isinstance(content, dict) else None
    return env if isinstance(env, str) else None


def _leaf_key(leaf: bytes) -> int | None:
    env = _env(leaf)
    return None if env is None else _digest_key(env)


def _digest_key(env: str) -> int | None:
    raw = from_b64u(env)
    if raw is None or len(raw) < _KEY_BYTES:
        return None
    return int.from_bytes(raw[:_KEY_BYTES], "big", signed=True)
