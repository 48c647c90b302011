"""Which leaf of this node's log each row of the exchange names; what a check of the log compares."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from federation.exchange.storage.sending_tables import exchange_out
from federation.exchange.storage.tables import exchange_in
from federation.log.fsck import Reference
from registry.trust.encoding import b64u

__all__ = ["references"]

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
