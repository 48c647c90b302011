"""Flow: events as they came, and what is derived from them: the ledger and the genealogy.

Revision: 0003, after the exchange.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _key(length: int) -> sa.String:
    """Text that is compared byte by byte on both databases."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables of the flow rooms."""
    _ledger()
    _books()
    _capture()
    _genealogy()


def downgrade() -> None:
    """Events are evidence: restore a backup instead of going back."""
    raise NotImplementedError


def _ledger() -> None:
    op.create_table(
        "flow_balance",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.SmallInteger(), nullable=False),
        sa.Column("holder", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.BigInteger(), nullable=False),
        sa.Column("uom", sa.String(length=3), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("kg", sa.Text(), nullable=False),
        sa.Column("unweighed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "book", "batch", "account", "holder", "location", "document", "uom", name="pk_flow_balance"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_flow_balance_place", "flow_balance", ["book", "account", "holder", "location"])
    op.create_table(
        "flow_count",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.BigInteger(), nullable=False),
        sa.Column("uom", sa.String(length=3), nullable=False),
        sa.Column("t_event", sa.BigInteger(), nullable=False),
        sa.Column("tie", sa.LargeBinary(length=32), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "book", "batch", "holder", "location", "uom", "t_event", "tie", name="pk_flow_count"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "flow_leg",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("document", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.SmallInteger(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.SmallInteger(), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("posted", sa.SmallInteger(), nullable=False),
        sa.Column("account", sa.SmallInteger(), nullable=False),
        sa.Column("holder", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.BigInteger(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("uom", sa.String(length=3), nullable=False),
        sa.Column("kg", sa.Text(), nullable=True),
        sa.Column("t_event", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book", "document", "batch", "side", "event", "part", name="pk_flow_leg"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "flow_line",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("reverses", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.SmallInteger(), nullable=False),
        sa.Column("holder", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("uom", sa.String(length=3), nullable=False),
        sa.Column("kg", sa.Text(), nullable=True),
        sa.Column("t_event", sa.BigInteger(), nullable=False),
        sa.Column("t_record", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book", "number", name="pk_flow_line"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_flow_line_batch", "flow_line", ["book", "batch", "t_event"])
    op.create_index(
        "ix_flow_line_document",
        "flow_line",
        ["book", "document"],
        unique=False,
        sqlite_where=sa.text("document <> 0"),
        postgresql_where=sa.text("document <> 0"),
    )
    op.create_table(
        "flow_note",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.SmallInteger(), nullable=False),
        sa.Column("name", _key(32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("book", "event", "part", name="pk_flow_note"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_flow_note_name", "flow_note", ["book", "name", "event"])


def _books() -> None:
    op.create_table(
        "flow_book",
        sa.Column("book", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("next_name", sa.BigInteger(), nullable=False),
        sa.Column("next_event", sa.BigInteger(), nullable=False),
        sa.Column("next_line", sa.BigInteger(), nullable=False),
        sa.Column("next_capture", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book", name="pk_flow_book"),
    )
    op.create_index("uq_flow_book_prefix", "flow_book", ["prefix"], unique=True)
    op.create_table(
        "flow_name",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.SmallInteger(), nullable=False),
        sa.Column("name", _key(1000), nullable=False),
        sa.PrimaryKeyConstraint("book", "id", name="pk_flow_name"),
        sqlite_with_rowid=False,
    )
    op.create_index("uq_flow_name_name", "flow_name", ["book", "name", "run"], unique=True)


def _capture() -> None:
    op.create_table(
        "flow_capture",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("success", sa.SmallInteger(), nullable=False),
        sa.Column("proceed", sa.SmallInteger(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("book", "number", name="pk_flow_capture"),
    )
    op.create_index("ix_flow_capture_digest", "flow_capture", ["book", "digest"])
    op.create_table(
        "flow_context",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("book", "number", name="pk_flow_context"),
    )
    op.create_index("uq_flow_context_sha256", "flow_context", ["book", "sha256"], unique=True)
    op.create_table(
        "flow_event",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("declares", sa.SmallInteger(), nullable=False),
        sa.Column("event_id", _key(1000), nullable=False),
        sa.Column("contradicts", sa.SmallInteger(), nullable=False),
        sa.Column("void_by", sa.BigInteger(), nullable=False),
        sa.Column("voids", sa.BigInteger(), nullable=False),
        sa.Column("t_event", sa.BigInteger(), nullable=False),
        sa.Column("t_record", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("biz_step", sa.Text(), nullable=False),
        sa.Column("capture", sa.BigInteger(), nullable=False),
        sa.Column("context", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("book", "number", name="pk_flow_event"),
    )
    op.create_index("ix_flow_event_event_id", "flow_event", ["book", "event_id"])
    op.create_index("ix_flow_event_t_event", "flow_event", ["book", "t_event", "number"])
    op.create_index("uq_flow_event_hash", "flow_event", ["book", "hash", "declares"], unique=True)


def _genealogy() -> None:
    op.create_table(
        "flow_custody",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("lot", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("outward", sa.SmallInteger(), nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.BigInteger(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=True),
        sa.Column("uom", sa.String(length=3), nullable=True),
        sa.Column("t_event", sa.BigInteger(), nullable=False),
        sa.Column("void_by", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book", "lot", "event", name="pk_flow_custody"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "flow_edge",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("dst", sa.BigInteger(), nullable=False),
        sa.Column("src", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("into_run", sa.SmallInteger(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=True),
        sa.Column("uom", sa.String(length=3), nullable=True),
        sa.Column("t_event", sa.BigInteger(), nullable=False),
        sa.Column("void_by", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book", "dst", "src", "event", name="pk_flow_edge"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_flow_edge_src", "flow_edge", ["book", "src", "void_by", "dst"])
    op.create_table(
        "flow_mark",
        sa.Column("book", sa.Integer(), nullable=False),
        sa.Column("child", sa.BigInteger(), nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=False),
        sa.Column("t_event", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("added", sa.SmallInteger(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=True),
        sa.Column("uom", sa.String(length=3), nullable=True),
        sa.Column("void_by", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book", "child", "parent", "t_event", "event", name="pk_flow_mark"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_flow_mark_parent", "flow_mark", ["book", "parent", "t_event"])
