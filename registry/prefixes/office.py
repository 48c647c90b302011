"""What the services of this room share: the tables, the picture in memory, the keys, the clock, the publisher."""

from collections.abc import Mapping
from dataclasses import dataclass

from registry.clock import Clock
from registry.delegation import Delegation, Home, HomeState
from registry.errors import NotFoundError, NotResponsibleError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes, Keys
from registry.prefixes.invitations import Invitations
from registry.prefixes.issuing import Issuer, Terms
from registry.prefixes.publishing import Publisher, Records
from registry.storage.prefixes import PrefixStore, PrefixUnit
from registry.trust.chain import Marks
from registry.trust.statement import ROOT_NAME

__all__ = ["Office"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Collaborators of the services; made once by `Prefixes`."""

    store: PrefixStore
    homes: Homes
    keys: Keys
    clock: Clock
    terms: Terms
    records: Records
    marks: Marks
    invitations: Invitations
    issuer: Issuer
    publisher: Publisher

    def now(self) -> int:
        """Return POSIX seconds."""
        return int(self.clock.now())

    def settle(self) -> None:
        """After a commit: take the new picture into memory and publish what waits."""
        self.homes.refresh()
        self.publisher.publish()

    def note(
        self,
        unit: PrefixUnit,
        prefix: Prefix,
        who: str,
        action: str,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Append to the trail of a prefix."""
        unit.add_audit(prefix, at=self.now(), who=who, action=action, detail=detail or {})

    def homed(self, unit: PrefixUnit, prefix: Prefix) -> Home:
        """Return the home of exactly this prefix.

        Raises:
            NotResponsibleError: it is not homed here.
        """
        home = unit.home(prefix)
        if home is None or home.state is HomeState.CLOSED:
            raise NotResponsibleError("registry.prefixes.not_homed", field="prefix", prefix=prefix.key)
        return home

    def lists(self, unit: PrefixUnit, prefix: Prefix) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the revocation lists of everybody above a prefix, and the lists of keys of it and those above."""
        tiers = tuple(prefix.ancestors())
        issuers = (*(above.key for above in tiers if above != prefix), ROOT_NAME)
        revocations = (unit.trust.revocation(name) for name in issuers)
        histories = (unit.trust.key_list(tier) for tier in tiers)
        return (
            tuple(found[2] for found in revocations if found),
            tuple(found[2] for found in histories if found),
        )

    def delegated(self, unit: PrefixUnit, prefix: Prefix) -> Delegation:
        """Return the delegation of exactly this prefix.

        Raises:
            NotFoundError: it was not delegated here.
        """
        made = unit.delegation(prefix)
        if made is None:
            raise NotFoundError("registry.prefixes.not_delegated", field="prefix", prefix=prefix.key)
        return made
