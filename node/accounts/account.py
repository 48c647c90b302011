"""An account: a person or a system, at home at one prefix, with roles at prefixes.

A person is called `name@prefix` (`zhang.san@88.107`), a system `name@prefix` or by a Handle value reference
(`300:0.NA/88.107`), which is the pair Handle clients send by Basic. Names are compared with ASCII letters folded:
lower case before the `@`, upper case in identifiers.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from registry.errors import MalformedError
from registry.identifier import Prefix, ValueReference
from registry.principal import Grant, Principal

__all__ = ["Account", "AccountKind", "handle_pair", "home_of", "normal_name"]

_LOCAL = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


class AccountKind(StrEnum):
    """Who is behind it; decides what kind of secret it has."""

    PERSON = "person"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Account:
    """One account, without its secret.

    Attributes:
        name: normal form; see the module.
        prefix: where it is at home; the admins of that prefix manage it.
        version: grows with every change of state, roles or secret; a token carries it.
    """

    name: str
    prefix: Prefix
    kind: AccountKind
    enabled: bool
    version: int
    created: int
    grants: frozenset[Grant] = frozenset()

    def principal(self) -> Principal:
        """Return whom it stands for."""
        handle = self.name if "@" not in self.name else None
        return Principal(name=self.name, grants=self.grants, handle=handle)

    def seen_from(self, prefix: Prefix) -> "Account":
        """Return it as the admins of `prefix` see it: with the roles at that prefix only."""
        own = frozenset(grant for grant in self.grants if grant.prefix == prefix)
        return Account(self.name, self.prefix, self.kind, self.enabled, self.version, self.created, own)


def handle_pair(prefix: Prefix) -> str:
    """Return the name of the Handle pair of a prefix, `300:0.NA/<prefix>`."""
    return f"300:0.NA/{prefix.key}"


def normal_name(spelling: str, *, field: str | None = None) -> str:
    """Return the normal form of an account's name.

    Raises:
        MalformedError: neither `name@prefix` nor `index:handle`.
    """
    local, at, prefix = spelling.rpartition("@")
    if at:
        folded = local.lower()
        if not _LOCAL.fullmatch(folded):
            raise MalformedError("node.accounts.name", field=field, value=spelling)
        return f"{folded}@{Prefix.parse(prefix, field=field).key}"
    if ":" not in spelling:
        raise MalformedError("node.accounts.name", field=field, value=spelling)
    reference = ValueReference.parse(spelling, field=field)
    return f"{reference.index}:{reference.handle.key}"


def home_of(name: str) -> Prefix:
    """Return the prefix at which an account of that (normal) name is at home."""
    _, at, prefix = name.rpartition("@")
    if at:
        return Prefix(prefix)
    handle = ValueReference.parse(name).handle
    return handle.named_prefix or handle.prefix
