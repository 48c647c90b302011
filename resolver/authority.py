"""The authority over the registry: its records, and the picture of homed and delegated prefixes."""

from collections.abc import Sequence
from typing import Protocol

from registry.identifier import Identifier, Prefix
from registry.record import Record
from resolver.ports import Change

__all__ = ["HomedPrefixes", "RecordBook", "RegistryAuthority"]


class RecordBook(Protocol):
    """What is read of `registry.service.Registry`; see there for the contract."""

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        """Return records whole and unfiltered, in the order asked."""
        ...

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        """Return the changes after a position, oldest first."""
        ...

    def last_change(self) -> int:
        """Return the newest position."""
        ...


class HomedPrefixes(Protocol):
    """What is read of `registry.prefixes.homes.Homes`; see there for the contract."""

    def homes(self, prefix: Prefix) -> bool:
        """Say whether identifiers of `prefix` are homed here."""
        ...

    def home_of(self, prefix: Prefix) -> Prefix | None:
        """Return the homed prefix that answers for `prefix`."""
        ...

    def holds(self, identifier: Identifier) -> bool:
        """Say whether the record of `identifier`, or its own copy, is kept here."""
        ...

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is homed here."""
        ...

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for the key of `prefix`."""
        ...

    def chain_for(self, identifier: Identifier) -> tuple[str, ...]:
        """Return the statements that vouch for the record of `identifier`."""
        ...

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the chain of the deepest delegation to another node that contains `prefix`."""
        ...


class RegistryAuthority:
    """`resolver.ports.Authority` over the registry."""

    def __init__(self, *, registry: RecordBook, homes: HomedPrefixes) -> None:
        self._registry = registry
        self._homes = homes
        self.records = registry.records
        self.changes = registry.changes
        self.last_change = registry.last_change
        self.homes = homes.holds
        self.chain = homes.chain
        self.delegation = homes.delegation

    def is_copy(self, identifier: Identifier) -> bool:
        """Say whether only a copy of the record is kept here: the truth is one tier up."""
        return not self._homes.homes(identifier.authority)

    def owner(self, identifier: Identifier) -> Prefix:
        """Return the homed prefix at which roles count for `identifier`."""
        return self._homes.home_of(identifier.authority) or identifier.authority

    def chain_of(self, record: Record) -> tuple[str, ...]:
        """Return the statements that vouch for the key that signed `record`, leaf first."""
        if record.signature is not None:
            issuer = Prefix(record.signature.issuer)
            if self._homes.answers_for(issuer):
                return self._homes.chain(issuer)
        return self._homes.chain_for(record.identifier)
