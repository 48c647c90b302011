"""What resolution needs from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.identifier import Identifier, Prefix
from registry.record import Record
from resolver.answer import Answer, Query

__all__ = ["Authority", "Change", "Endpoint", "Peer"]


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of the registry.

    Attributes:
        position: gapless, growing; the place in the change table.
        identifier: match key of the changed record.
        version: its version after the change.
        status: `registry.record.Status` after the change, as a number.
        at: POSIX seconds.
    """

    position: int
    identifier: str
    version: int
    status: int
    at: int


class Authority(Protocol):
    """The records and delegations this node holds itself; implemented over the registry.

    Consistency: a call sees every write committed before it began. Durability: reads only. Concurrency: any number
    of threads; calls block on the database and run in the bounded pool, but for `homes`, `chain` and `delegation`,
    which answer from memory. Errors: UnavailableError when the database cannot be read.
    """

    def homes(self, identifier: Identifier) -> bool:
        """Say whether this node holds the truth (or its own signed copy, for its `0.NA/<prefix>`) about it."""
        ...

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        """Return the records, whole and unfiltered, in the order asked; None where there never was one."""
        ...

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for `prefix`'s keys, leaf first; empty when it is not delegated yet."""
        ...

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the chain, leaf first, of the deepest delegation made here that contains `prefix`; or nothing."""
        ...

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        """Return the changes after position `after`, oldest first."""
        ...

    def last_change(self) -> int:
        """Return the newest position."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a verified delegation says a prefix is served.

    Attributes:
        url: base URL, `https://…` (plain `http` only on loopback and only when the settings allow it).
        tls_sha256: base64url SHA-256 of the certificate (`x5t#S256`), or None to rely on the certificate store.
    """

    url: str
    tls_sha256: str | None = None


class Peer(Protocol):
    """Another node, asked over HTTPS.

    Consistency: none promised; every answer is verified by the caller. Durability: none. Concurrency: any number of
    tasks. Errors: UnavailableError for everything that may pass (refused, timed out, 429, 5xx), UntrustedError when
    the certificate is not the pinned one or the address is forbidden, MalformedError for an unreadable reply.
    """

    async def ask(self, endpoint: Endpoint, queries: Sequence[Query]) -> list[Answer]:
        """Ask without recursion; one unverified answer for each query, in order."""
        ...
