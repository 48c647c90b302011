"""Who stands directly below a prefix of this node."""

from registry.delegation import DelegationState, HomeState
from registry.identifier import Prefix
from registry.prefixes.homes import Homes

__all__ = ["Below"]


class Below:
    """Implements `federation.queries.ports.Children` over the picture of the homed prefixes."""

    def __init__(self, homes: Homes) -> None:
        self._homes = homes

    def of(self, prefix: Prefix) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...]]:
        """Return the active children hosted here, and those that have nodes of their own."""
        hosted, delegated = [], []
        for made in self._homes.delegations():
            if made.parent != prefix or made.state is not DelegationState.ACTIVE:
                continue
            home = self._homes.home(made.prefix)
            if home is not None and home.state is HomeState.ACTIVE:
                hosted.append(made.prefix)
            elif home is None or home.state is HomeState.CLOSED:
                delegated.append(made.prefix)
        return tuple(hosted), tuple(delegated)
