"""From what another node says to what may be believed.

Rules (DESIGN 1, 2, 5; facts on federation, (a)):

- a chain is verified from the pinned root; one that held is remembered and used again while it has not expired and no
  newer statement about any prefix in it was seen;
- a node may show its chain with an older statement of a tier above, which was renewed meanwhile: the newer one, by
  which the walk came there, takes its place;
- what was verified stays good under a renewed delegation, but not under one that took back a key or a right;
- a suspended or revoked prefix is neither walked to nor believed;
- an answer is signed by the prefix of the zone that was asked, or by one below: never by one above it;
- the record covers the question, its frame says what was signed, and no public value is left out: it was asked whole;
- values that are not public are not taken from another node;
- "not found" cannot be signed: it is believed from an endpoint of the zone alone, over its authenticated connection,
  and only when no record was ever seen there (`resolver.cache` holds it against the high-water mark).

Verifying blocks (signatures, the marks' storage) and runs in the thread pool; the memory has a lock of its own.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from registry.clock import Clock
from registry.errors import HazlinkError, InternalError, MalformedError, UnavailableError, UntrustedError
from registry.identifier import Identifier, Prefix
from registry.record import Record, Status
from registry.trust.chain import Marks, VerifiedChain, verify_chain
from registry.trust.record_signature import verify_record
from registry.trust.root import Anchor
from registry.trust.statement import Statement, read
from resolver.answer import Answer, Outcome, Proof, Source
from resolver.paths import Paths
from resolver.ports import Endpoint
from resolver.shaping import OUTCOME_OF
from resolver.walk import Zone

__all__ = ["Found", "Missing", "Referred", "Trust", "Verdict", "subject_of"]


@dataclass(frozen=True, slots=True)
class Found:
    """A record that verified, with its public values."""

    record: Record
    withheld: tuple[int, ...]
    proof: Proof
    chain: VerifiedChain
    authoritative: bool
    age: int
    ttl: int


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such record, said by whom it would belong to."""

    ttl: int


@dataclass(frozen=True, slots=True)
class Referred:
    """A verified delegation nearer to the identifier."""

    chain: VerifiedChain


Verdict: TypeAlias = Found | Missing | Referred | HazlinkError


