"""Chains of peers: verified, remembered, and held against the newest that is known of each tier.

Rules (facts on federation, (a) "travel" and "rollback", (b) step 4):

- what decides about a key is the newest chain known of its prefix: what this node itself delegated, else the
  newest that ever came along; an envelope that waited while its sender rotated its key is judged by that one too;
- a chain that came along is held tier by tier against the newest statements known, so that a sender whose superior
  renewed its own statement yesterday is not refused, and rights that shrank above it are shrunk for it at once;
- a statement newer than what was known raises its mark before it is used; an older one decides nothing;
- every chain that came along is kept once, under its hash: it is evidence.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

from federation.exchange.storage.received import ReceivedUnit
from registry.clock import Clock
from registry.errors import UnavailableError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.chain import MAX_LENGTH, VerifiedChain, chain_sha256, extend, verify_chain
from registry.trust.encoding import from_b64u
from registry.trust.marks import Marks
from registry.trust.root import Anchor
from registry.trust.statement import read

__all__ = ["Chains", "Delegations"]

_MOST = 4_096
_ANCHOR_SECONDS = 1.0
_DIGEST_BYTES = 32


@lru_cache(maxsize=_MOST)
def _subject(token: str) -> Prefix:
    return read(token).subject


class Delegations(Protocol):
    """What this node knows of itself; `registry.prefixes.homes.Homes` is one.

    Consistency: as of the last refresh. Concurrency: any number of threads. Errors: none.
    """

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the chain of the deepest delegation to another node that contains `prefix`, leaf first."""
        ...

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the chain of the home that answers for `prefix`, leaf first."""
        ...


class Chains:
    """The chains of those who send here.

    Consistency: a chain that was taken is found by its hash in every process; the newest of a subject is noticed
    by another process when it meets a key it does not know. Durability: kept once `take` returned. Concurrency:
    any number of threads. Errors: UntrustedError for what does not hold, UnavailableError when it cannot be kept.
    """

    def __init__(
        self,
        *,
        database: Database,
        anchor: Callable[[], Anchor | None],
        marks: Marks,
        delegations: Delegations,
        clock: Clock,
    ) -> None:
        """Take the parts.

        Args:
            database: where chains are kept.
            anchor: what this node trusts, as of now; None while it trusts nothing.
            marks: the newest statements seen; shared with the resolver.
            delegations: what this node delegated and homes.
            clock: the time.
        """
        self._database = database
        self._anchor = anchor
        self._marks = marks
        self._delegations = delegations
        self._clock = clock
        self._held: OrderedDict[tuple[tuple[str, ...], int, str], VerifiedChain] = OrderedDict()
        self._newest: OrderedDict[str, VerifiedChain] = OrderedDict()
        self._stored: OrderedDict[str, str] = OrderedDict()
        self._trust: tuple[float, Anchor] | None = None
        self._lock = threading.RLock()

    def newest(self, subject: Prefix, *, look: bool = False) -> VerifiedChain | None:
        """Return the newest chain known of exactly this prefix, whether or not it has expired meanwhile.

        Args:
            subject: whose.
            look: read the database again, because another process may have learned a newer one.

        Raises:
            UntrustedError: this node trusts nothing yet.
            UnavailableError: the database cannot be read.
        """
        known = self._known(subject)
        if known is not None and not look:
            return self._still(known)
        with self._database.read() as connection:
            stored = ReceivedUnit(connection).newest_chain(subject.key)
        if stored is None or (known is not None and stored == known.tokens):
            return known
        held = self._remember(self._hold(stored, raising=False))
        return known if known is not None and known.leaf.ver > held.leaf.ver else held

    def knows(self, sha256: str, subject: Prefix) -> bool:
        """Say whether the chain of this hash came along before, and is about `subject`.

        Raises:
            UnavailableError: the database cannot be read.
        """
        with self._lock:
            known = self._stored.get(sha256)
        if known is None:
            digest = from_b64u(sha256)
            if digest is None or len(digest) != _DIGEST_BYTES:
                return False
            own = self._own(subject)
            if own is not None and own.sha256 == sha256:
                self._store(own)
                return True
            with self._database.read() as connection:
                known = ReceivedUnit(connection).chain_subject(digest)
            if known is None:
                return False
            self._seen(sha256, known)
        return known == subject.key

    def take(self, subject: Prefix, tokens: Sequence[str]) -> VerifiedChain:
        """Verify a chain that came along, keep it, and return the newest chain of its subject.

        Raises:
            UntrustedError: it does not hold, is about somebody else, or is older than what was seen and does not
                even stand by itself.
            UnavailableError: it cannot be kept.
        """
        sha256 = chain_sha256(tokens)
        if self.knows(sha256, subject):
            known = self.newest(subject)
            if known is not None and known.sha256 != sha256:
                known = self.newest(subject, look=True)
            if known is not None:
                return known
        if not 0 < len(tokens) <= MAX_LENGTH:
            raise UntrustedError(
                "registry.trust.chain_long", field="chain", length=len(tokens), limit=MAX_LENGTH
            )
        self._require_subject(subject, tokens)
        known = self._held_still(subject)
        alone = verify_chain(tokens, anchor=self._trusted(), now=self._instant(tokens))
        if known is not None and known.leaf.ver >= alone.leaf.ver and known.leaf.token != alone.leaf.token:
            self._store(alone)
            return known
        held = self._hold(tuple(tokens), raising=True)
        self._store(alone)
        if held.sha256 != alone.sha256:
            self._store(held)
        return self._remember(held)

    def travelled(self, tokens: Sequence[str], *, at: float) -> VerifiedChain:
        """Verify the chain of somebody whose envelope was taken in by another node at `at`: evidence, not a peer.

        Marks are neither asked nor raised: what vouched for the envelope then may have been renewed since. The chain
        may itself be a little newer than `at`: whoever took the envelope in judged it by the newest one.

        Raises:
            UntrustedError: it does not hold.
        """
        if not 0 < len(tokens) <= MAX_LENGTH:
            raise UntrustedError(
                "registry.trust.chain_long", field="chain", length=len(tokens), limit=MAX_LENGTH
            )
        anchor = self._trusted()
        key = (tuple(tokens), anchor.root.ver, "then")
        with self._lock:
            found = self._held.get(key)
        if found is None:
            found = verify_chain(tokens, anchor=anchor, now=self._instant(tokens))
            self._put(key, found)
        began = max(max(statement.iat, statement.nbf) for statement in found.statements)
        found.require_fresh(min(self._clock.now(), max(at, began)))
        return found

    def stored(self, sha256: bytes) -> VerifiedChain | None:
        """Return a chain that was kept, as it stood by itself; for what waited to be applied.

        Raises:
            UntrustedError: the root it hung on is another one now.
            UnavailableError: the database cannot be read.
        """
        with self._database.read() as connection:
            tokens = ReceivedUnit(connection).chain(sha256)
        if tokens is None:
            return None
        return verify_chain(tokens, anchor=self._trusted(), now=self._instant(tokens))

    def keep(self, chain: VerifiedChain) -> None:
        """Keep a chain that decided about an envelope, if it is not kept yet.

        Raises:
            UnavailableError: it cannot be kept.
        """
        with self._lock:
            if chain.sha256 in self._stored:
                return
        self._store(chain)

    def _held_still(self, subject: Prefix) -> VerifiedChain | None:
        """Return the newest chain known, None when it no longer holds: then a newer one may take its place."""
        try:
            return self.newest(subject)
        except UntrustedError:
            return None

    def _own(self, subject: Prefix) -> VerifiedChain | None:
        """Return the newest chain of what this node delegated or homes itself."""
        for tokens in (self._delegations.delegation(subject), self._delegations.chain(subject)):
            if tokens and _subject(tokens[0]) == subject:
                return self._standing(tokens)
        return None

    def _known(self, subject: Prefix) -> VerifiedChain | None:
        """Return the newest chain that needs no looking up.

        What this node delegated is the newest there is; of its own statements its superior may have made a newer one
        that came along with somebody else's.
        """
        own = self._own(subject)
        with self._lock:
            known = self._newest.get(subject.key)
        if own is None or (known is not None and known.leaf.ver > own.leaf.ver):
            return known
        return own

    def _still(self, chain: VerifiedChain) -> VerifiedChain:
        """Hold a remembered chain again when a statement above its leaf was replaced meanwhile."""
        for statement in chain.statements[1:]:
            known = self._known(statement.subject)
            if known is not None and known.leaf.ver > statement.ver:
                return self._remember(self._hold(chain.tokens, raising=False))
        return chain

    def _standing(self, tokens: tuple[str, ...]) -> VerifiedChain:
        """Return a chain of this node's own as it stands, fresh or not."""
        anchor = self._trusted()
        key = (tokens, anchor.root.ver, "own")
        with self._lock:
            found = self._held.get(key)
        if found is None:
            found = verify_chain(tokens, anchor=anchor, now=self._instant(tokens))
            self._put(key, found)
        return found

    def _hold(self, tokens: tuple[str, ...], *, raising: bool) -> VerifiedChain:
        """Hold a chain tier by tier against the newest statements known of each tier above the leaf."""
        now = self._clock.now()
        above: VerifiedChain | Anchor = self._trusted()
        marks = self._marks if raising else None
        for depth, token in enumerate(reversed(tokens)):
            statement = read(token)
            if depth < len(tokens) - 1:
                known = self._known(statement.subject)
                if known is not None and known.leaf.ver > statement.ver and known.leaf.exp >= now:
                    above = known
                    continue
            above = extend(above, token, now=now, marks=marks)
            if depth < len(tokens) - 1 and raising:
                self._store(above)
                self._remember(above)
        if not isinstance(above, VerifiedChain):  # pragma: no cover — tokens is never empty here
            raise UntrustedError("registry.trust.chain_empty", field="chain")
        return above

    def _remember(self, chain: VerifiedChain) -> VerifiedChain:
        """Make a chain the newest of its subject unless a newer one is known; return the newest."""
        name = chain.subject.key
        with self._lock:
            known = self._newest.get(name)
            if known is not None and known.leaf.ver > chain.leaf.ver:
                return known
            self._newest[name] = chain
            self._newest.move_to_end(name)
            while len(self._newest) > _MOST:
                self._newest.popitem(last=False)
        return chain

    def _require_subject(self, subject: Prefix, tokens: Sequence[str]) -> None:
        said = _subject(tokens[0])
        if said != subject:
            raise UntrustedError(
                "federation.exchange_receiving.chain_subject",
                field="chain",
                value=said.key,
                right=subject.key,
            )

    def _instant(self, tokens: Sequence[str]) -> float:
        """Return a moment at which a chain that ever held did hold: now, or the last one before it ended."""
        statements = [read(token) for token in tokens]
        return min(self._clock.now(), *(statement.exp for statement in statements))

    def _trusted(self) -> Anchor:
        """Return the anchor as of at most a second ago: finding it out reads and verifies every root."""
        now = self._clock.monotonic()
        kept = self._trust
        if kept is not None and kept[0] <= now < kept[0] + _ANCHOR_SECONDS:
            return kept[1]
        anchor = self._anchor()
        if anchor is None:
            raise UntrustedError("federation.exchange_receiving.no_anchor", field="chain")
        self._trust = (now, anchor)
        return anchor

    def _store(self, chain: VerifiedChain) -> None:
        with self._lock:
            if chain.sha256 in self._stored:
                return
        digest = from_b64u(chain.sha256)
        if digest is None:  # pragma: no cover — we spelled it ourselves
            raise UnavailableError("federation.exchange_receiving.no_anchor")
        with self._database.write() as connection:
            ReceivedUnit(connection).put_chain(
                digest, chain.subject.key, chain.tokens, ver=chain.leaf.ver, at=int(self._clock.now())
            )
        self._seen(chain.sha256, chain.subject.key)

    def _seen(self, sha256: str, subject: str) -> None:
        with self._lock:
            self._stored[sha256] = subject
            while len(self._stored) > _MOST:
                self._stored.popitem(last=False)

    def _put(self, key: tuple[tuple[str, ...], int, str], chain: VerifiedChain) -> None:
        with self._lock:
            self._held[key] = chain
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
