"""What a statement lets its subject do, and when one grant lies inside another.

The words are those of HS_CERT (facts on federation, (a)), with the operations added:

- `thisHandle` at `0.NA/P` covers that record and `P/*`;
- `handlesUnderThisPrefix` covers `P/*` alone;
- `derivedPrefixes` covers `0.NA/P.*` and the handles under those, not P itself;
- `everything` belongs to the root and never stands in a statement.

Prefixes are compared label by label, so a right over 88.1 says nothing about 88.10.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from registry.identifier import Identifier, Prefix

__all__ = ["OPERATIONS", "Permission", "Right", "covering", "full_rights", "granted"]

#: The operations there are: one for each stream of the exchange that needs a right of its own.
OPERATIONS = ("register", "flow", "alarm", "catalogue", "report", "query")


class Permission(Enum):
    """Which names a right covers."""

    THIS_HANDLE = "thisHandle"
    HANDLES_UNDER = "handlesUnderThisPrefix"
    DERIVED_PREFIXES = "derivedPrefixes"


@dataclass(frozen=True, slots=True)
class Right:
    """One grant: the prefix it is about, the names it covers there, and the operations it allows on them."""

    prefix: Prefix
    permission: Permission
    operations: frozenset[str] = frozenset(OPERATIONS)

    def covers(self, identifier: Identifier) -> bool:
        """Say whether `identifier` is among the names this right is about."""
        named = identifier.named_prefix
        about = named or identifier.prefix
        if self.permission is Permission.DERIVED_PREFIXES:
            return about != self.prefix and self.prefix.contains(about)
        if about != self.prefix:
            return False
        return named is None or self.permission is Permission.THIS_HANDLE

    def includes(self, other: "Right") -> bool:
        """Say whether every name `other` covers is covered here; the operations are compared by `granted`."""
        if self.permission is Permission.DERIVED_PREFIXES:
            if not self.prefix.contains(other.prefix):
                return False
            return other.permission is Permission.DERIVED_PREFIXES or other.prefix != self.prefix
        if other.prefix != self.prefix or other.permission is Permission.DERIVED_PREFIXES:
            return False
        return self.permission is Permission.THIS_HANDLE or other.permission is Permission.HANDLES_UNDER


def full_rights(prefix: Prefix, operations: Iterable[str] = OPERATIONS) -> tuple[Right, ...]:
    """Return the rights over a prefix and all that may be derived from it."""
    allowed = frozenset(operations)
    return (
        Right(prefix, Permission.THIS_HANDLE, allowed),
        Right(prefix, Permission.DERIVED_PREFIXES, allowed),
    )


def granted(right: Right, held: Iterable[Right]) -> bool:
    """Say whether `held` contains all of `right`: its names, and each of its operations on them."""
    around = [one for one in held if one.includes(right)]
    return bool(around) and all(
        any(operation in one.operations for one in around) for operation in right.operations
    )


def covering(identifier: Identifier, operation: str, held: Iterable[Right]) -> bool:
    """Say whether `held` allows `operation` on `identifier`."""
    return any(operation in one.operations and one.covers(identifier) for one in held)
