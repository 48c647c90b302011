"""What the registry needs from the rooms beside it."""

from collections.abc import Mapping
from typing import Protocol

from registry.identifier import Identifier, Prefix
from registry.record import Draft
from registry.trust.keys import Signer
from registry.value import Value

__all__ = ["Signers", "Templates"]


class Signers(Protocol):
    """The keys of the prefixes this node homes.

    Consistency: as of the last change of the homed prefixes. Durability: none asked. Concurrency: any number of
    threads, never blocking on the database. Errors: as said at each method.
    """

    def homes(self, prefix: Prefix) -> bool:
        """Say whether records of `prefix` belong here."""
        ...

    def home_of(self, prefix: Prefix) -> Prefix | None:
        """Return the homed prefix to which records of `prefix` belong, whatever its state; there roles count."""
        ...

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        """Return the key that signs records of `prefix`, and the homed prefix it belongs to.

        Raises:
            NotResponsibleError: the prefix is not homed here.
            ForbiddenError: it is suspended, revoked or closing.
            UnavailableError: the key cannot be loaded.
        """
        ...


class Templates(Protocol):
    """The templates of all kinds. Immutable; any number of threads."""

    def kinds(self) -> tuple[str, ...]:
        """Return every kind."""
        ...

    def indexed(self, kind: str) -> frozenset[str]:
        """Return the types that search finds for this kind; `*`: every type but those of the Handle system."""
        ...

    def searchable(self, value_type: str) -> bool:
        """Say whether the search table holds every value of this type, whatever the kind."""
        ...

    def apply(self, draft: Draft, identifier: Identifier) -> tuple[str, tuple[Value, ...]]:
        """Check a draft and return its kind and values, ascending by index.

        Raises:
            InvalidValueError: it breaks its template; `field` says where.
            LimitError: too many fields.
        """
        ...

    def values_of(
        self, kind: str, fields: Mapping[str, str], *, version: int | None = None
    ) -> tuple[Value, ...]:
        """Return the values that plain fields of a kind stand for.

        Raises:
            InvalidValueError: an unknown kind, version or field.
        """
        ...
