"""Which leaf of this node's log each row of the exchange names, and which rows are gone; what a check compares."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Table, func, select

from federation.exchange.storage.sending_tables import exchange_lane, exchange_out
from federation.exchange.storage.tables import exchange_in, exchange_in_position
from federation.log.fsck import Reference
from registry.trust.encoding import b64u

__all__ = ["missing", "references"]

_CHUNK = 2_000


def references(connection: Connection) -> Iterator[Reference]:
    """Yield every row that names a leaf: received envelopes, and envelopes sent with their receipts."""
    received = select(
        exchange_in.c.iss,
        exchange_in.c.stream,
        exchange_in.c.epoch,
        exchange_in.c.seq,
        exchange_in.c.env,
        exchange_in.c.leaf_index,
    ).execution_options(yield_per=_CHUNK)
    for iss, stream, epoch, seq, env, position in connection.execute(received):
        yield Reference(f"exchange_in {iss} {stream} {epoch}/{seq}", position, "in", b64u(bytes(env)))
    sent = select(
        exchange_out.c.aud,
        exchange_out.c.stream,
        exchange_out.c.epoch,
        exchange_out.c.seq,
        exchange_out.c.env,
        exchange_out.c.out_index,
        exchange_out.c.ack_index,
    ).execution_options(yield_per=_CHUNK)
    for aud, stream, epoch, seq, env, out, ack in connection.execute(sent):
        where, name = f"exchange_out {aud} {stream} {epoch}/{seq}", b64u(bytes(env))
        yield Reference(where, out, "out", name)
        if ack is not None:
            yield Reference(where, ack, "ack", name)


def missing(connection: Connection) -> Iterator[str]:
    """Yield the rows that are gone from between others, from the start of a lane or from its end.

    What was received is kept for good. What was sent may be pruned from the start, once it has its receipt and proof.
    """
    yield from _gaps(connection, exchange_in, exchange_in_position, pruned=False)
    yield from _gaps(connection, exchange_out, exchange_lane, pruned=True)


def _gaps(connection: Connection, rows: Table, lanes: Table, *, pruned: bool) -> Iterator[str]:
    at = rows.c
    lane = (at.iss, at.aud, at.stream, at.epoch)
    before = func.lag(at.seq).over(partition_by=lane, order_by=at.seq)
    numbered = select(*lane, at.seq, before.label("before")).subquery()
    broken = numbered.c.seq > numbered.c.before + 1
    if not pruned:
        broken |= numbered.c.before.is_(None) & (numbered.c.seq > 1)
    found = connection.execute(select(numbered).where(broken).execution_options(yield_per=_CHUNK))
    for row in found:
        yield _named(rows, row, (row.before or 0) + 1, row.seq - 1)
    ends = select(*lane, func.max(at.seq).label("last")).group_by(*lane).subquery()
    same = [lanes.c[name] == ends.c[name] for name in ("iss", "aud", "stream", "epoch")]
    open_now = select(lanes, ends.c.last).select_from(
        lanes.outerjoin(ends, same[0] & same[1] & same[2] & same[3])
    )
    for row in connection.execute(open_now).all():
        last = row.last or 0
        # a lane of which nothing is left at all: it was pruned, if everything on it is acknowledged
        gone = pruned and row.last is None and row.acked_seq == row.next_seq - 1
        if last < row.next_seq - 1 and not gone:
            yield _named(rows, row, last + 1, row.next_seq - 1)


def _named(table: Table, row: Any, first: int, last: int) -> str:
    numbers = str(first) if first == last else f"{first}–{last}"
    return f"{table.name} {row.iss} {row.aud} {row.stream} {row.epoch}/{numbers}"
