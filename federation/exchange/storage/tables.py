"""Tables of what was received: the inbox, where each lane stands, and what vouches for it.

A lane is (sender, receiver, stream). Prefixes are folded; digests are the raw 32 bytes; times are POSIX seconds.
Tokens are kept as the bytes received: they are the evidence.
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
    "exchange_body",
    "exchange_chain",
    "exchange_conflict",
    "exchange_epoch",
    "exchange_in",
    "exchange_in_position",
    "exchange_refound",
    "exchange_relayed",
    "exchange_session",
]


def _key(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


#: Every envelope that used up its number, with the receipt that says so.
exchange_in = Table(
    "exchange_in",
    metadata,
    Column("iss", _key(64), nullable=False),
    Column("aud", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("env", LargeBinary(32), nullable=False),
    Column("token", LargeBinary, nullable=False),
    # the detached body, in `exchange_body`
    Column("body", LargeBinary(32)),
    # the chain it was accepted under, in `exchange_chain`
    Column("chain", LargeBinary(32), nullable=False),
    # empty where the payload could not be read
    Column("type", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("code", String(24), nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("leaf_index", BigInteger, nullable=False),
    # 1: its effect stands, or it has none; 0: kept until this node understands it; 2: it could not be applied then
    Column("applied", SmallInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    # for a relay: whose envelope is inside
    Column("origin", _key(64)),
    # on streams whose effects must not happen twice: what its sender calls it, in every epoch
    Column("jti", String(36)),
    PrimaryKeyConstraint("iss", "aud", "stream", "epoch", "seq"),
    Index("uq_exchange_in_env", "env", unique=True),
    Index(
        "ix_exchange_in_waiting",
        "leaf_index",
        sqlite_where=text("applied = 0"),
        postgresql_where=text("applied = 0"),
    ),
    Index("ix_exchange_in_received_at", "received_at"),
    Index(
        "ix_exchange_in_jti",
        "jti",
        sqlite_where=text("jti IS NOT NULL"),
        postgresql_where=text("jti IS NOT NULL"),
    ),
)

#: Where each lane stands: the number that comes next, and the newest signed head of its sender.
exchange_in_position = Table(
    "exchange_in_position",
    metadata,
    Column("iss", _key(64), nullable=False),
    Column("aud", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("next_seq", BigInteger, nullable=False),
    Column("prev", LargeBinary(32), nullable=False),
    Column("head_epoch", BigInteger),
    Column("head_seq", BigInteger),
    Column("head_at", BigInteger),
    Column("head", Text),
    PrimaryKeyConstraint("iss", "aud", "stream"),
)

#: Chains that came along, once each; leaf first, one statement a line.
exchange_chain = Table(
    "exchange_chain",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("subject", _key(64), nullable=False),
    Column("tokens", Text, nullable=False),
    Column("ver", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_exchange_chain_subject", "subject", "ver"),
)

#: Bodies too large for their envelope. `used` 0: no envelope has claimed it yet; such ones are thrown away in time.
exchange_body = Table(
    "exchange_body",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("peer", _key(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("used", SmallInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("ix_exchange_body_peer", "peer", "used"),
)

#: Two envelopes under one number: both are kept, as evidence against their sender.
exchange_conflict = Table(
    "exchange_conflict",
    metadata,
    Column("env", LargeBinary(32), primary_key=True),
    Column("iss", _key(64), nullable=False),
    Column("aud", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("token", LargeBinary, nullable=False),
    Column("known_env", LargeBinary(32), nullable=False),
    Column("known_token", LargeBinary, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("chain", LargeBinary(32), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_exchange_conflict_iss", "iss", "aud", "stream"),
)

#: Which copy of a peer's node talks to us: the instance and its fencing number.
exchange_session = Table(
    "exchange_session",
    metadata,
    Column("prefix", _key(64), primary_key=True),
    Column("instance", LargeBinary(16), nullable=False),
    Column("fence", BigInteger, nullable=False),
    # the key it proved possession of
    Column("kid", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
)

#: Epochs after the first, of whatever lane this node sends on, receives on or countersigned.
exchange_epoch = Table(
    "exchange_epoch",
    metadata,
    Column("iss", _key(64), nullable=False),
    Column("aud", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("old_epoch", BigInteger, nullable=False),
    Column("last_seq_known", BigInteger, nullable=False),
    # hash that `prev` of number 1 carries
    Column("opening", LargeBinary(32), nullable=False),
    Column("statement", Text, nullable=False),
    Column("countersigned", Text),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("iss", "aud", "stream", "epoch"),
)

#: After a restore: leaves that came back from a witness, so that an envelope sent again gets the receipt it had.
exchange_refound = Table(
    "exchange_refound",
    metadata,
    Column("env", LargeBinary(32), primary_key=True),
    Column("leaf_index", BigInteger, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
)

#: Envelopes that came inside a relay: each is delivered once to a receiver, however often and by whomever it comes.
exchange_relayed = Table(
    "exchange_relayed",
    metadata,
    Column("aud", _key(64), nullable=False),
    Column("env", LargeBinary(32), nullable=False),
    # the outermost envelope that brought it first
    Column("outer", LargeBinary(32), nullable=False),
    Column("iss", _key(64), nullable=False),
    Column("stream", _key(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("chain", LargeBinary(32), nullable=False),
    Column("type", Text, nullable=False),
    Column("schema", Text, nullable=False),
    # 0: kept until this node understands it; 2: it could not be applied then
    Column("applied", SmallInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("aud", "env"),
    Index(
        "ix_exchange_relayed_waiting",
        "at",
        sqlite_where=text("applied = 0"),
        postgresql_where=text("applied = 0"),
    ),
    Index("ix_exchange_relayed_iss", "iss", "stream", "epoch", "seq"),
)
