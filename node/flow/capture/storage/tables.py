"""Tables of what was captured: events are kept as they came, and all else of the flow rooms can be made from them."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from node.flow.books.storage import key
from registry.storage.engine import metadata

__all__ = ["flow_capture", "flow_context", "flow_event"]

#: Every event and every error declaration, in the order of arrival.
flow_event = Table(
    "flow_event",
    metadata,
    Column("book", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    # the 32 bytes of the CBV hash; a declaration has that of its event
    Column("hash", LargeBinary(32), nullable=False),
    # 0 an event, 1 an error declaration
    Column("declares", SmallInteger, nullable=False),
    Column("event_id", key(1000), nullable=False),
    # 0 it stands, 1 kept beside another event of the same id and not booked
    Column("contradicts", SmallInteger, nullable=False),
    # of an event: the declaration that made it void; 0: none
    Column("void_by", BigInteger, nullable=False),
    # of a declaration: its event; 0: not here yet
    Column("voids", BigInteger, nullable=False),
    Column("t_event", BigInteger, nullable=False),
    Column("t_record", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("biz_step", Text, nullable=False),
    Column("capture", BigInteger, nullable=False),
    # its JSON-LD context, in `flow_context`; 0: none
    Column("context", BigInteger, nullable=False),
    # JSON, every member and every digit as it came
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("book", "number"),
    Index("uq_flow_event_hash", "book", "hash", "declares", unique=True),
    Index("ix_flow_event_event_id", "book", "event_id"),
    Index("ix_flow_event_t_event", "book", "t_event", "number"),
)

#: JSON-LD contexts, by which the names in events are read; each once.
flow_context = Table(
    "flow_context",
    metadata,
    Column("book", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("book", "number"),
    Index("uq_flow_context_sha256", "book", "sha256", unique=True),
)

#: Capture jobs. `digest`: SHA-256 of the document.
flow_capture = Table(
    "flow_capture",
    metadata,
    Column("book", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("digest", LargeBinary(32)),
    Column("who", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger, nullable=False),
    Column("success", SmallInteger, nullable=False),
    Column("proceed", SmallInteger, nullable=False),
    Column("events", Integer, nullable=False),
    Column("errors", Text, nullable=False),
    PrimaryKeyConstraint("book", "number"),
    Index("ix_flow_capture_digest", "book", "digest"),
)
