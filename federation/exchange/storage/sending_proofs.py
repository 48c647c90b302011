"""The unit of work over proofs of what was sent, over its end, and over what peers may look at of what they sent."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    LargeBinary,
    String,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from federation.exchange.storage.sending_rows import Outgoing, Proven, to_outgoing
from federation.exchange.storage.sending_tables import exchange_checkpoint, exchange_out, exchange_out_body
from federation.exchange.storage.tables import exchange_in
from registry.identifier import Prefix

__all__ = ["ProofUnit"]

_CHUNK = 500
_PROVE = (
    update(exchange_out)
    .where(exchange_out.c.env == bindparam("p_env"))
    .values(proof=bindparam("v_proof"), proof_size=bindparam("v_size"), proof_origin=bindparam("v_origin"))
)


#: The same in one statement: PostgreSQL would else be asked once for each row.
_GIVEN = (
    func.unnest(
        cast(bindparam("v_env"), ARRAY(LargeBinary)),
        cast(bindparam("v_proof"), ARRAY(LargeBinary)),
        cast(bindparam("v_size"), ARRAY(BigInteger)),
        cast(bindparam("v_origin"), ARRAY(String)),
    )
    .table_valued("env", "proof", "size", "origin", name="given")
    .render_derived()
)
_PROVE_AT_ONCE = (
    update(exchange_out)
    .where(exchange_out.c.env == _GIVEN.c.env)
    .values(proof=_GIVEN.c.proof, proof_size=_GIVEN.c.size, proof_origin=_GIVEN.c.origin)
)


class ProofUnit:
    """One transaction over proofs; all of it commits together or not at all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # proofs of what was sent

    def unproven_pairs(self) -> list[tuple[Prefix, Prefix]]:
        """Return (sender, receiver) with receipts whose place in the receiver's log is not proven yet."""
        place = tuple_(exchange_out.c.iss, exchange_out.c.aud)
        asked = (
            select(exchange_out.c.iss, exchange_out.c.aud)
            .where(exchange_out.c.leaf_index.is_not(None), exchange_out.c.proof.is_(None))
            .order_by(exchange_out.c.iss, exchange_out.c.aud)
            .limit(1)
        )
        found: list[tuple[Prefix, Prefix]] = []
        last = ("", "")
        while (row := self._connection.execute(asked.where(place > last)).first()) is not None:
            last = (row.iss, row.aud)
            found.append((Prefix(row.iss), Prefix(row.aud)))
        return found

    def unproven(self, iss: Prefix, aud: Prefix, limit: int, *, after: int = -1) -> list[Outgoing]:
        """Return envelopes with a receipt and without a proof, in the order of the receiver's log."""
        table = exchange_out.c
        asked = (
            select(exchange_out)
            .where(
                table.iss == iss.key,
                table.aud == aud.key,
                table.leaf_index > after,
                table.leaf_index.is_not(None),
                table.proof.is_(None),
            )
            .order_by(table.leaf_index)
            .limit(limit)
        )
        return [to_outgoing(row) for row in self._connection.execute(asked)]

    def count_unproven(self) -> int:
        """Count receipts without a proof."""
        table = exchange_out.c
        asked = (
            select(func.count())
            .select_from(exchange_out)
            .where(table.leaf_index.is_not(None), table.proof.is_(None))
        )
        return int(self._connection.execute(asked).scalar_one())

    def store(self, proofs: Sequence[Proven]) -> None:
        """Store verified proofs."""
        if not proofs:
            return
        if self._connection.dialect.name != "postgresql":
            rows = [
                {"p_env": one.env, "v_proof": one.hashes, "v_size": one.size, "v_origin": one.origin}
                for one in proofs
            ]
            self._connection.execute(_PROVE, rows)
            return
        columns = {
            "v_env": [one.env for one in proofs],
            "v_proof": [one.hashes for one in proofs],
            "v_size": [one.size for one in proofs],
            "v_origin": [one.origin for one in proofs],
        }
        self._connection.execute(_PROVE_AT_ONCE, columns)

    def put_checkpoint(self, origin: str, size: int, note: bytes, at: int) -> None:
        """Keep a receiver's checkpoint that proofs stand under; one of the same size is kept once."""
        table = exchange_checkpoint.c
        known = select(table.size).where(table.origin == origin, table.size == size)
        if self._connection.execute(known).first() is None:
            self._connection.execute(
                insert(exchange_checkpoint).values(origin=origin, size=size, note=note, at=at)
            )

    def checkpoint(self, origin: str, size: int) -> bytes | None:
        """Return a receiver's checkpoint."""
        table = exchange_checkpoint.c
        asked = select(table.note).where(table.origin == origin, table.size == size)
        found = self._connection.execute(asked).scalar()
        return None if found is None else bytes(found)

    def prune(self, before: int, limit: int) -> int:
        """Remove proven envelopes answered before `before`, at most `limit`; return how many went.

        Bodies that no envelope names any more go with them.
        """
        table = exchange_out.c
        asked = (
            select(table.env)
            .where(table.acked_at < before, table.proof.is_not(None))
            .order_by(table.acked_at)
            .limit(limit)
        )
        envs = [bytes(row.env) for row in self._connection.execute(asked)]
        for first in range(0, len(envs), _CHUNK):
            gone = table.env.in_(envs[first : first + _CHUNK])
            self._connection.execute(delete(exchange_out).where(gone))
        if envs:
            named = select(table.body).where(table.body == exchange_out_body.c.sha256).exists()
            self._connection.execute(delete(exchange_out_body).where(exchange_out_body.c.at < before, ~named))
        return len(envs)

    def has_body_for(self, aud: Prefix, sha256: bytes) -> bool:
        """Say whether an envelope to `aud` names this detached body."""
        asked = select(exchange_out.c.seq).where(exchange_out.c.aud == aud.key, exchange_out.c.body == sha256)
        return self._connection.execute(asked.limit(1)).first() is not None

    # what a peer sent here

    def places(self, iss: Prefix, envs: Sequence[bytes]) -> dict[bytes, int]:
        """Return, for envelopes `iss` sent here, the place of their leaf in this node's log."""
        found = {}
        table = exchange_in.c
        for first in range(0, len(envs), _CHUNK):
            part = envs[first : first + _CHUNK]
            asked = select(table.env, table.leaf_index).where(table.iss == iss.key, table.env.in_(part))
            found.update({bytes(row.env): int(row.leaf_index) for row in self._connection.execute(asked)})
        return found

    def sent_by(
        self, iss: Prefix, aud: Prefix, stream: str, *, epoch: int, after: int, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """Return (token, receipt) of what `iss` sent to `aud` behind number `after` of an epoch, in order."""
        table = exchange_in.c
        asked: Any = (
            select(table.token, table.receipt)
            .where(
                table.iss == iss.key,
                table.aud == aud.key,
                table.stream == stream,
                table.epoch == epoch,
                table.seq > after,
            )
            .order_by(table.seq)
            .limit(limit)
        )
        return [(bytes(row.token), bytes(row.receipt)) for row in self._connection.execute(asked)]

    def taken_at(self, lane: tuple[str, str, str], epoch: int, seq: int) -> int | None:
        """Return when number `seq` of a lane that leads here was taken in."""
        table = exchange_in.c
        iss, aud, stream = lane
        asked = select(table.received_at).where(
            table.iss == iss,
            table.aud == aud,
            table.stream == stream,
            table.epoch == epoch,
            table.seq == seq,
        )
        found = self._connection.execute(asked).scalar()
        return None if found is None else int(found)
