"""Tables of what is shared: how far the sources have come, what was sent, what arrived, what was measured.

Every table begins its key with a prefix. Content is compact JSON. Times are POSIX seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import postgresql, sqlite

from registry.storage.engine import metadata

__all__ = ["asker", "backfill", "cursor", "fault", "measure", "own", "put_rows", "received", "sent"]


def _key(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


#: How far a source has read, and up to where it reads in the present period.
cursor = Table(
    "content_cursor",
    metadata,
    Column("owner", _key(64), nullable=False),
    Column("source", _key(48), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("slot", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "source"),
)

#: Homed prefixes whose records are being read from the beginning; `done` once the change table tells the rest.
#: `since`: the second from which all of it is told anew (0: never told before); entries are newer than any before it.
backfill = Table(
    "content_backfill",
    metadata,
    Column("owner", _key(64), primary_key=True),
    Column("prefix", _key(64), nullable=False),
    Column("suffix", _key(255), nullable=False),
    Column("done", SmallInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
)

#: The newest version sent of each entry that is compared by content.
sent = Table(
    "content_sent",
    metadata,
    Column("owner", _key(64), nullable=False),
    Column("dataset", _key(48), nullable=False),
    Column("key", _key(255), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("gone", SmallInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("owner", "dataset", "key"),
)

#: What people of this node entered by hand: what no record holds.
own = Table(
    "content_own",
    metadata,
    Column("owner", _key(64), nullable=False),
    Column("dataset", _key(48), nullable=False),
    Column("key", _key(255), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    PrimaryKeyConstraint("owner", "dataset", "key"),
)

#: What arrived: the newest version of each entry, and the envelope that is the evidence for it.
received = Table(
    "content_entry",
    metadata,
    Column("receiver", _key(64), nullable=False),
    Column("dataset", _key(48), nullable=False),
    Column("owner", _key(64), nullable=False),
    Column("key", _key(255), nullable=False),
    Column("schema", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("operation", SmallInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("withheld", Text, nullable=False),
    Column("env", String(43), nullable=False),
    # who relayed it, nearest to the owner first, separated by blanks
    Column("via", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("receiver", "dataset", "owner", "key"),
    Index("ix_content_entry_at", "receiver", "dataset", "at"),
)

#: What was measured, by prefix, day and kind (`resolution`, `registration`); times of the extremes beside them.
measure = Table(
    "content_measure",
    metadata,
    Column("prefix", _key(64), nullable=False),
    Column("day", String(10), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("good", BigInteger, nullable=False),
    Column("total_ms", Float, nullable=False),
    Column("max_ms", Float, nullable=False),
    Column("max_at", BigInteger, nullable=False),
    Column("min_ms", Float, nullable=False),
    Column("min_at", BigInteger, nullable=False),
    Column("peak", BigInteger, nullable=False),
    Column("peak_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("prefix", "day", "kind"),
)

#: Faults of the node that were told: their class (1 … 4), or 0 once the recovery was told too.
fault = Table(
    "content_fault",
    metadata,
    Column("owner", _key(64), nullable=False),
    Column("id", _key(64), nullable=False),
    Column("class", SmallInteger, nullable=False),
    PrimaryKeyConstraint("owner", "id"),
)

#: Where the questions came from.
asker = Table(
    "content_asker",
    metadata,
    Column("prefix", _key(64), nullable=False),
    Column("day", String(10), nullable=False),
    Column("address", _key(64), nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("prefix", "day", "address"),
)


def put_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    newer: str | None = None,
    add: str | None = None,
) -> None:
    """Insert rows or replace those with the same primary key.

    Args:
        connection: the open transaction.
        table: where they belong.
        rows: all with the same columns.
        newer: name of a column; a row that stands there is replaced only by one with a greater value of it.
        add: name of a column; its value is added to what stands there.
    """
    if not rows:
        return
    made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    keys = [column.name for column in table.primary_key]
    rest = {name: made.excluded[name] for name in rows[0] if name not in keys}
    if add is not None:
        rest[add] = table.c[add] + made.excluded[add]
    where = made.excluded[newer] > table.c[newer] if newer else None
    connection.execute(
        made.on_conflict_do_update(index_elements=keys, set_=rest, where=where), [dict(row) for row in rows]
    )
