"""What this room needs of the rooms beside it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from federation.exchange.envelope import Draft
from registry.delegation import Delegation, Home, HomeState
from registry.identifier import Prefix

__all__ = ["HomedPrefixes", "Post", "reporting"]


class HomedPrefixes(Protocol):
    """Which prefixes this node speaks for; `registry.prefixes.homes.Homes` is one.

    Consistency: as of the last change of the homed prefixes. Concurrency: any number of threads; nothing blocks.
    Errors: none.
    """

    def all(self) -> Sequence[Home]:
        """Return every homed or asked-for prefix."""
        ...

    def delegations(self) -> Sequence[Delegation]:
        """Return every delegation made here."""
        ...

    def home_of(self, prefix: Prefix) -> Prefix | None:
        """Return the homed prefix that answers for `prefix`."""
        ...

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for the key of `prefix`, leaf first."""
        ...


class Post(Protocol):
    """Takes what is to be sent, inside a business transaction; `federation.exchange.outbox.Outbox` is one.

    Consistency: as the transaction. Durability: kept when it commits. Concurrency: any number of threads. Errors:
    InvalidValueError, LimitError, MalformedError for what no envelope could carry.
    """

    def append(self, connection: Any, draft: Draft) -> int:
        """Store one draft; return its position."""
        ...


def reporting(homes: HomedPrefixes) -> Mapping[str, tuple[Prefix, Prefix]]:
    """Return the homed prefixes that can sign for a superior: folded key → prefix and superior."""
    found: dict[str, tuple[Prefix, Prefix]] = {}
    for home in homes.all():
        parent = home.prefix.parent
        if home.state is HomeState.ACTIVE and parent is not None and homes.chain(home.prefix):
            found[home.prefix.key] = (home.prefix, parent)
    return dict(sorted(found.items()))
