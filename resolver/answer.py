"""The question and the answer of resolution."""

from dataclasses import dataclass, replace
from enum import Enum

from registry.errors import HazlinkError
from registry.identifier import Prefix
from registry.record import Record, Tombstone

__all__ = ["Answer", "Outcome", "Proof", "Query", "Referral", "Source"]


class Outcome(Enum):
    """What came of it; the numbers are those of `hazlink.resolver.v1.Outcome`."""

    FOUND = 1
    WITHDRAWN = 2
    DELETED = 3
    NOT_FOUND = 4
    REFERRAL = 5
    FAILED = 6


class Source(Enum):
    """How fresh it is; the numbers are those of `hazlink.resolver.v1.Source`."""

    AUTHORITATIVE = 1
    CACHED = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked.

    Attributes:
        identifier: in the asker's spelling; parsed by the resolver.
        indexes: only these values; empty with `types` empty: all.
        types: only values of these types (`URL.` also matches `URL.*`); united with `indexes`.
        authoritative: ask the owner, not a cache.
        recurse: walk the tiers; otherwise answer with a referral.
        with_chain: put the whole chain into the proof.
        hops: tiers already passed; refused at 10.
    """

    identifier: str
    indexes: frozenset[int] = frozenset()
    types: tuple[str, ...] = ()
    authoritative: bool = False
    recurse: bool = True
    with_chain: bool = False
    hops: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """What vouches for a record: its own signatures and the chain of delegations.

    Attributes:
        public_jws: compact JWS over the digests of the public values.
        restricted_jws: compact JWS over salted digests, when a value that is not public is shown.
        chain_sha256: base64url SHA-256 of the chain's statements joined by LF, leaf first.
        chain: the statements, leaf first; empty unless asked for.
        issuer: the prefix whose key signed.
    """

    public_jws: str
    restricted_jws: str | None
    chain_sha256: str
    chain: tuple[str, ...]
    issuer: Prefix


@dataclass(frozen=True, slots=True)
class Referral:
    """The delegated prefix nearer to the identifier, and its chain (leaf first)."""

    prefix: Prefix
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered.

    Attributes:
        asked: the identifier exactly as it was asked.
        record: with the values that were asked for and may be seen; its tombstone explains WITHDRAWN and DELETED.
        withheld: indexes that exist and are not shown to this asker.
        age: seconds since the answer left the node that homes the prefix (0 when authoritative).
        ttl: seconds it may still be kept.
        error: why it FAILED; never set otherwise.
    """

    asked: str
    outcome: Outcome
    source: Source = Source.AUTHORITATIVE
    age: int = 0
    ttl: int = 0
    record: Record | None = None
    withheld: tuple[int, ...] = ()
    proof: Proof | None = None
    referral: Referral | None = None
    error: HazlinkError | None = None

    @property
    def tombstone(self) -> Tombstone | None:
        """Why the record is withdrawn or deleted."""
        return self.record.tombstone if self.record else None

    def asked_as(self, spelling: str) -> "Answer":
        """Return the same answer for another spelling of the same identifier."""
        return self if spelling == self.asked else replace(self, asked=spelling)
