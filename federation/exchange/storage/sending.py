"""The unit of work over what is sent: drafts, lanes, envelopes and their receipts.

Lock order in a transaction: the row `fence`, the rows of lanes (sorted), the counter `pending`, the counter `log`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from federation.exchange.storage.sending_rows import (
    Acknowledgement,
    LaneName,
    LaneState,
    Outgoing,
    Waiting,
    lane_row,
    out_row,
    pending_row,
    to_outgoing,
    to_state,
)
from federation.exchange.storage.sending_tables import (
    exchange_lane,
    exchange_out,
    exchange_out_body,
    exchange_pending,
    exchange_unsendable,
)
from registry.errors import ConflictError, UnavailableError
from registry.identifier import Prefix
from registry.storage.bulk import Bulk, Insert
from registry.storage.tables import counter

__all__ = [
    "Acknowledgement",
    "LaneName",
    "LaneState",
    "Outgoing",
    "SendingUnit",
    "Waiting",
]

_PENDING = "pending"
_FENCE = "fence"
_CHUNK = 500


class SendingUnit:
    """One transaction over the tables of what is sent; all of it commits together or not at all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # the fence

    def check_fence(self, own: int) -> None:
        """Make sure that this process may still sign, and keep it so until the transaction ends.

        Raises:
            ConflictError: another process has taken over.
        """
        asked = select(counter.c.next).where(counter.c.name == _FENCE).with_for_update(read=True)
        found = self._connection.execute(asked).scalar()
        if found is None or int(found) != own:
            raise ConflictError("federation.exchange_sending.fenced", field="fence", value=own, right=found)

    def hold_fence(self) -> None:
        """Wait for transactions that sign, and let none begin before this one ends."""
        self._connection.execute(select(counter.c.next).where(counter.c.name == _FENCE).with_for_update())

    # drafts

    def append(self, drafts: Sequence[Waiting]) -> int:
        """Store drafts under gapless positions; return the last one."""
        first = self._take(len(drafts))
        rows = [pending_row(draft, first + place) for place, draft in enumerate(drafts)]
        if rows:
            self._connection.execute(insert(exchange_pending), rows)
        return first + len(drafts) - 1

    def has_pending(self, stream: str) -> bool:
        """Say whether a draft waits on this stream."""
        return self._connection.execute(_HAS_PENDING, {"p_stream": stream}).first() is not None

    def pending_lanes(self, stream: str) -> Iterator[LaneName]:
        """Yield the lanes of a stream on which drafts wait; one step into the index for each."""
        place = tuple_(exchange_pending.c.iss, exchange_pending.c.aud)
        asked = (
            select(exchange_pending.c.iss, exchange_pending.c.aud)
            .where(exchange_pending.c.stream == stream)
            .order_by(exchange_pending.c.iss, exchange_pending.c.aud)
            .limit(1)
        )
        last = ("", "")
        while (row := self._connection.execute(asked.where(place > last)).first()) is not None:
            last = (row.iss, row.aud)
            yield LaneName(Prefix(row.iss), Prefix(row.aud), stream)

    def pending(self, lane: LaneName, limit: int) -> list[Waiting]:
        """Return the oldest drafts of a lane."""
        table = exchange_pending.c
        asked = (
            select(*_PENDING_COLUMNS)
            .where(table.stream == lane.stream, table.iss == lane.iss.key, table.aud == lane.aud.key)
            .order_by(table.position)
            .limit(limit)
        )
        return [Waiting(row[0], lane, *row[1:]) for row in self._connection.execute(asked)]

    def remove_pending(self, positions: Sequence[int]) -> None:
        """Take drafts out that were sealed or set aside."""
        _REMOVE.run(self._connection, [(position,) for position in positions])

    def set_aside(self, draft: Waiting, code: str, at: int) -> None:
        """Keep a draft that no envelope can carry, with the reason; the caller removes the pending row."""
        position = draft.position if draft.position is not None else self._take(1)
        row = pending_row(draft, position) | {"code": code, "at": at}
        self._connection.execute(insert(exchange_unsendable), [row])

    def count_pending(self) -> int:
        """Count the drafts that wait for a number."""
        return self._count(exchange_pending)

    def count_unsendable(self) -> int:
        """Count the drafts that were set aside."""
        return self._count(exchange_unsendable)

    # lanes

    def lock_lanes(self, lanes: Iterable[LaneName]) -> dict[LaneName, LaneState]:
        """Lock the rows of lanes that are there, in one order for all, and return them."""
        found = {}
        for lane in sorted(set(lanes)):
            asked = select(exchange_lane).where(_is(exchange_lane, lane)).with_for_update()
            row = self._connection.execute(asked).first()
            if row is not None:
                found[lane] = to_state(row)
        return found

    def lane(self, lane: LaneName) -> LaneState | None:
        """Return where a lane stands; None when nothing was ever sent on it."""
        row = self._connection.execute(select(exchange_lane).where(_is(exchange_lane, lane))).first()
        return None if row is None else to_state(row)

    def lanes(self, stream: str | None = None, *, unsent: bool = False) -> list[LaneState]:
        """Return lanes by name; with `unsent` those that are open and have something to send."""
        table = exchange_lane.c
        asked = select(exchange_lane).order_by(table.iss, table.aud, table.stream)
        if stream is not None:
            asked = asked.where(table.stream == stream)
        if unsent:
            asked = asked.where(table.state == "open", table.acked_seq < table.next_seq - 1)
        return [to_state(row) for row in self._connection.execute(asked)]

    def put_lane(self, state: LaneState, *, new: bool) -> None:
        """Store a lane that was locked, or a new one.

        Raises:
            ConflictError: somebody else made it in the meantime.
        """
        row = lane_row(state)
        if not new:
            self._connection.execute(
                update(exchange_lane).where(_is(exchange_lane, state.lane)).values(**row)
            )
            return
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(exchange_lane).values(**row))
        except IntegrityError as error:
            raise ConflictError(
                "federation.exchange_sending.lane_race", field="stream", value=state.lane.stream
            ) from error

    def note_failure(self, lane: LaneName, code: str | None, at: int) -> None:
        """Remember why a lane does not get through, or with None that it does again."""
        row = {"failure": code, "failed_at": None if code is None else at}
        self._connection.execute(update(exchange_lane).where(_is(exchange_lane, lane)).values(**row))

    def stop(self, lane: LaneName, code: str, at: int) -> None:
        """Send nothing more on a lane until somebody looks at it."""
        row = {"state": "stopped", "failure": code, "failed_at": at}
        self._connection.execute(update(exchange_lane).where(_is(exchange_lane, lane)).values(**row))

    # envelopes

    def add(self, envelopes: Sequence[Outgoing]) -> None:
        """Store numbered envelopes.

        Raises:
            IntegrityError: a number was given twice; nothing of the transaction may stand then.
        """
        _ADD.run(self._connection, [out_row(made) for made in envelopes])

    def add_body(self, sha256: bytes, data: bytes, media: str, at: int) -> None:
        """Keep a detached body; one that is there already is the same."""
        known = select(exchange_out_body.c.sha256).where(exchange_out_body.c.sha256 == sha256)
        if self._connection.execute(known).first() is None:
            row = {"sha256": sha256, "data": data, "media": media, "at": at}
            self._connection.execute(insert(exchange_out_body).values(**row))

    def body(self, sha256: bytes) -> bytes | None:
        """Return a detached body."""
        asked = select(exchange_out_body.c.data).where(exchange_out_body.c.sha256 == sha256)
        found = self._connection.execute(asked).scalar()
        return None if found is None else bytes(found)

    def batch(
        self, lane: LaneName, after: tuple[int, int], *, limit: int, max_bytes: int, epoch: int | None = None
    ) -> list[Outgoing]:
        """Return envelopes after (epoch, seq) in order: as many as fit, and at least one when there is one.

        Args:
            lane: which.
            after: the last one not wanted.
            limit: how many at most.
            max_bytes: tokens together.
            epoch: of this epoch alone.
        """
        table = exchange_out.c
        where = [_is(exchange_out, lane)]
        if epoch is None:
            where.append(tuple_(table.epoch, table.seq) > after)
        elif after[0] > epoch:
            return []
        else:
            # in these words the key gives the order too; as a pair beside the epoch SQLite sorts all that waits
            where += [table.epoch == epoch, table.seq > (after[1] if after[0] == epoch else 0)]
        order = (table.epoch, table.seq)
        sizes = select(table.epoch, table.seq, func.length(table.token).label("size"))
        total, last = 0, None
        for row in self._connection.execute(sizes.where(*where).order_by(*order).limit(limit)).all():
            total += row.size
            if last is not None and total > max_bytes:
                break
            last = (row.epoch, row.seq)
        if last is None:
            return []
        where.append(tuple_(table.epoch, table.seq) <= last if epoch is None else table.seq <= last[1])
        asked = select(*_OUT).where(*where)
        return [Outgoing(lane, *row) for row in self._connection.execute(asked.order_by(*order))]

    def acknowledge(self, lane: LaneName, epoch: int, acks: Sequence[Acknowledgement], at: int) -> None:
        """Store what receipts say about numbers of one lane; the lane itself is stored by the caller."""
        if not acks:
            return
        rows = [(ack.receipt, ack.outcome, ack.code, ack.leaf_index, ack.ack_index, ack.seq) for ack in acks]
        place = (lane.iss.key, lane.aud.key, lane.stream, epoch)
        first, last = min(ack.seq for ack in acks), max(ack.seq for ack in acks)
        _ACKNOWLEDGE.run(self._connection, rows, at, *place, first, last)

    def found(self, envs: Sequence[bytes]) -> dict[bytes, Outgoing]:
        """Return envelopes by hash."""
        made = {}
        for part in _parts(envs):
            asked = select(exchange_out).where(exchange_out.c.env.in_(part))
            made.update({bytes(row.env): to_outgoing(row) for row in self._connection.execute(asked)})
        return made

    def oldest_unsent(self, state: LaneState) -> int | None:
        """Return when the oldest envelope without a receipt was sealed."""
        table = exchange_out.c
        asked = select(table.queued_at).where(
            _is(exchange_out, state.lane), table.epoch == state.epoch, table.seq == state.acked_seq + 1
        )
        found = self._connection.execute(asked).scalar()
        return None if found is None else int(found)

    def oldest_pending(self) -> int | None:
        """Return when the oldest draft that waits for a number was stored."""
        asked = select(exchange_pending.c.at).order_by(exchange_pending.c.position).limit(1)
        found = self._connection.execute(asked).scalar()
        return None if found is None else int(found)

    def _take(self, number: int) -> int:
        """Take `number` positions; return the first."""
        taking = (
            update(counter)
            .where(counter.c.name == _PENDING)
            .values(next=counter.c.next + number)
            .returning(counter.c.next)
        )
        taken = self._connection.execute(taking).scalar()
        if taken is None:
            try:
                with self._connection.begin_nested():
                    self._connection.execute(insert(counter).values(name=_PENDING, next=0))
            except IntegrityError:
                pass  # somebody else was quicker; the row is there now
            taken = self._connection.execute(taking).scalar()
        if taken is None:
            raise UnavailableError("federation.exchange_sending.counter", retry_after=1)
        return int(taken) - number + 1

    def _count(self, table: Any) -> int:
        return int(self._connection.execute(select(func.count()).select_from(table)).scalar_one())


