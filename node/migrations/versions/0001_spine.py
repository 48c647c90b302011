"""The spine: records, search, changes, audit, prefixes, accounts.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PARTITIONED = ("record", "search")
_PARTITIONS = 8


def _key(length: int) -> sa.String:
    """Text that is compared byte by byte on both databases."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make every table of the first release."""
    op.create_table(
        "account",
        sa.Column("name", sa.String(length=320), nullable=False),
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_account"),
    )
    op.create_index("ix_account_prefix", "account", ["prefix"], unique=False)
    op.create_table(
        "account_event",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=320), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=320), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account_event"),
    )
    op.create_index("ix_account_event_prefix", "account_event", ["prefix"], unique=False)
    op.create_table(
        "audit",
        sa.Column("position", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("suffix", _key(255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_audit"),
    )
    op.create_index(
        "ix_audit_prefix_suffix_position", "audit", ["prefix", "suffix", "position"], unique=False
    )
    op.create_table(
        "change",
        sa.Column("position", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("suffix", _key(255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_change"),
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counter"),
    )
    op.create_table(
        "prefix_audit",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_prefix_audit"),
    )
    op.create_index("ix_prefix_audit_prefix_number", "prefix_audit", ["prefix", "number"], unique=False)
    op.create_table(
        "prefix_delegation",
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("parent", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name="pk_prefix_delegation"),
    )
    op.create_index("ix_prefix_delegation_parent", "prefix_delegation", ["parent"], unique=False)
    op.create_table(
        "prefix_home",
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("next_kid", sa.String(length=64), nullable=True),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("superior", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("resign", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name="pk_prefix_home"),
    )
    op.create_table(
        "prefix_inherited",
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", "number", name="pk_prefix_inherited"),
    )
    op.create_index(
        "ix_prefix_inherited_subject", "prefix_inherited", ["prefix", "subject", "number"], unique=False
    )
    op.create_table(
        "prefix_invitation",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("parent", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=64), nullable=True),
        sa.Column("purpose", sa.String(length=10), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("used_kid", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_prefix_invitation"),
    )
    op.create_table(
        "prefix_mark",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_prefix_mark"),
    )
    op.create_index("ix_prefix_mark_issuer", "prefix_mark", ["issuer"], unique=False)
    op.create_table(
        "prefix_nonce",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_prefix_nonce"),
    )
    op.create_index("ix_prefix_nonce_expires_at", "prefix_nonce", ["expires_at"], unique=False)
    op.create_table(
        "prefix_request",
        sa.Column("ticket", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("parent", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=10), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("endpoints", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("remark", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ticket", name="pk_prefix_request"),
    )
    op.create_index("ix_prefix_request_parent_state", "prefix_request", ["parent", "state"], unique=False)
    op.create_table(
        "prefix_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prefix_revision"),
    )
    op.create_table(
        "prefix_root",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_prefix_root"),
    )
    op.create_table(
        "record",
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("suffix", _key(255), nullable=False),
        sa.Column("spelling", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("signer", sa.Integer(), nullable=True),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("restricted", sa.LargeBinary(), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", "suffix", name="pk_record"),
        postgresql_partition_by="HASH (prefix)",
    )
    deleted = sa.text("status = 2")
    op.create_index(
        "ix_record_deleted", "record", ["prefix", "status"], sqlite_where=deleted, postgresql_where=deleted
    )
    op.create_table(
        "search",
        sa.Column("prefix", _key(64), nullable=False),
        sa.Column("type", _key(128), nullable=False),
        sa.Column("value", _key(255), nullable=False),
        sa.Column("suffix", _key(255), nullable=False),
        sa.PrimaryKeyConstraint("prefix", "type", "value", "suffix", name="pk_search"),
        postgresql_partition_by="HASH (prefix)",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "signing_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("alg", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signing_key"),
        sa.UniqueConstraint("kid", "issuer", name="uq_signing_key_kid_issuer"),
    )
    op.create_table(
        "account_grant",
        sa.Column("name", sa.String(length=320), nullable=False),
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["name"], ["account.name"], name="fk_account_grant_name", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("name", "prefix", "role", name="pk_account_grant"),
    )
    op.create_index("ix_account_grant_prefix", "account_grant", ["prefix"], unique=False)

    op.bulk_insert(sa.table("counter", sa.column("name"), sa.column("next")), [{"name": "change", "next": 0}])
    if op.get_bind().dialect.name == "postgresql":
        for table in _PARTITIONED:
            for part in range(_PARTITIONS):
                op.execute(
                    f"CREATE TABLE {table}_p{part} PARTITION OF {table}"
                    f" FOR VALUES WITH (MODULUS {_PARTITIONS}, REMAINDER {part})"
                )


def downgrade() -> None:
    """Nothing comes before the first release: restore a backup instead of going back."""
    raise NotImplementedError
