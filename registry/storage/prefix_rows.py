"""Tables of prefixes and joining, and the way between a row and its domain object."""

from dataclasses import asdict
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, RowMapping, String, Table, Text

from registry.delegation import (
    AuditLine,
    Contact,
    Delegation,
    DelegationState,
    Home,
    HomeState,
    Invitation,
    JoinRequest,
    Origin,
    Purpose,
    RequestState,
    Superior,
)
from registry.identifier import Prefix
from registry.storage.engine import metadata

__all__ = [
    "audit",
    "delegation_row",
    "delegations",
    "dump",
    "home_row",
    "homes",
    "inherited",
    "invitation_row",
    "invitations",
    "key_lists",
    "keys",
    "mark_keys",
    "marks",
    "nonces",
    "request_row",
    "requests",
    "revisions",
    "revocations",
    "revoked",
    "roots",
    "to_audit_line",
    "to_delegation",
    "to_home",
    "to_invitation",
    "to_request",
]

_KEY = String(64)
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")

roots = Table(
    "prefix_root",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
)
homes = Table(
    "prefix_home",
    metadata,
    Column("prefix", _KEY, primary_key=True),
    Column("origin", String(8), nullable=False),
    Column("state", String(10), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("next_kid", String(64)),
    Column("chain", Text, nullable=False),
    Column("superior", Text),
    Column("reason", Text, nullable=False),
    Column("resign", Boolean, nullable=False),
)
delegations = Table(
    "prefix_delegation",
    metadata,
    Column("prefix", _KEY, primary_key=True),
    Column("parent", _KEY, nullable=False, index=True),
    Column("state", String(10), nullable=False),
    Column("version", Integer, nullable=False),
    Column("token", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("published", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("contact", Text, nullable=False),
)
invitations = Table(
    "prefix_invitation",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("parent", _KEY, nullable=False),
    Column("prefix", _KEY),
    Column("purpose", String(10), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("used_at", BigInteger),
    Column("used_kid", String(64)),
)
requests = Table(
    "prefix_request",
    metadata,
    Column("ticket", String(64), primary_key=True),
    Column("prefix", _KEY, nullable=False),
    Column("parent", _KEY, nullable=False),
    Column("purpose", String(10), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("jwk", Text, nullable=False),
    Column("endpoints", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("decided_at", BigInteger),
    Column("decided_by", Text, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("remark", Text, nullable=False),
    Index("ix_prefix_request_parent_state", "parent", "state"),
)
nonces = Table(
    "prefix_nonce",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
marks = Table(
    "prefix_mark",
    metadata,
    Column("subject", _KEY, primary_key=True),
    Column("issuer", _KEY, nullable=False, index=True),
    Column("version", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)
#: The keys that sign for a prefix by its newest statement: when none of them is left in the next one, the marks under
#: the prefix are forgotten.
mark_keys = Table(
    "prefix_mark_keys",
    metadata,
    Column("subject", _KEY, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("kids", Text, nullable=False),
)
#: The newest revocation list of each issuer, our own and those of others.
revocations = Table(
    "prefix_revocation",
    metadata,
    Column("issuer", _KEY, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("token", Text, nullable=False),
)
#: Every key that any list ever named; a row is never taken out.
revoked = Table(
    "prefix_revoked",
    metadata,
    Column("issuer", _KEY, primary_key=True),
    Column("kid", String(64), primary_key=True),
    Column("revoked_at", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("last_good", Text, nullable=False),
)
#: Every key this node ever certified for a prefix below its own.
keys = Table(
    "prefix_key",
    metadata,
    Column("subject", _KEY, primary_key=True),
    Column("kid", String(64), primary_key=True),
    Column("issuer", _KEY, nullable=False, index=True),
    Column("alg", String(16), nullable=False),
    Column("jwk", Text, nullable=False),
    Column("purpose", String(8), nullable=False),
    Column("iat", BigInteger, nullable=False),
    Column("exp", BigInteger),
)
#: The newest list of all keys of a prefix, our own and those of others.
key_lists = Table(
    "prefix_key_list",
    metadata,
    Column("subject", _KEY, primary_key=True),
    Column("issuer", _KEY, nullable=False, index=True),
    Column("version", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("token", Text, nullable=False),
)
inherited = Table(
    "prefix_inherited",
    metadata,
    Column("prefix", _KEY, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("line", Text, nullable=False),
    Index("ix_prefix_inherited_subject", "prefix", "subject", "number"),
)
audit = Table(
    "prefix_audit",
    metadata,
    Column("number", _ROW_ID, primary_key=True, autoincrement=True),
    Column("prefix", _KEY, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_prefix_audit_prefix_number", "prefix", "number"),
)
revisions = Table(
    "prefix_revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)


def dump(content: object) -> str:
    """Return compact JSON."""
    return orjson.dumps(content).decode()


def home_row(home: Home) -> dict[str, Any]:
    """Return the columns of a home, without its key."""
    return {
        "origin": home.origin.value,
        "state": home.state.value,
        "kid": home.kid,
        "next_kid": home.next_kid,
        "chain": dump(home.chain),
        "superior": dump({**asdict(home.superior), "parent": home.superior.parent.key})
        if home.superior
        else None,
        "reason": home.reason,
        "resign": home.resign,
    }


def to_home(row: RowMapping) -> Home:
    """Read a home."""
    return Home(
        prefix=Prefix(row["prefix"]),
        origin=Origin(row["origin"]),
        state=HomeState(row["state"]),
        kid=row["kid"],
        next_kid=row["next_kid"],
        chain=tuple(orjson.loads(row["chain"])),
        superior=_to_superior(orjson.loads(row["superior"])) if row["superior"] else None,
        reason=row["reason"],
        resign=row["resign"],
    )


def _to_superior(content: dict[str, Any]) -> Superior:
    return Superior(
        **{
            **content,
            "urls": tuple(content["urls"]),
            "parent": Prefix(content["parent"]),
            "purpose": Purpose(content["purpose"]),
        }
    )


def delegation_row(made: Delegation) -> dict[str, Any]:
    """Return the columns of a delegation, without its key."""
    return {
        "parent": made.parent.key,
        "state": made.state.value,
        "version": made.version,
        "token": made.token,
        "expires": made.expires,
        "published": made.published,
        "name": made.name,
        "contact": made.contact,
    }


def to_delegation(row: RowMapping) -> Delegation:
    """Read a delegation."""
    plain = {name: row[name] for name in ("version", "token", "expires", "published", "name", "contact")}
    return Delegation(
        prefix=Prefix(row["prefix"]),
        parent=Prefix(row["parent"]),
        state=DelegationState(row["state"]),
        **plain,
    )


def invitation_row(made: Invitation) -> dict[str, Any]:
    """Return every column of an invitation."""
    return {
        "digest": made.digest,
        "parent": made.parent.key,
        "prefix": made.prefix.key if made.prefix else None,
        "purpose": made.purpose.value,
        "expires_at": made.expires_at,
        "created_at": made.created_at,
        "created_by": made.created_by,
        "used_at": made.used_at,
        "used_kid": made.used_kid,
    }


def to_invitation(row: RowMapping) -> Invitation:
    """Read an invitation."""
    return Invitation(
        **{
            **row,
            "parent": Prefix(row["parent"]),
            "prefix": Prefix(row["prefix"]) if row["prefix"] else None,
            "purpose": Purpose(row["purpose"]),
        }
    )


def request_row(made: JoinRequest) -> dict[str, Any]:
    """Return the columns of a request, without its key."""
    return {
        "prefix": made.prefix.key,
        "parent": made.parent.key,
        "purpose": made.purpose.value,
        "kid": made.kid,
        "jwk": dump(dict(made.jwk)),
        "endpoints": dump(dict(made.endpoints)),
        "who": dump(made.who),
        "state": made.state.value,
        "requested_at": made.requested_at,
        "decided_at": made.decided_at,
        "decided_by": made.decided_by,
        "reason": made.reason,
        "remark": made.remark,
    }


def to_request(row: RowMapping) -> JoinRequest:
    """Read a request."""
    return JoinRequest(
        **{
            **row,
            "prefix": Prefix(row["prefix"]),
            "parent": Prefix(row["parent"]),
            "purpose": Purpose(row["purpose"]),
            "jwk": orjson.loads(row["jwk"]),
            "endpoints": orjson.loads(row["endpoints"]),
            "who": Contact(**orjson.loads(row["who"])),
            "state": RequestState(row["state"]),
        }
    )


def to_audit_line(row: RowMapping) -> AuditLine:
    """Read one line of the trail."""
    return AuditLine(**{**row, "prefix": Prefix(row["prefix"]), "detail": orjson.loads(row["detail"])})
