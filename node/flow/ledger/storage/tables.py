"""Tables of the ledger. The book comes first; names are numbers of `flow_name`; figures are decimals spelled out.

Times are microseconds since 1970. A figure is text, because neither database's own numbers are exact on both.
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

from node.flow.books.storage import key
from registry.storage.engine import metadata

__all__ = ["DERIVED", "flow_balance", "flow_count", "flow_leg", "flow_line", "flow_note"]

#: The journal: lines are added, never changed.
flow_line = Table(
    "flow_line",
    metadata,
    Column("book", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    # the event that caused it
    Column("event", BigInteger, nullable=False),
    # the event whose line it takes back; 0: none
    Column("reverses", BigInteger, nullable=False),
    Column("account", SmallInteger, nullable=False),
    Column("holder", BigInteger, nullable=False),
    Column("location", BigInteger, nullable=False),
    Column("document", BigInteger, nullable=False),
    Column("batch", BigInteger, nullable=False),
    Column("qty", Text, nullable=False),
    Column("uom", String(3), nullable=False),
    Column("kg", Text),
    Column("t_event", BigInteger, nullable=False),
    Column("t_record", BigInteger, nullable=False),
    PrimaryKeyConstraint("book", "number"),
    Index("ix_flow_line_batch", "book", "batch", "t_event"),
    Index(
        "ix_flow_line_document",
        "book",
        "document",
        sqlite_where=text("document <> 0"),
        postgresql_where=text("document <> 0"),
    ),
    sqlite_with_rowid=False,
)

#: What stands now on the accounts of stock, transit and ownership; nothing where it is zero.
flow_balance = Table(
    "flow_balance",
    metadata,
    Column("book", Integer, nullable=False),
    Column("batch", BigInteger, nullable=False),
    Column("account", SmallInteger, nullable=False),
    Column("holder", BigInteger, nullable=False),
    Column("location", BigInteger, nullable=False),
    Column("document", BigInteger, nullable=False),
    Column("uom", String(3), nullable=False),
    Column("qty", Text, nullable=False),
    # mass of what was weighed, or has a density; and how much has neither
    Column("kg", Text, nullable=False),
    Column("unweighed", Text, nullable=False),
    PrimaryKeyConstraint("book", "batch", "account", "holder", "location", "document", "uom"),
    Index("ix_flow_balance_place", "book", "account", "holder", "location"),
    sqlite_with_rowid=False,
)

#: Dispatches and receipts under a document, also those that count no longer because a better one is known.
flow_leg = Table(
    "flow_leg",
    metadata,
    Column("book", Integer, nullable=False),
    Column("document", BigInteger, nullable=False),
    Column("batch", BigInteger, nullable=False),
    Column("side", SmallInteger, nullable=False),
    Column("event", BigInteger, nullable=False),
    Column("part", SmallInteger, nullable=False),
    Column("rank", SmallInteger, nullable=False),
    Column("posted", SmallInteger, nullable=False),
    Column("account", SmallInteger, nullable=False),
    # of the side that is stock
    Column("holder", BigInteger, nullable=False),
    Column("location", BigInteger, nullable=False),
    Column("qty", Text, nullable=False),
    Column("uom", String(3), nullable=False),
    Column("kg", Text),
    Column("t_event", BigInteger, nullable=False),
    PrimaryKeyConstraint("book", "document", "batch", "side", "event", "part"),
    sqlite_with_rowid=False,
)

#: What was counted. `tie` orders counts of one moment: the hash of the event.
flow_count = Table(
    "flow_count",
    metadata,
    Column("book", Integer, nullable=False),
    Column("batch", BigInteger, nullable=False),
    Column("holder", BigInteger, nullable=False),
    Column("location", BigInteger, nullable=False),
    Column("uom", String(3), nullable=False),
    Column("t_event", BigInteger, nullable=False),
    Column("tie", LargeBinary(32), nullable=False),
    Column("event", BigInteger, nullable=False),
    Column("qty", Text, nullable=False),
    PrimaryKeyConstraint("book", "batch", "holder", "location", "uom", "t_event", "tie"),
    sqlite_with_rowid=False,
)

#: What is noted about an event; `detail` is JSON.
flow_note = Table(
    "flow_note",
    metadata,
    Column("book", Integer, nullable=False),
    Column("event", BigInteger, nullable=False),
    Column("part", SmallInteger, nullable=False),
    Column("name", key(32), nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("book", "event", "part"),
    Index("ix_flow_note_name", "book", "name", "event"),
    sqlite_with_rowid=False,
)

#: What a rebuild makes anew.
DERIVED = (flow_line, flow_balance, flow_leg, flow_count, flow_note)