#: Asked by every stream several times a second.
_HAS_PENDING = (
    select(exchange_pending.c.position).where(exchange_pending.c.stream == bindparam("p_stream")).limit(1)
)

#: The columns of a draft in the order of `Waiting`, without its lane.
_PENDING_COLUMNS = tuple(exchange_pending.c[field.name] for field in fields(Waiting) if field.name != "lane")

#: The columns of an envelope in the order of `Outgoing`, behind its lane.
_OUT = tuple(exchange_out.c[field.name] for field in fields(Outgoing) if field.name != "lane")

_ADD = Insert(exchange_out)

_REMOVE = Bulk(
    "DELETE FROM exchange_pending WHERE position = ?",
    "DELETE FROM exchange_pending WHERE position = ANY(%s::bigint[])",
    ["bigint"],
)

#: The range of numbers says nothing new, but keeps PostgreSQL from looking through the whole lane.
_ACKNOWLEDGE = Bulk(
    "UPDATE exchange_out SET state = 1, receipt = ?1, outcome = ?2, code = ?3, leaf_index = ?4, ack_index = ?5,"
    " acked_at = ?7 WHERE iss = ?8 AND aud = ?9 AND stream = ?10 AND epoch = ?11 AND seq BETWEEN ?12 AND ?13"
    " AND seq = ?6",
    "WITH given (receipt, outcome, code, leaf, ack, seq) AS (SELECT * FROM"
    " unnest(%s::bytea[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[]))"
    " UPDATE exchange_out AS kept SET state = 1, receipt = given.receipt, outcome = given.outcome,"
    " code = given.code, leaf_index = given.leaf, ack_index = given.ack, acked_at = %s FROM given"
    " WHERE kept.iss = %s AND kept.aud = %s AND kept.stream = %s AND kept.epoch = %s"
    " AND kept.seq BETWEEN %s AND %s AND kept.seq = given.seq",
    ["bytea", "text", "text", "bigint", "bigint", "bigint"],
)


def _is(table: Any, lane: LaneName) -> Any:
    return (table.c.iss == lane.iss.key) & (table.c.aud == lane.aud.key) & (table.c.stream == lane.stream)


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), _CHUNK):
        yield items[first : first + _CHUNK]
