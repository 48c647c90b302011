"""Tables of descent, containment and custody. The book comes first; names are numbers of `flow_name`.

`void_by` is the event that declared the one behind the row void; 0: it stands. Times are microseconds since 1970.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
)

from registry.storage.engine import metadata

__all__ = ["DERIVED", "flow_custody", "flow_edge", "flow_mark"]

#: What was made from what: clustered on the product, indexed on the source.
flow_edge = Table(
    "flow_edge",
    metadata,
    Column("book", Integer, nullable=False),
    Column("dst", BigInteger, nullable=False),
    Column("src", BigInteger, nullable=False),
    Column("event", BigInteger, nullable=False),
    # 1: lot -> run; 0: run -> lot
    Column("into_run", SmallInteger, nullable=False),
    Column("qty", Text),
    Column("uom", String(3)),
    Column("t_event", BigInteger, nullable=False),
    Column("void_by", BigInteger, nullable=False),
    PrimaryKeyConstraint("book", "dst", "src", "event"),
    Index("ix_flow_edge_src", "book", "src", "void_by", "dst"),
    sqlite_with_rowid=False,
)

#: What was put into what, and taken out: intervals are found from it. Child 0: every child of the parent.
flow_mark = Table(
    "flow_mark",
    metadata,
    Column("book", Integer, nullable=False),
    Column("child", BigInteger, nullable=False),
    Column("parent", BigInteger, nullable=False),
    Column("t_event", BigInteger, nullable=False),
    Column("event", BigInteger, nullable=False),
    Column("added", SmallInteger, nullable=False),
    Column("qty", Text),
    Column("uom", String(3)),
    Column("void_by", BigInteger, nullable=False),
    PrimaryKeyConstraint("book", "child", "parent", "t_event", "event"),
    Index("ix_flow_mark_parent", "book", "parent", "t_event"),
    sqlite_with_rowid=False,
)

#: What went to a partner, or came from one.
flow_custody = Table(
    "flow_custody",
    metadata,
    Column("book", Integer, nullable=False),
    Column("lot", BigInteger, nullable=False),
    Column("event", BigInteger, nullable=False),
    Column("outward", SmallInteger, nullable=False),
    Column("partner", BigInteger, nullable=False),
    Column("document", BigInteger, nullable=False),
    Column("qty", Text),
    Column("uom", String(3)),
    Column("t_event", BigInteger, nullable=False),
    Column("void_by", BigInteger, nullable=False),
    PrimaryKeyConstraint("book", "lot", "event"),
    sqlite_with_rowid=False,
)

#: What a rebuild makes anew.
DERIVED = (flow_edge, flow_mark, flow_custody)
