"""The exchange: log, envelopes both ways, what is shared, questions, revocations and historical keys.

Revision: 0002, after the spine.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key(length: int) -> sa.String:
    """Text that is compared byte by byte on both databases."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables of the exchange."""
    _content()
    _escrow()
    _receiving()
    _sending()
    _log()
    _prefix()
    _query()


def downgrade() -> None:
    """What was exchanged is evidence: restore a backup instead of going back."""
    raise NotImplementedError


def _content() -> None:
    op.create_table(
        "content_asker",
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("address", _key(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", "day", "address", name="pk_content_asker"),
    )
    op.create_table(
        "content_backfill",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("suffix", _key(255), nullable=False),
        sa.Column("done", sa.SmallInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_content_backfill"),
    )
    op.create_table(
        "content_cursor",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("source", _key(48), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "source", name="pk_content_cursor"),
    )
    op.create_table(
        "content_entry",
        sa.Column("receiver", _key(64), nullable=False),
        sa.Column("dataset", _key(48), nullable=False),
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("key", _key(255), nullable=False),
        sa.Column("schema", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("operation", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("withheld", sa.Text(), nullable=False),
        sa.Column("env", sa.String(length=43), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("receiver", "dataset", "owner", "key", name="pk_content_entry"),
    )
    op.create_index("ix_content_entry_at", "content_entry", ["receiver", "dataset", "at"])
    op.create_table(
        "content_fault",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("id", _key(64), nullable=False),
        sa.Column("class", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "id", name="pk_content_fault"),
    )
    op.create_table(
        "content_measure",
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("good", sa.BigInteger(), nullable=False),
        sa.Column("total_ms", sa.Float(), nullable=False),
        sa.Column("max_ms", sa.Float(), nullable=False),
        sa.Column("max_at", sa.BigInteger(), nullable=False),
        sa.Column("min_ms", sa.Float(), nullable=False),
        sa.Column("min_at", sa.BigInteger(), nullable=False),
        sa.Column("peak", sa.BigInteger(), nullable=False),
        sa.Column("peak_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", "day", "kind", name="pk_content_measure"),
    )
    op.create_table(
        "content_own",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("dataset", _key(48), nullable=False),
        sa.Column("key", _key(255), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "dataset", "key", name="pk_content_own"),
    )
    op.create_table(
        "content_sent",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("dataset", _key(48), nullable=False),
        sa.Column("key", _key(255), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("gone", sa.SmallInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("owner", "dataset", "key", name="pk_content_sent"),
    )


def _escrow() -> None:
    op.create_table(
        "escrow_announced",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("child", _key(64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("owner", "child", name="pk_escrow_announced"),
    )
    op.create_table(
        "escrow_held",
        sa.Column("receiver", _key(64), nullable=False),
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("deposit", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("watermark", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("env", sa.String(length=43), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("receiver", "owner", "rev", name="pk_escrow_held"),
    )
    op.create_table(
        "escrow_made",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("deposit", sa.String(length=64), nullable=False),
        sa.Column("receiver", _key(64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("watermark", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("suffix", _key(255), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "rev", name="pk_escrow_made"),
    )
    op.create_table(
        "escrow_part",
        sa.Column("receiver", _key(64), nullable=False),
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("deposit", sa.String(length=64), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("receiver", "owner", "deposit", "part", name="pk_escrow_part"),
    )
    op.create_table(
        "escrow_superior_key",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("issuer", _key(64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_escrow_superior_key"),
    )
    op.create_table(
        "escrow_takeover",
        sa.Column("owner", _key(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("receiver", _key(64), nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("deposit_at", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(length=43), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("began_by", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("open", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "number", name="pk_escrow_takeover"),
    )


def _receiving() -> None:
    op.create_table(
        "exchange_body",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("peer", _key(64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("used", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_exchange_body"),
    )
    op.create_index("ix_exchange_body_peer", "exchange_body", ["peer", "used"])
    op.create_table(
        "exchange_chain",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("subject", _key(64), nullable=False),
        sa.Column("tokens", sa.Text(), nullable=False),
        sa.Column("ver", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_exchange_chain"),
    )
    op.create_index("ix_exchange_chain_subject", "exchange_chain", ["subject", "ver"])
    op.create_table(
        "exchange_checkpoint",
        sa.Column("origin", sa.String(length=128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "size", name="pk_exchange_checkpoint"),
    )
    op.create_table(
        "exchange_conflict",
        sa.Column("env", sa.LargeBinary(length=32), nullable=False),
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("known_env", sa.LargeBinary(length=32), nullable=False),
        sa.Column("known_token", sa.LargeBinary(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("env", name="pk_exchange_conflict"),
    )
    op.create_index("ix_exchange_conflict_iss", "exchange_conflict", ["iss", "aud", "stream"])
    op.create_table(
        "exchange_epoch",
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("old_epoch", sa.BigInteger(), nullable=False),
        sa.Column("last_seq_known", sa.BigInteger(), nullable=False),
        sa.Column("opening", sa.LargeBinary(length=32), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("countersigned", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("iss", "aud", "stream", "epoch", name="pk_exchange_epoch"),
    )
    op.create_table(
        "exchange_in",
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("env", sa.LargeBinary(length=32), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(length=32), nullable=True),
        sa.Column("chain", sa.LargeBinary(length=32), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=24), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.SmallInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", _key(64), nullable=True),
        sa.Column("jti", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("iss", "aud", "stream", "epoch", "seq", name="pk_exchange_in"),
    )
    op.create_index(
        "ix_exchange_in_jti",
        "exchange_in",
        ["jti"],
        unique=False,
        sqlite_where=sa.text("jti IS NOT NULL"),
        postgresql_where=sa.text("jti IS NOT NULL"),
    )
    op.create_index("ix_exchange_in_received_at", "exchange_in", ["received_at"])
    op.create_index(
        "ix_exchange_in_waiting",
        "exchange_in",
        ["leaf_index"],
        unique=False,
        sqlite_where=sa.text("applied = 0"),
        postgresql_where=sa.text("applied = 0"),
    )
    op.create_index("uq_exchange_in_env", "exchange_in", ["env"], unique=True)
    op.create_table(
        "exchange_in_position",
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("prev", sa.LargeBinary(length=32), nullable=False),
        sa.Column("head_epoch", sa.BigInteger(), nullable=True),
        sa.Column("head_seq", sa.BigInteger(), nullable=True),
        sa.Column("head_at", sa.BigInteger(), nullable=True),
        sa.Column("head", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("iss", "aud", "stream", name="pk_exchange_in_position"),
    )
    op.create_table(
        "exchange_refound",
        sa.Column("env", sa.LargeBinary(length=32), nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("env", name="pk_exchange_refound"),
    )
    op.create_table(
        "exchange_relayed",
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("env", sa.LargeBinary(length=32), nullable=False),
        sa.Column("outer", sa.LargeBinary(length=32), nullable=False),
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.LargeBinary(length=32), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("applied", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("aud", "env", name="pk_exchange_relayed"),
    )
    op.create_index("ix_exchange_relayed_iss", "exchange_relayed", ["iss", "stream", "epoch", "seq"])
    op.create_index(
        "ix_exchange_relayed_waiting",
        "exchange_relayed",
        ["at"],
        unique=False,
        sqlite_where=sa.text("applied = 0"),
        postgresql_where=sa.text("applied = 0"),
    )
    op.create_table(
        "exchange_session",
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("instance", sa.LargeBinary(length=16), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name="pk_exchange_session"),
    )


def _sending() -> None:
    op.create_table(
        "exchange_lane",
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("prev", sa.LargeBinary(length=32), nullable=False),
        sa.Column("acked_seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("chain", sa.LargeBinary(length=32), nullable=True),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.Column("acked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("iss", "aud", "stream", name="pk_exchange_lane"),
    )
    op.create_index("ix_exchange_lane_stream", "exchange_lane", ["stream"])
    op.create_table(
        "exchange_out",
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("env", sa.LargeBinary(length=32), nullable=False),
        sa.Column("jti", sa.String(length=36), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(length=32), nullable=True),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("out_index", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("code", sa.String(length=24), nullable=True),
        sa.Column("acked_at", sa.BigInteger(), nullable=True),
        sa.Column("leaf_index", sa.BigInteger(), nullable=True),
        sa.Column("ack_index", sa.BigInteger(), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=True),
        sa.Column("proof_size", sa.BigInteger(), nullable=True),
        sa.Column("proof_origin", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("iss", "aud", "stream", "epoch", "seq", name="pk_exchange_out"),
    )
    op.create_index("ix_exchange_out_acked_at", "exchange_out", ["acked_at"])
    op.create_index(
        "ix_exchange_out_unproven",
        "exchange_out",
        ["iss", "aud", "leaf_index"],
        unique=False,
        sqlite_where=sa.text("leaf_index IS NOT NULL AND proof IS NULL"),
        postgresql_where=sa.text("leaf_index IS NOT NULL AND proof IS NULL"),
    )
    op.create_index("uq_exchange_out_env", "exchange_out", ["env"], unique=True)
    op.create_table(
        "exchange_out_body",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("media", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_exchange_out_body"),
    )
    op.create_table(
        "exchange_pending",
        sa.Column("position", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("media", sa.Text(), nullable=True),
        sa.Column("ref", sa.Text(), nullable=True),
        sa.Column("jti", sa.String(length=36), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_exchange_pending"),
    )
    op.create_index("ix_exchange_pending_lane", "exchange_pending", ["stream", "iss", "aud", "position"])
    op.create_table(
        "exchange_unsendable",
        sa.Column("position", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("iss", _key(64), nullable=False),
        sa.Column("aud", _key(64), nullable=False),
        sa.Column("stream", _key(16), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("media", sa.Text(), nullable=True),
        sa.Column("ref", sa.Text(), nullable=True),
        sa.Column("jti", sa.String(length=36), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_exchange_unsendable"),
    )


def _log() -> None:
    op.create_table(
        "log",
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("origin", _key(128), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("vkey", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("minimum", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_log"),
        sa.UniqueConstraint("origin", name="uq_log_origin"),
    )
    op.create_table(
        "log_checkpoint",
        sa.Column("log", sa.SmallInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("cosigned", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log", "size", name="pk_log_checkpoint"),
    )
    op.create_table(
        "log_fork",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("origin", _key(128), nullable=False),
        sa.Column("first", sa.LargeBinary(), nullable=False),
        sa.Column("second", sa.LargeBinary(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_fork"),
        sa.UniqueConstraint("digest", name="uq_log_fork_digest"),
    )
    op.create_table(
        "log_leaf",
        sa.Column("log", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("env_key", sa.BigInteger(), nullable=True),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log", "position", name="pk_log_leaf"),
    )
    op.create_index("ix_log_leaf_env_key", "log_leaf", ["env_key"])
    op.create_table(
        "log_mirror",
        sa.Column("witnessed", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("witnessed", "position", name="pk_log_mirror"),
    )
    op.create_table(
        "log_seen",
        sa.Column("origin", _key(128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "size", "root", name="pk_log_seen"),
    )
    op.create_table(
        "log_tile",
        sa.Column("log", sa.SmallInteger(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.SmallInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log", "level", "number", name="pk_log_tile"),
    )
    op.create_table(
        "log_witnessed",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("origin", _key(128), nullable=False),
        sa.Column("vkey", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mirrored", sa.BigInteger(), nullable=False),
        sa.Column("peaks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_witnessed"),
        sa.UniqueConstraint("origin", name="uq_log_witnessed_origin"),
    )


def _prefix() -> None:
    op.create_table(
        "prefix_key",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("alg", sa.String(length=16), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(length=8), nullable=False),
        sa.Column("iat", sa.BigInteger(), nullable=False),
        sa.Column("exp", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("subject", "kid", name="pk_prefix_key"),
    )
    op.create_index("ix_prefix_key_issuer", "prefix_key", ["issuer"])
    op.create_table(
        "prefix_key_list",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_prefix_key_list"),
    )
    op.create_index("ix_prefix_key_list_issuer", "prefix_key_list", ["issuer"])
    op.create_table(
        "prefix_mark_keys",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kids", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_prefix_mark_keys"),
    )
    op.create_table(
        "prefix_revocation",
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", name="pk_prefix_revocation"),
    )
    op.create_table(
        "prefix_revoked",
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("last_good", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "kid", name="pk_prefix_revoked"),
    )


def _query() -> None:
    op.create_table(
        "query_answer",
        sa.Column("query", _key(64), nullable=False),
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("env", sa.String(length=43), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("query", "prefix", name="pk_query_answer"),
    )
    op.create_table(
        "query_asked",
        sa.Column("id", _key(64), nullable=False),
        sa.Column("asker", _key(64), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_query_asked"),
    )
    op.create_index("ix_query_asked_asker", "query_asked", ["asker", "asked_at"])
    op.create_table(
        "query_received",
        sa.Column("query", _key(64), nullable=False),
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("asker", _key(64), nullable=False),
        sa.Column("came_from", _key(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("env", sa.String(length=43), nullable=False),
        sa.Column("handed_on", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("query", "prefix", name="pk_query_received"),
    )
    op.create_index("ix_query_received_prefix", "query_received", ["prefix", "at"])
    op.create_index("ix_query_received_status", "query_received", ["status", "at"])
