"""Tables and queries of the accounts: who, secrets as one-way text, roles, and what was done to them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    delete,
    insert,
    or_,
    select,
    update,
)

from node.accounts.account import Account, AccountKind
from registry.identifier import Prefix
from registry.principal import Grant, Role
from registry.storage.engine import metadata

__all__ = [
    "AccountEvent",
    "Connection",
    "add",
    "add_event",
    "at_prefix",
    "change",
    "events",
    "find",
    "find_with_secret",
    "set_roles",
]

_account = Table(
    "account",
    metadata,
    Column("name", String(320), primary_key=True),
    Column("prefix", String(64), nullable=False, index=True),
    Column("kind", String(8), nullable=False),
    # Argon2id in PHC form for a person, keyed hash in hex for a system.
    Column("secret", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
)

_grant = Table(
    "account_grant",
    metadata,
    Column("name", ForeignKey("account.name", ondelete="CASCADE"), primary_key=True),
    Column("prefix", String(64), primary_key=True, index=True),
    Column("role", String(16), primary_key=True),
)

_event = Table(
    "account_event",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("prefix", String(64), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("who", String(320), nullable=False),
    Column("action", String(32), nullable=False),
    Column("name", String(320), nullable=False),
    Column("detail", Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """Something done to an account: by whom, when, what."""

    prefix: str
    at: int
    who: str
    action: str
    name: str
    detail: str = ""


def find(connection: Connection, name: str) -> Account | None:
    """Return the account of that normal name with all its roles."""
    found = find_with_secret(connection, name)
    return found[0] if found else None


def find_with_secret(connection: Connection, name: str) -> tuple[Account, str] | None:
    """Return the account and the one-way text of its secret."""
    row = connection.execute(select(_account).where(_account.c.name == name)).one_or_none()
    if row is None:
        return None
    return _from_row(row, _grants(connection, [name])), row.secret


def at_prefix(connection: Connection, prefix: Prefix) -> list[Account]:
    """Return the accounts at home at `prefix`, and those from elsewhere with a role there, by name."""
    guests = select(_grant.c.name).where(_grant.c.prefix == prefix.key)
    rows = connection.execute(
        select(_account)
        .where(or_(_account.c.prefix == prefix.key, _account.c.name.in_(guests)))
        .order_by(_account.c.name)
    ).all()
    grants = _grants(connection, [row.name for row in rows])
    return [_from_row(row, grants) for row in rows]


def add(connection: Connection, account: Account, secret: str) -> None:
    """Store a new account with its roles."""
    connection.execute(
        insert(_account).values(
            name=account.name,
            prefix=account.prefix.key,
            kind=account.kind.value,
            secret=secret,
            enabled=account.enabled,
            version=account.version,
            created=account.created,
        )
    )
    set_roles(connection, account.name, account.grants)


def change(
    connection: Connection, name: str, *, enabled: bool | None = None, secret: str | None = None
) -> None:
    """Change state or secret; raises the version in any case, so that tokens and caches are cut."""
    values: dict[str, object] = {"version": _account.c.version + 1}
    if enabled is not None:
        values["enabled"] = enabled
    if secret is not None:
        values["secret"] = secret
    connection.execute(update(_account).where(_account.c.name == name).values(**values))


def set_roles(
    connection: Connection, name: str, grants: Iterable[Grant], *, prefix: Prefix | None = None
) -> None:
    """Replace the roles of an account, all of them or those at one prefix."""
    old = delete(_grant).where(_grant.c.name == name)
    if prefix is not None:
        old = old.where(_grant.c.prefix == prefix.key)
    connection.execute(old)
    rows = [{"name": name, "prefix": grant.prefix.key, "role": grant.role.value} for grant in grants]
    if rows:
        connection.execute(insert(_grant), rows)


def add_event(connection: Connection, event: AccountEvent) -> None:
    """Note what was done."""
    connection.execute(
        insert(_event).values(
            prefix=event.prefix,
            at=event.at,
            who=event.who,
            action=event.action,
            name=event.name,
            detail=event.detail,
        )
    )


def events(connection: Connection, prefix: Prefix, limit: int) -> list[AccountEvent]:
    """Return the latest events at a prefix, newest first."""
    columns = (_event.c.prefix, _event.c.at, _event.c.who, _event.c.action, _event.c.name, _event.c.detail)
    rows = connection.execute(
        select(*columns).where(_event.c.prefix == prefix.key).order_by(_event.c.id.desc()).limit(limit)
    )
    return [AccountEvent(*row) for row in rows]


def _grants(connection: Connection, names: list[str]) -> dict[str, set[Grant]]:
    found: dict[str, set[Grant]] = {}
    for row in connection.execute(select(_grant).where(_grant.c.name.in_(names))):
        found.setdefault(row.name, set()).add(Grant(Prefix(row.prefix), Role(row.role)))
    return found


def _from_row(row: object, grants: dict[str, set[Grant]]) -> Account:
    values = row._mapping  # type: ignore[attr-defined]  # noqa: SLF001 — SQLAlchemy's documented accessor
    return Account(
        name=values["name"],
        prefix=Prefix(values["prefix"]),
        kind=AccountKind(values["kind"]),
        enabled=values["enabled"],
        version=values["version"],
        created=values["created"],
        grants=frozenset(grants.get(values["name"], ())),
    )
