"""What the database has about one envelope: how it was sent or received, and under which checkpoints."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending_proofs import ProofUnit
from federation.exchange.storage.sending_tables import exchange_out, exchange_out_body
from federation.exchange.storage.tables import exchange_body, exchange_chain, exchange_in, exchange_relayed
from federation.log.storage import LogRow, LogUnit
from federation.log.storage.tables import log_checkpoint

__all__ = ["EvidenceUnit", "KeptIn", "KeptOut"]


@dataclass(frozen=True, slots=True)
class KeptIn:
    """An envelope that was received here."""

    iss: str
    aud: str
    token: str
    receipt: str
    leaf_index: int
    chain: tuple[str, ...]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class KeptOut:
    """An envelope that was sent here; receipt and proof once they came."""

    iss: str
    aud: str
    stream: str
    epoch: int
    seq: int
    token: str
    out_index: int
    receipt: str | None
    leaf_index: int | None
    ack_index: int | None
    proof: tuple[bytes, ...] | None
    proof_size: int | None
    proof_origin: str | None
    body: bytes | None


class EvidenceUnit:
    """Reads inside one transaction.

    Args:
        connection: the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def received(self, env: bytes) -> KeptIn | None:
        """Return an envelope of the inbox with the chain that decided about it.

        One that came inside a relay is proven by the outermost relay that brought it: that one has a receipt.
        """
        query = (
            select(exchange_in, exchange_chain.c.tokens, exchange_body.c.data)
            .outerjoin(exchange_chain, exchange_chain.c.sha256 == exchange_in.c.chain)
            .outerjoin(exchange_body, exchange_body.c.sha256 == exchange_in.c.body)
        )
        row = self._connection.execute(query.where(exchange_in.c.env == env)).first()
        if row is None:
            brought = select(exchange_relayed.c.outer).where(exchange_relayed.c.env == env)
            outer = self._connection.execute(brought.order_by(exchange_relayed.c.at).limit(1)).scalar()
            if outer is not None:
                row = self._connection.execute(query.where(exchange_in.c.env == outer)).first()
        if row is None:
            return None
        return KeptIn(
            iss=row.iss,
            aud=row.aud,
            token=_ascii(row.token),
            receipt=_ascii(row.receipt),
            leaf_index=int(row.leaf_index),
            chain=tuple((row.tokens or "").split("\n")),
            body=None if row.data is None else bytes(row.data),
        )

    def sent(self, env: bytes) -> KeptOut | None:
        """Return an envelope of the outbox."""
        query = (
            select(exchange_out, exchange_out_body.c.data)
            .outerjoin(exchange_out_body, exchange_out_body.c.sha256 == exchange_out.c.body)
            .where(exchange_out.c.env == env)
        )
        row = self._connection.execute(query).first()
        if row is None:
            return None
        # empty: it was proven by this node's own mirror of the receiver's log, and there is no path to hand out
        proof = bytes(row.proof) if row.proof else None
        return KeptOut(
            iss=row.iss,
            aud=row.aud,
            stream=row.stream,
            epoch=int(row.epoch),
            seq=int(row.seq),
            token=_ascii(row.token),
            out_index=int(row.out_index),
            receipt=None if row.receipt is None else _ascii(row.receipt),
            leaf_index=_whole(row.leaf_index),
            ack_index=_whole(row.ack_index),
            proof=None if proof is None else tuple(proof[n : n + 32] for n in range(0, len(proof), 32)),
            proof_size=_whole(row.proof_size),
            proof_origin=row.proof_origin,
            body=None if row.data is None else bytes(row.data),
        )

    def chain(self, sha256: bytes) -> tuple[str, ...] | None:
        """Return a chain that came along or went out, by its hash, leaf first."""
        return ReceivedUnit(self._connection).chain(sha256)

    def seen(self, origin: str, size: int) -> bytes | None:
        """Return the checkpoint of a receiver's log under which a proof was verified."""
        return ProofUnit(self._connection).checkpoint(origin, size)

    def logs(self) -> list[LogRow]:
        """Return the logs of this node, the oldest first."""
        return LogUnit(self._connection).logs()

    def log(self, number: int) -> LogUnit:
        """Return one of them."""
        return LogUnit(self._connection, number)

    def covering(self, log: int, index: int) -> tuple[int, bytes] | None:
        """Return size and note of the first checkpoint over an entry that a witness signed, else of the first."""
        table = log_checkpoint.c
        query = (
            select(table.size, table.note).where(table.log == log, table.size > index).order_by(table.size)
        )
        row = self._connection.execute(query.where(table.cosigned > 0).limit(1)).first()
        row = row or self._connection.execute(query.limit(1)).first()
        return None if row is None else (int(row.size), bytes(row.note))


def _ascii(raw: Any) -> str:
    return bytes(raw).decode("ascii")


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
