"""Who is asking, what they may do, and which values they may see. Everyone is denied by default.

A principal holds grants: a role at exactly one prefix. A role at 88.107 gives nothing at 88.107.1003: a park's
operator approves and suspends a hosted enterprise by the role at 88.107, and reads of it what is public.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from registry.errors import ForbiddenError, UnauthenticatedError
from registry.identifier import Prefix
from registry.value import Scope, Value

__all__ = ["ANONYMOUS", "OPERATIONS", "Grant", "Operation", "Principal", "Role", "visible"]


class Role(StrEnum):
    """What somebody is, at one prefix."""

    READER = "reader"  # reads everything of the prefix, its lists and searches
    EDITOR = "editor"  # also registers, changes and withdraws
    AUDITOR = "auditor"  # reads everything, and the audit trail
    OPERATOR = "operator"  # also invites, approves, suspends and revokes subordinates
    ADMIN = "admin"  # also manages people, systems, templates and keys of the prefix
    NODE = "node"  # another node of the federation, proven by its chain


class Operation(StrEnum):
    """What can be asked of a node beyond public reading."""

    RECORD_READ = "record.read"
    RECORD_LIST = "record.list"
    RECORD_WRITE = "record.write"
    AUDIT_READ = "audit.read"
    PREFIX_DELEGATE = "prefix.delegate"
    ACCOUNT_MANAGE = "account.manage"
    NODE_OBSERVE = "node.observe"
    SESSION = "session"  # whoever is logged in, about themselves


_READ = frozenset({Operation.RECORD_READ, Operation.RECORD_LIST, Operation.SESSION})

#: role → what it may do at its prefix.
OPERATIONS: dict[Role, frozenset[Operation]] = {
    Role.READER: _READ,
    Role.EDITOR: _READ | {Operation.RECORD_WRITE},
    Role.AUDITOR: _READ | {Operation.AUDIT_READ, Operation.NODE_OBSERVE},
    Role.OPERATOR: _READ
    | {Operation.RECORD_WRITE, Operation.AUDIT_READ, Operation.PREFIX_DELEGATE, Operation.NODE_OBSERVE},
    Role.ADMIN: frozenset(Operation),
    Role.NODE: frozenset({Operation.SESSION}),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One role at one prefix."""

    prefix: Prefix
    role: Role


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks.

    Attributes:
        name: how the audit trail calls them (`zhang.san@88.107`, `300:0.NA/88.107`, `node:88.107`).
        grants: roles at prefixes; empty for the anonymous public.
        handle: for Handle clients the value reference they authenticated as.
    """

    name: str
    grants: frozenset[Grant] = frozenset()
    handle: str | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody has proven who they are."""
        return not self.grants

    @property
    def prefixes(self) -> frozenset[str]:
        """The folded keys of every prefix this principal belongs to."""
        return frozenset(grant.prefix.key for grant in self.grants)

    def may(self, operation: Operation, prefix: Prefix | None = None) -> bool:
        """Say whether the operation is allowed at `prefix` (None: at any prefix at all)."""
        return any(
            operation in OPERATIONS[grant.role] and (prefix is None or grant.prefix == prefix)
            for grant in self.grants
        )

    def require(self, operation: Operation, prefix: Prefix | None = None) -> None:
        """Refuse unless the operation is allowed.

        Raises:
            UnauthenticatedError: the principal is anonymous.
            ForbiddenError: it is known, and may not.
        """
        if self.may(operation, prefix):
            return
        where = prefix.key if prefix else "*"
        if self.is_anonymous:
            raise UnauthenticatedError(
                "registry.access.login_needed", operation=operation.value, prefix=where
            )
        raise ForbiddenError(
            "registry.access.forbidden", operation=operation.value, prefix=where, who=self.name
        )


ANONYMOUS = Principal(name="anonymous")


def visible(values: Iterable[Value], principal: Principal, owner: Prefix) -> tuple[Value, ...]:
    """Return the values of a record of `owner` that `principal` may see, in their order."""
    if principal.is_anonymous:
        return tuple(v for v in values if v.visibility.is_public)
    if principal.may(Operation.RECORD_READ, owner):
        return tuple(values)
    mine = principal.prefixes
    return tuple(
        v
        for v in values
        if v.visibility.scope <= Scope.FEDERATION
        or (v.visibility.scope is Scope.PREFIXES and not mine.isdisjoint(v.visibility.prefixes))
    )