class Trust:
    """Verifies, and remembers what held.

    Args:
        marks: where the newest versions of statements are kept.
        clock: the clock.
        anchor: the pinned root; None until the node has joined.
        top: the configured endpoints of the top tier.
        delegation_seconds: how long a delegation is used before the tier above is asked again.
        most: chains that are remembered.
    """

    def __init__(
        self,
        *,
        marks: Marks,
        clock: Clock,
        anchor: Anchor | None,
        top: Sequence[Endpoint],
        delegation_seconds: float,
        most: int,
    ) -> None:
        self._marks = marks
        self._clock = clock
        self._anchor = anchor
        self._top = tuple(top)
        self._most = most
        self._lock = threading.Lock()
        self._chains: OrderedDict[tuple[str, ...], VerifiedChain] = OrderedDict()
        self._paths = Paths(clock=clock, delegation_seconds=delegation_seconds, most=most)
        self._newest: dict[str, Statement] = {}
        #: Grows when a newer statement is seen than one that was used before.
        self.generation = 0

    def use(self, anchor: Anchor, top: Sequence[Endpoint]) -> None:
        """Take another pinned root or other endpoints of the top tier; what was remembered is forgotten."""
        with self._lock:
            self._anchor = anchor
            self._top = tuple(top)
            self._chains.clear()
        self._paths.clear()

    def chain(self, tokens: Sequence[str]) -> VerifiedChain:
        """Verify a chain, leaf first, or remember that it held.

        Raises:
            UntrustedError: it does not hold.
            UnavailableError: a mark cannot be stored, or no root is pinned yet.
        """
        key = tuple(tokens)
        now = self._clock.now()
        with self._lock:
            known = self._chains.get(key)
            if known is not None and self._is_newest(known):
                self._chains.move_to_end(key)
            else:
                known = None
        if known is not None:
            known.require_fresh(now)
            return known
        if self._anchor is None:
            raise UnavailableError("resolver.walk.no_anchor", field="anchor")
        made = verify_chain(key, anchor=self._anchor, now=now, marks=self._marks)
        with self._lock:
            for statement in made.statements:
                name = statement.subject.key
                before = self._newest.get(name)
                if before is None or statement.ver > before.ver:
                    self._newest[name] = statement
                    self.generation += before is not None
            self._chains[key] = made
            while len(self._chains) > self._most:
                self._chains.popitem(last=False)
        return made

    def is_current(self, chain: VerifiedChain) -> bool:
        """Say whether what was verified under a chain is still good: nothing in it was taken back since."""
        newest = self._newest
        return all(_upholds(newest.get(statement.subject.key), statement) for statement in chain.statements)

    def _is_newest(self, chain: VerifiedChain) -> bool:
        for statement in chain.statements:
            seen = self._newest.get(statement.subject.key)
            if seen is not None and seen.ver > statement.ver:
                return False
        return True

    def learn(self, chain: VerifiedChain) -> Zone:
        """Remember the way to the subject of a verified chain, and return its zone."""
        self._paths.learn(chain)
        return _zone(chain)

    def forget(self, prefix: Prefix) -> None:
        """Forget the ways to a prefix and below: something about it changed."""
        self._paths.forget(prefix)

    def doubt(self, prefix: Prefix) -> bool:
        """Have the tier above asked again, since the way to a prefix led nowhere; say whether that makes sense."""
        return self._paths.doubt(prefix)

    def nearest(self, identifier: Identifier, *, old: bool = False) -> Zone | None:
        """Return the longest verified zone that contains an identifier and has endpoints.

        Args:
            identifier: what is looked for.
            old: also one whose superior should be asked again; for when the superior is silent.
        """
        wall = self._clock.now()
        with self._lock:
            for chain in self._paths.to(identifier, old=old):
                if wall <= chain.expires and self.is_current(chain) and chain.leaf.endpoints.resolve:
                    return _zone(chain)
        return None

    def top(self) -> Zone:
        """Return the zone above all others.

        Raises:
            UnavailableError: no root is pinned yet.
        """
        if self._anchor is None:
            raise UnavailableError("resolver.walk.no_anchor", field="anchor")
        return Zone(None, self._top)

    def delegated(
        self, tokens: Sequence[str], identifier: Identifier, zone: Zone | None = None
    ) -> VerifiedChain:
        """Verify the chain of a delegation that is to be followed to an identifier.

        Args:
            tokens: statements, leaf first.
            identifier: what is looked for.
            zone: who showed it; None for this node itself.

        Raises:
            UntrustedError: it does not hold, is suspended or revoked, or does not cover the identifier.
            UnavailableError: a mark cannot be stored.
        """
        chain = self._shown_by(zone, tokens)
        chain.require_active()
        if not chain.covers(identifier):
            raise UntrustedError(
                "resolver.walk.not_covered",
                field="chain",
                prefix=chain.subject.key,
                value=identifier.text,
            )
        return chain

    def judge(self, answer: Answer, identifier: Identifier, zone: Zone) -> Verdict:
        """Say what may be believed of an answer; an error when nothing may."""
        try:
            return self._judge(answer, identifier, zone)
        except HazlinkError as error:
            return error
        except (ValueError, KeyError, TypeError) as error:
            # e.g. a tombstone whose data is no JSON: whatever it is, it is not believed
            made = UntrustedError("resolver.walk.unreadable", value=identifier.text, reason=repr(error)[:200])
            made.__cause__ = error
            return made

    def _judge(self, answer: Answer, identifier: Identifier, zone: Zone) -> Verdict:
        match answer.outcome:
            case Outcome.FOUND | Outcome.WITHDRAWN | Outcome.DELETED:
                return self._found(answer, identifier, zone)
            case Outcome.NOT_FOUND:
                if answer.source is not Source.AUTHORITATIVE:
                    raise UntrustedError("resolver.walk.hearsay", field="source", value=identifier.text)
                return Missing(max(0, answer.ttl))
            case Outcome.REFERRAL:
                return self._referred(answer, identifier, zone)
            case Outcome.FAILED:
                return answer.error or InternalError("resolver.walk.no_reason", value=identifier.text)

    def _referred(self, answer: Answer, identifier: Identifier, zone: Zone) -> Referred:
        referral = answer.referral
        if referral is None:
            raise MalformedError("resolver.walk.no_referral", field="referral", value=identifier.text)
        chain = self.delegated(referral.chain, identifier, zone)
        if chain.subject != referral.prefix:
            raise UntrustedError(
                "resolver.walk.referral_other",
                field="referral.prefix",
                prefix=referral.prefix.key,
                right=chain.subject.key,
            )
        return Referred(chain)

    def _found(self, answer: Answer, identifier: Identifier, zone: Zone) -> Found:
        record, proof = answer.record, answer.proof
        if record is None or proof is None:
            raise UntrustedError("resolver.walk.unproven", field="proof", value=identifier.text)
        chain = self._vouching(proof, identifier, zone)
        values = tuple(value for value in record.values if value.visibility.is_public)
        claims = verify_record(
            public_jws=proof.public_jws,
            restricted_jws=None,
            shown=values,
            chain=chain,
            identifier=identifier,
            now=self._clock.now(),
        )
        claims.require_match(record)
        if OUTCOME_OF[claims.status] is not answer.outcome:
            raise UntrustedError(
                "resolver.walk.outcome",
                field="outcome",
                value=identifier.text,
                outcome=answer.outcome.name.lower(),
                right=claims.status.name.lower(),
            )
        record = replace(record, values=tuple(sorted(values, key=lambda value: value.index)))
        _require_whole(record, claims.missing)
        return Found(
            record=record,
            withheld=() if claims.status is Status.DELETED else claims.withheld,
            proof=replace(proof, restricted_jws=None, chain=chain.tokens, chain_sha256=chain.sha256),
            chain=chain,
            authoritative=answer.source is Source.AUTHORITATIVE,
            age=max(0, answer.age),
            ttl=max(0, answer.ttl),
        )

    def _shown_by(self, zone: Zone | None, tokens: Sequence[str]) -> VerifiedChain:
        """Verify a chain shown by a zone, with the zone's own place in the tree as the walk knows it."""
        try:
            return self.chain(tokens)
        except UntrustedError:
            spliced = _spliced(zone, tokens) if zone is not None and zone.chain else tuple(tokens)
            if spliced == tuple(tokens):
                raise
            return self.chain(spliced)

    def _vouching(self, proof: Proof, identifier: Identifier, zone: Zone) -> VerifiedChain:
        """Verify the chain of a proof, and that it is the zone's own or one below."""
        chain = self._shown_by(zone, proof.chain)
        here = zone.prefix
        if proof.issuer != chain.subject or (here is not None and not here.contains(chain.subject)):
            raise UntrustedError(
                "resolver.walk.signed_above",
                field="proof.issuer",
                prefix=chain.subject.key,
                here=here.key if here else "",
                value=identifier.text,
            )
        return chain


