"""What resolution needs from elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.identifier import Identifier, Prefix
from registry.record import Record
from registry.results import Change
from resolver.answer import Answer, Query

__all__ = ["Authority", "Change", "Endpoint", "Peer", "SharedCache"]


class Authority(Protocol):
    """The records and delegations this node holds itself; implemented over the registry.

    Consistency: a call sees every write committed before it began. Durability: reads only. Concurrency: any number
    of threads; calls block on the database and run in the bounded pool, but for `homes`, `owner`, `chain`, `chain_of`
    and `delegation`, which answer from memory. Errors: UnavailableError when the database cannot be read.
    """

    def homes(self, identifier: Identifier) -> bool:
        """Say whether this node holds the truth (or its own signed copy, for its `0.NA/<prefix>`) about it."""
        ...

    def is_copy(self, identifier: Identifier) -> bool:
        """Say whether `homes` is true only for the sake of a copy, whose absence therefore says nothing."""
        ...

    def owner(self, identifier: Identifier) -> Prefix:
        """Return the prefix at which a role lets somebody read everything of a homed identifier."""
        ...

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        """Return the records, whole and unfiltered, in the order asked; None where there never was one."""
        ...

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for `prefix`'s keys, leaf first; empty when it is not delegated yet."""
        ...

    def chain_of(self, record: Record) -> tuple[str, ...]:
        """Return the statements that vouch for the key that signed `record`, leaf first."""
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


class SharedCache(Protocol):
    """Other nodes' verified answers, shared by the instances of this node; a convenience, never a truth.

    Consistency: none; what comes out of it is verified again by the caller. Durability: none. Concurrency: any number
    of tasks of one event loop. Errors: none: an unreachable store shares nothing and says so in the log.
    """

    async def get_many(self, keys: Sequence[str]) -> list[Answer | None]:
        """Return what is shared under match keys, with the age it has now."""
        ...

    async def put_many(self, answers: Sequence[tuple[str, Answer]]) -> None:
        """Share verified answers, each for as long as its `ttl` says."""
        ...

    async def announce(self, key: str, version: int) -> None:
        """Tell the other instances that the record under `key` has come to `version`."""
        ...

    async def wake(self) -> None:
        """Tell the other instances that the registry changed."""
        ...

    async def listen(self, on_key: Callable[[str, int], None], on_wake: Callable[[], None]) -> None:
        """Hear the other instances, until cancelled."""
        ...
