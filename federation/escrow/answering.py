"""Which prefixes the resolver answers for while some are taken over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from registry.identifier import Identifier, Prefix

__all__ = ["Delegated", "TakenOver", "TakingOver"]


class Delegated(Protocol):
    """Which prefixes this node answers for or refers to; `registry.prefixes.homes.Homes` is one. See there."""

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


class TakingOver(Protocol):
    """Knows what is taken over; `federation.escrow.takeover.Takeovers` is one."""

    @property
    def active(self) -> Mapping[str, Mapping[str, str]]:
        """The prefixes taken over now: folded key → what each had delegated: folded key → statement."""
        ...


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The picture of the homed prefixes with what is taken over added: what the resolver looks at.

    Attributes:
        own: the picture of what is homed here.
        takeovers: what is taken over.
    """

    own: Delegated = field(repr=False)
    takeovers: TakingOver = field(repr=False)

    def homes(self, prefix: Prefix) -> bool:
        """Say whether this node answers for identifiers of `prefix`."""
        return self.own.homes(prefix) or self._taken(prefix) is not None

    def home_of(self, prefix: Prefix) -> Prefix | None:
        """Return the prefix that answers for `prefix` here."""
        return self.own.home_of(prefix) or self._taken(prefix)

    def holds(self, identifier: Identifier) -> bool:
        """Say whether this node answers for an identifier."""
        return self.own.holds(identifier) or self._taken(identifier.authority) is not None

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is answered for here."""
        return self.own.answers_for(prefix) or self._taken(prefix) == prefix

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for the key of `prefix`."""
        taken = self._taken(prefix)
        return self.own.delegation(taken) if taken is not None else self.own.chain(prefix)

    def chain_for(self, identifier: Identifier) -> tuple[str, ...]:
        """Return the statements that vouch for the record of `identifier`."""
        taken = self._taken(identifier.authority)
        return self.own.delegation(taken) if taken is not None else self.own.chain_for(identifier)

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the chain of the deepest delegation to another node that contains `prefix`."""
        if self._taken(prefix) is not None:
            return ()
        active = self.takeovers.active
        for above in prefix.ancestors():
            below = active.get(above.key)
            if below is None:
                continue
            deepest = next((one for one in prefix.ancestors() if one.key in below), None)
            if deepest is not None:
                return (below[deepest.key], *self.own.delegation(above))
        return self.own.delegation(prefix)

    def _taken(self, prefix: Prefix) -> Prefix | None:
        """Return the prefix taken over that answers for `prefix`, stopping at what it had delegated."""
        active = self.takeovers.active
        if not active or self.own.homes(prefix):
            return None
        for above in prefix.ancestors():
            if above.key in active:
                return above
            if any(above.key in below for below in active.values()):
                return None
        return None
