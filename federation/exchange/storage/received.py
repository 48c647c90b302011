"""The unit of work over what was received: the inbox, its lanes, epochs and conflicts, and what vouches for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from federation.exchange.storage.neighbours import NeighbourUnit, parts
from federation.exchange.storage.rows import (
    Conflict,
    EpochRow,
    LaneRow,
    Stored,
    Waiting,
    to_conflict,
    to_epoch,
    to_lane,
    to_stored,
    to_waiting,
)
from federation.exchange.storage.tables import (
    exchange_conflict,
    exchange_epoch,
    exchange_in,
    exchange_in_position,
    exchange_refound,
    exchange_relayed,
)
from registry.storage.bulk import Insert

__all__ = ["ReceivedUnit"]

_PUT = Insert(exchange_in)


class ReceivedUnit(NeighbourUnit):
    """One unit of work over what was received; it commits with the transaction it was opened in."""

    # the inbox

    def known(self, envs: Sequence[bytes]) -> dict[bytes, Stored]:
        """Return which of these envelopes stand in the inbox."""
        found: dict[bytes, Stored] = {}
        columns = exchange_in.c
        for part in parts(envs):
            query = select(
                columns.iss,
                columns.aud,
                columns.stream,
                columns.epoch,
                columns.seq,
                columns.env,
                columns.receipt,
                columns.code,
            ).where(columns.env.in_(part))
            for row in self._connection.execute(query).all():
                found[bytes(row.env)] = to_stored(row)
        return found

    def at(self, lane: tuple[str, str, str], epoch: int, seq: int) -> Stored | None:
        """Return what stands under a number, with its token."""
        columns = exchange_in.c
        row = self._connection.execute(
            select(exchange_in).where(*_lane(exchange_in, lane), columns.epoch == epoch, columns.seq == seq)
        ).first()
        return to_stored(row) if row else None

    def token(self, env: bytes) -> bytes | None:
        """Return an envelope of the inbox as it was received."""
        found = self._connection.execute(select(exchange_in.c.token).where(exchange_in.c.env == env)).scalar()
        return bytes(found) if found is not None else None

    def named(self, lane: tuple[str, str, str], before: int, names: Sequence[str]) -> dict[str, bytes]:
        """Return what was accepted under these names (`jti`) in earlier epochs of a lane: name → token."""
        columns = exchange_in.c
        query = select(columns.jti, columns.token).where(
            *_lane(exchange_in, lane),
            columns.epoch < before,
            columns.jti.in_(list(names)),
            columns.outcome != "rejected",
        )
        return {row.jti: bytes(row.token) for row in self._connection.execute(query)}

    def held(self, lane: tuple[str, str, str], epoch: int, first: int, last: int) -> dict[int, bytes]:
        """Return number → hash for a range of numbers of a lane."""
        columns = exchange_in.c
        query = select(columns.seq, columns.env).where(
            *_lane(exchange_in, lane), columns.epoch == epoch, columns.seq.between(first, last)
        )
        return {int(row.seq): bytes(row.env) for row in self._connection.execute(query)}

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put envelopes into the inbox; each mapping has the columns of `exchange_in`."""
        _PUT.run(self._connection, rows)

    def waiting(self, after: int, limit: int, pairs: Sequence[tuple[str, str]]) -> list[Waiting]:
        """Return envelopes that wait for a handler of one of these (type, schema), in the order of acceptance."""
        columns = exchange_in.c
        query = (
            select(exchange_in)
            .where(
                columns.applied == 0,
                columns.leaf_index > after,
                tuple_(columns.type, columns.schema).in_(list(pairs)),
            )
            .order_by(columns.leaf_index)
            .limit(limit)
        )
        return [to_waiting(row) for row in self._connection.execute(query)]

    def count_waiting(self) -> int:
        """Return how many accepted envelopes are not applied yet."""
        query = select(func.count()).select_from(exchange_in).where(exchange_in.c.applied == 0)
        return int(self._connection.execute(query).scalar_one())

    def mark_applied(self, env: bytes, *, applied: int = 1) -> bool:
        """Mark an envelope as applied (1) or not applicable (2); False when somebody else did it first."""
        columns = exchange_in.c
        changed = self._connection.execute(
            update(exchange_in).where(columns.env == env, columns.applied != 1).values(applied=applied)
        )
        return changed.rowcount == 1

    # lanes

    def lane(self, lane: tuple[str, str, str]) -> LaneRow:
        """Return where a lane stands, without locking it."""
        return self._lane_row(lane, lock=False) or LaneRow(*lane)

    def lock_lane(self, lane: tuple[str, str, str]) -> LaneRow:
        """Return where a lane stands, and keep every other receiver of it waiting until the commit."""
        found = self._lane_row(lane, lock=True)
        if found is not None:
            return found
        iss, aud, stream = lane
        try:
            with self._connection.begin_nested():
                self._connection.execute(
                    insert(exchange_in_position).values(
                        iss=iss, aud=aud, stream=stream, epoch=1, next_seq=1, prev=b""
                    )
                )
        except IntegrityError:
            return self.lock_lane(lane)
        return LaneRow(*lane)

    def move_lane(self, lane: tuple[str, str, str], *, epoch: int, next_seq: int, prev: bytes) -> None:
        """Say what comes next on a lane."""
        self._connection.execute(
            update(exchange_in_position)
            .where(*_lane(exchange_in_position, lane))
            .values(epoch=epoch, next_seq=next_seq, prev=prev)
        )

    def lanes(self, aud: str | None = None) -> list[LaneRow]:
        """Return every lane anybody ever sent on to `aud`, or to anybody."""
        query = select(exchange_in_position).order_by(
            exchange_in_position.c.aud, exchange_in_position.c.iss, exchange_in_position.c.stream
        )
        if aud is not None:
            query = query.where(exchange_in_position.c.aud == aud)
        return [to_lane(row) for row in self._connection.execute(query)]

    def put_head(self, lane: tuple[str, str, str], *, epoch: int, seq: int, at: int, token: str) -> bool:
        """Keep the newest signed head of a lane; False when a newer one is known."""
        known = self.lock_lane(lane)
        if known.head_epoch is not None and (known.head_epoch, known.head_seq or 0, known.head_at or 0) > (
            epoch,
            seq,
            at,
        ):
            return False
        self._connection.execute(
            update(exchange_in_position)
            .where(*_lane(exchange_in_position, lane))
            .values(head_epoch=epoch, head_seq=seq, head_at=at, head=token)
        )
        return True

    # epochs

    def put_epoch(self, row: EpochRow) -> bool:
        """Keep the announcement of an epoch; False when this epoch of the lane was announced before."""
        columns = exchange_epoch.c
        known = self._connection.execute(
            select(columns.epoch).where(
                *_lane(exchange_epoch, (row.iss, row.aud, row.stream)), columns.epoch == row.epoch
            )
        ).first()
        if known is not None:
            return False
        names = [column.name for column in exchange_epoch.columns]
        self._connection.execute(insert(exchange_epoch).values({name: getattr(row, name) for name in names}))
        return True

    def epoch(self, lane: tuple[str, str, str], epoch: int) -> EpochRow | None:
        """Return the announcement of an epoch."""
        row = self._connection.execute(
            select(exchange_epoch).where(*_lane(exchange_epoch, lane), exchange_epoch.c.epoch == epoch)
        ).first()
        return to_epoch(row) if row else None

    def epochs(self, lane: tuple[str, str, str]) -> list[EpochRow]:
        """Return the announced epochs of a lane, the oldest first."""
        query = select(exchange_epoch).where(*_lane(exchange_epoch, lane)).order_by(exchange_epoch.c.epoch)
        return [to_epoch(row) for row in self._connection.execute(query)]

    # conflicts

    def put_conflict(self, row: Mapping[str, Any]) -> bool:
        """Keep two envelopes that claim one number; False when this second one is known already."""
        known = select(exchange_conflict.c.env).where(exchange_conflict.c.env == row["env"])
        if self._connection.execute(known).first() is not None:
            return False
        self._connection.execute(insert(exchange_conflict).values(**row))
        return True

    def conflict(self, env: bytes) -> Conflict | None:
        """Return the conflict a second envelope made."""
        row = self._connection.execute(
            select(exchange_conflict).where(exchange_conflict.c.env == env)
        ).first()
        return to_conflict(row) if row else None

    def conflicts(self, iss: str | None = None) -> list[Conflict]:
        """Return the conflicts of one sender, or of all."""
        columns = exchange_conflict.c
        query = select(exchange_conflict).order_by(columns.at, columns.env)
        if iss is not None:
            query = query.where(columns.iss == iss)
        return [to_conflict(row) for row in self._connection.execute(query)]

    # after a restore

    def refound(self, envs: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
        """Return, for envelopes that were in the log before a restore, where their leaf stands and the leaf."""
        found: dict[bytes, tuple[int, bytes]] = {}
        columns = exchange_refound.c
        # nearly always there is nothing to look through
        if self._connection.execute(select(columns.env).limit(1)).first() is None:
            return found
        for part in parts(envs):
            rows = self._connection.execute(select(exchange_refound).where(columns.env.in_(part)))
            found.update((bytes(row.env), (int(row.leaf_index), bytes(row.leaf))) for row in rows)
        return found

    def put_refound(self, rows: Sequence[tuple[bytes, int, bytes]]) -> None:
        """Keep leaves that came back from a witness: (env, index, leaf)."""
        if rows:
            values = [{"env": env, "leaf_index": index, "leaf": leaf} for env, index, leaf in rows]
            self._connection.execute(insert(exchange_refound), values)

    def forget_refound(self, envs: Sequence[bytes]) -> None:
        """Forget leaves whose envelopes are in the inbox again."""
        for part in parts(envs):
            self._connection.execute(delete(exchange_refound).where(exchange_refound.c.env.in_(part)))

    # relays

    def relayed(self, aud: str, env: bytes) -> bytes | None:
        """Return the outermost envelope that brought a relayed one to `aud` first."""
        columns = exchange_relayed.c
        query = select(columns.outer).where(columns.aud == aud, columns.env == env)
        found = self._connection.execute(query).scalar()
        return bytes(found) if found is not None else None

    def put_relayed(self, row: Mapping[str, Any]) -> None:
        """Remember that a relayed envelope was taken in."""
        self._connection.execute(insert(exchange_relayed).values(**row))

    def relayed_waiting(self, limit: int, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, bytes, bytes]]:
        """Return (receiver, env, outermost env) of relayed envelopes that wait for one of these (type, schema)."""
        columns = exchange_relayed.c
        query = (
            select(columns.aud, columns.env, columns.outer)
            .where(columns.applied == 0, tuple_(columns.type, columns.schema).in_(list(pairs)))
            .order_by(columns.at, columns.iss, columns.stream, columns.epoch, columns.seq)
            .limit(limit)
        )
        return [(row.aud, bytes(row.env), bytes(row.outer)) for row in self._connection.execute(query)]

    def mark_relayed(self, aud: str, env: bytes, *, applied: int = 1) -> bool:
        """Mark a relayed envelope as applied (1) or not applicable (2); False when somebody else did it first."""
        columns = exchange_relayed.c
        changed = self._connection.execute(
            update(exchange_relayed)
            .where(columns.aud == aud, columns.env == env, columns.applied != 1)
            .values(applied=applied)
        )
        return changed.rowcount == 1

    def relayed_at(self, aud: str, lane: tuple[str, str], epoch: int, seq: int) -> list[bytes]:
        """Return the hashes of relayed envelopes of a sender and stream under one number."""
        columns = exchange_relayed.c
        query = select(columns.env).where(
            columns.aud == aud,
            columns.iss == lane[0],
            columns.stream == lane[1],
            columns.epoch == epoch,
            columns.seq == seq,
        )
        return [bytes(found) for found in self._connection.scalars(query)]

    # inside

    def _lane_row(self, lane: tuple[str, str, str], *, lock: bool) -> LaneRow | None:
        query = select(exchange_in_position).where(*_lane(exchange_in_position, lane))
        row = self._connection.execute(query.with_for_update() if lock else query).first()
        return to_lane(row) if row else None


def _lane(table: Any, lane: tuple[str, str, str]) -> tuple[Any, ...]:
    iss, aud, stream = lane
    return (and_(table.c.iss == iss, table.c.aud == aud, table.c.stream == stream),)
