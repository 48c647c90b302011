"""Tables of the log: its leaves, tiles and checkpoints; what this node witnessed, mirrored and saw of others.

A log has a number besides its origin: when one had to be closed and another opened, the leaves of both stay.
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
    UniqueConstraint,
)

from registry.storage.engine import metadata

__all__ = [
    "log",
    "log_checkpoint",
    "log_fork",
    "log_leaf",
    "log_mirror",
    "log_seen",
    "log_tile",
    "log_witnessed",
]


def _key(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


#: The logs of this node; at most one is open.
log = Table(
    "log",
    metadata,
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("origin", _key(128), nullable=False),
    # thumbprint of the key that signs its checkpoints, and its verifier key
    Column("kid", String(64), nullable=False),
    Column("vkey", Text, nullable=False),
    Column("state", String(8), nullable=False),
    # entries below it are no longer served; they are kept
    Column("minimum", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    UniqueConstraint("origin"),
)

#: The leaves, as hashed. `env_key`: the first eight bytes of the envelope's hash, to find a leaf by it.
log_leaf = Table(
    "log_leaf",
    metadata,
    Column("log", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("env_key", BigInteger),
    Column("leaf", LargeBinary, nullable=False),
    PrimaryKeyConstraint("log", "position"),
    Index("ix_log_leaf_env_key", "env_key"),
)

#: The tiles, as wide as they are by now; the bytes only ever get longer.
log_tile = Table(
    "log_tile",
    metadata,
    Column("log", SmallInteger, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("width", SmallInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("log", "level", "number"),
)

#: What was signed; `note` gains lines as witnesses cosign.
log_checkpoint = Table(
    "log_checkpoint",
    metadata,
    Column("log", SmallInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("cosigned", SmallInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("log", "size"),
)

#: Other nodes' logs that this node witnesses: the newest checkpoint cosigned, and how far their leaves are mirrored.
log_witnessed = Table(
    "log_witnessed",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("origin", _key(128), nullable=False),
    Column("vkey", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    # leaves of the mirror that are under a cosigned checkpoint, and the complete subtrees over them
    Column("mirrored", BigInteger, nullable=False),
    Column("peaks", LargeBinary, nullable=False),
    UniqueConstraint("origin"),
)

#: Leaves of witnessed logs; those from `log_witnessed.mirrored` on still wait for a checkpoint that covers them.
log_mirror = Table(
    "log_mirror",
    metadata,
    Column("witnessed", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    PrimaryKeyConstraint("witnessed", "position"),
)

#: Signed checkpoints of others that came to this node's notice, and by which way.
log_seen = Table(
    "log_seen",
    metadata,
    Column("origin", _key(128), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("via", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("origin", "size", "root"),
)

#: Two signed checkpoints of one log that cannot both be true: the evidence of a fork. `proof`: a consistency proof
#: that fails, 32 bytes a step, where the sizes differ.
log_fork = Table(
    "log_fork",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("origin", _key(128), nullable=False),
    Column("first", LargeBinary, nullable=False),
    Column("second", LargeBinary, nullable=False),
    Column("proof", LargeBinary, nullable=False),
    Column("via", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    UniqueConstraint("digest"),
)
