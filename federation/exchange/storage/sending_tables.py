"""Tables of what is sent: drafts that wait for a number, lanes, numbered envelopes, bodies too large for theirs.

A lane is (sender, receiver, stream). Prefixes are folded; digests are the raw 32 bytes; times are POSIX seconds.
Tokens and receipts are kept as the bytes sent and received: they are the evidence.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from registry.storage.engine import metadata

__all__ = [
    "exchange_checkpoint",
    "exchange_lane",
    "exchange_out",
    "exchange_out_body",
    "exchange_pending",
    "exchange_unsendable",
]

_UNPROVEN = text("leaf_index IS NOT NULL AND proof IS NULL")


def _key(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _position() -> BigInteger:
    return BigInteger().with_variant(Integer, "sqlite")


#: What business transactions want sent, in the order of their commits; a row is gone once it is sealed.
exchange_pending = Table(
    "exchange_pending",
    metadata,
    Column("position", _position(), primary_key=True, autoincrement=False),
    Column("iss", _key(64), nullable=False),
    Column("aud", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("type", Text, nullable=False),
    Column("schema", Text, nullable=False),
    # JSON, or with `media` the bytes themselves
    Column("body", LargeBinary, nullable=False),
    Column("media", Text),
    Column("ref", Text),
    # given with the draft, so that after a restore it is known again among the envelopes that come back
    Column("jti", String(36)),
    Column("at", BigInteger, nullable=False),
    Index("ix_exchange_pending_lane", "stream", "iss", "aud", "position"),
)

#: Drafts that no envelope can carry: a mistake of ours, kept for whoever looks for it. Nothing waits behind them.
exchange_unsendable = Table(
    "exchange_unsendable",
    metadata,
    Column("position", _position(), primary_key=True, autoincrement=False),
    Column("iss", _key(64), nullable=False),
    Column("aud", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("type", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("media", Text),
    Column("ref", Text),
    Column("jti", String(36)),
    Column("code", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

#: Where each lane of ours stands.
exchange_lane = Table(
    "exchange_lane",
    metadata,
    Column("iss", _key(64), nullable=False),
    Column("aud", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    # the number that comes next, and the hash its envelope names as `prev`
    Column("next_seq", BigInteger, nullable=False),
    Column("prev", LargeBinary(32), nullable=False),
    # of this epoch: every number up to here has its receipt
    Column("acked_seq", BigInteger, nullable=False),
    # `open`, or `stopped` after an equivocation
    Column("state", String(16), nullable=False),
    # why nothing gets through at present: a code; and since when
    Column("failure", Text),
    Column("failed_at", BigInteger),
    # the chain that went out whole last; later envelopes name it by this digest
    Column("chain", LargeBinary(32)),
    # final rejections so far
    Column("rejected", BigInteger, nullable=False),
    Column("sealed_at", BigInteger, nullable=False),
    Column("acked_at", BigInteger),
    PrimaryKeyConstraint("iss", "aud", "stream"),
    Index("ix_exchange_lane_stream", "stream"),
)

#: Every envelope signed here, and what became of it.
exchange_out = Table(
    "exchange_out",
    metadata,
    Column("iss", _key(64), nullable=False),
    Column("aud", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("env", LargeBinary(32), nullable=False),
    Column("jti", String(36), nullable=False),
    Column("token", LargeBinary, nullable=False),
    # the detached body, in `exchange_out_body`
    Column("body", LargeBinary(32)),
    Column("queued_at", BigInteger, nullable=False),
    # place of the `out` leaf in our log
    Column("out_index", BigInteger, nullable=False),
    # 0 waits, 1 has its receipt
    Column("state", SmallInteger, nullable=False),
    Column("receipt", LargeBinary),
    Column("outcome", String(16)),
    Column("code", String(24)),
    Column("acked_at", BigInteger),
    # place of the `in` leaf in the receiver's log, and of the `ack` leaf in ours
    Column("leaf_index", BigInteger),
    Column("ack_index", BigInteger),
    # inclusion hashes, leaf to root, 32 bytes each, under the checkpoint of this origin and size; empty: the leaf
    # was found in the mirror that this node keeps of the receiver's log
    Column("proof", LargeBinary),
    Column("proof_size", BigInteger),
    Column("proof_origin", String(128)),
    PrimaryKeyConstraint("iss", "aud", "stream", "epoch", "seq"),
    Index("uq_exchange_out_env", "env", unique=True),
    Index(
        "ix_exchange_out_unproven",
        "iss",
        "aud",
        "leaf_index",
        sqlite_where=_UNPROVEN,
        postgresql_where=_UNPROVEN,
    ),
    Index("ix_exchange_out_acked_at", "acked_at"),
)

#: Bodies too large for their envelope, until they are no longer needed.
exchange_out_body = Table(
    "exchange_out_body",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("media", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

#: Checkpoints of receivers that stored proofs stand under, as received.
exchange_checkpoint = Table(
    "exchange_checkpoint",
    metadata,
    Column("origin", String(128), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("origin", "size"),
)
