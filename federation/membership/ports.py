"""What membership needs of the superior's node, and of this node's own lanes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from registry.identifier import Prefix
from registry.prefixes.joindesk import Application, Standing
from registry.trust.revocation import LastGood
from resolver.ports import Endpoint

__all__ = ["Lanes", "SuperiorNode", "Superiors"]


class SuperiorNode(Protocol):
    """One superior, asked over HTTPS.

    Consistency: none promised, every answer is verified by the caller. Durability: a request that was answered is
    kept by the superior. Concurrency: any number of tasks. Errors: UnavailableError for whatever may pass; the
    superior's own refusal as the kind of error it stated, with its text in both languages; UntrustedError when the
    certificate is not the pinned one or the address is forbidden; MalformedError for an unreadable answer.
    """

    async def challenge(self) -> str:
        """Get a nonce, good once."""
        ...

    async def join(self, application: Application) -> Standing:
        """Ask for a prefix."""
        ...

    async def standing(self, ticket: str) -> Standing:
        """See how a request stands."""
        ...

    async def renew(self, amendment: str) -> Standing:
        """Renew a delegation, or change its endpoints or key."""
        ...

    async def delegation(self, prefix: Prefix) -> Standing:
        """Return the newest delegation of a prefix, which is public."""
        ...


class Superiors(Protocol):
    """Gives the superior behind some addresses, which are tried in order."""

    def at(self, endpoints: Sequence[Endpoint]) -> SuperiorNode:
        """Return the node; nothing is connected yet."""
        ...


class Lanes(Protocol):
    """What this node signed on its streams; `federation.exchange.rotating.SignedLanes` is one.

    Consistency: once a rotation is remembered nothing more is signed with the old key, so what is returned after that
    stays true. Concurrency: any number of threads. Errors: UnavailableError when the database does not answer.
    """

    def last_signed(self, prefix: Prefix) -> Mapping[str, LastGood]:
        """Return stream → the last position that a prefix signed, over all its lanes of the stream."""
        ...
