"""Tables of records, their search rows, the change feed and the audit trail.

Keys are compared byte by byte on both databases (`COLLATE "C"` on PostgreSQL), so that order and paging agree. Every
large table begins its key with the prefix; on PostgreSQL records and search rows are partitioned by it.
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
    text,
)

from registry.storage.engine import metadata

__all__ = [
    "LAST_POSITION",
    "audit",
    "change",
    "counter",
    "record",
    "search",
    "signing_key",
]

#: No position is greater: what a 64-bit column holds.
LAST_POSITION = (1 << 63) - 1


def _key(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


signing_key = Table(
    "signing_key",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kid", String(64), nullable=False),
    Column("issuer", String(64), nullable=False),
    Column("alg", String(16), nullable=False),
    UniqueConstraint("kid", "issuer"),
)

record = Table(
    "record",
    metadata,
    Column("prefix", _key(64), nullable=False),
    Column("suffix", _key(255), nullable=False),
    # the registered spelling of the whole identifier, where it differs from its match key
    Column("spelling", Text),
    Column("kind", String(32), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("signer", Integer),
    Column("signature", LargeBinary),
    Column("restricted", LargeBinary),
    Column("document", LargeBinary, nullable=False),
    PrimaryKeyConstraint("prefix", "suffix"),
    # few rows: counting takes them from the primary key's count without reading a record
    Index(
        "ix_record_deleted",
        "prefix",
        "status",
        sqlite_where=text("status = 2"),
        postgresql_where=text("status = 2"),
    ),
    postgresql_partition_by="HASH (prefix)",
)

#: One row for each value that can be searched; `value` is folded and cut to 255 characters.
search = Table(
    "search",
    metadata,
    Column("prefix", _key(64), nullable=False),
    Column("type", _key(128), nullable=False),
    Column("value", _key(255), nullable=False),
    Column("suffix", _key(255), nullable=False),
    PrimaryKeyConstraint("prefix", "type", "value", "suffix"),
    postgresql_partition_by="HASH (prefix)",
    sqlite_with_rowid=False,
)

#: Gapless numbers: the row is locked by whoever writes, until it commits.
counter = Table(
    "counter",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("next", BigInteger, nullable=False),
)

change = Table(
    "change",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("prefix", _key(64), nullable=False),
    Column("suffix", _key(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("prefix", _key(64), nullable=False),
    Column("suffix", _key(255), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(16), nullable=False),
    # what stood there before: kind, status, version, modified, document; the after-state is derived
    Column("before", LargeBinary),
    Index("ix_audit_prefix_suffix_position", "prefix", "suffix", "position"),
)