def _upholds(newest: Statement | None, statement: Statement) -> bool:
    """Say whether a newer statement leaves standing what was verified under an older one."""
    if newest is None or newest.ver <= statement.ver:
        return True
    kept = {key.kid for key in newest.keys}
    return (
        newest.state == "active"
        and all(key.kid in kept for key in statement.keys)
        and set(statement.perms) <= set(newest.perms)
    )


@lru_cache(maxsize=4096)
def subject_of(token: str) -> Prefix:
    """Return the prefix a statement is about, whether it holds or not.

    Raises:
        MalformedError: it is no statement.
        UntrustedError: as `registry.trust.statement.read`.
    """
    return read(token).subject


def _spliced(zone: Zone, tokens: Sequence[str]) -> tuple[str, ...]:
    """Put the statements by which the walk came to a zone in the place of those the zone shows."""
    for number, token in enumerate(tokens):
        if subject_of(token) == zone.prefix:
            return (*tokens[:number], *zone.chain)
    return tuple(tokens)


def _require_whole(record: Record, missing: tuple[int, ...]) -> None:
    """Refuse an answer that leaves something out; of a deleted record the tombstone suffices."""
    if record.status is not Status.ACTIVE and record.tombstone is None:
        raise UntrustedError("resolver.walk.no_tombstone", field="values", value=record.identifier.text)
    if missing and record.status is not Status.DELETED:
        raise UntrustedError(
            "resolver.walk.left_out",
            field="values",
            value=record.identifier.text,
            indexes=", ".join(map(str, missing[:20])),
        )


def _zone(chain: VerifiedChain) -> Zone:
    endpoints = chain.leaf.endpoints
    return Zone(
        chain.subject,
        tuple(Endpoint(url, endpoints.tls_x5t_s256) for url in endpoints.resolve),
        chain.tokens,
    )
