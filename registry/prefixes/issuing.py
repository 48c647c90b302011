"""Issuing statements: what a superior grants a prefix, always a subset of what it holds itself.

Per hop (facts on federation, §a): the child's permissions cover its own prefix and nothing else; its algorithms
are the parent's; it expires no later; one tier fewer may stand below it; its version grows by one. A suspended or
revoked prefix gets a statement too, with no permissions left: silence would leave the last good one standing.

Beside the statements an issuer signs two kinds of lists: which keys below it are revoked, and, for each prefix below
it, every key it ever had. They are made in the transaction that gives them something new to say.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from registry.clock import Clock
from registry.delegation import Contact, Delegation, DelegationState
from registry.errors import ForbiddenError, NotResponsibleError, UnavailableError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes, Keys
from registry.storage.prefixes import PrefixUnit
from registry.trust.algorithms import DEFAULT_ALGORITHM, PublicKey
from registry.trust.historical import issue_history, read_history
from registry.trust.keys import Signer
from registry.trust.revocation import Reason, Revoked, issue_revocation, read_revocation
from registry.trust.root import RootDocument, read_root
from registry.trust.statement import (
    ROOT_NAME,
    Endpoints,
    Statement,
    StatementKey,
    draft,
    full_rights,
    read,
    sign_draft,
)

__all__ = ["ROOT", "Grant", "Issuer", "Terms", "best_algorithm", "retired"]

#: The parent of the top prefix: the root document, whose own handle is `0.NA/0.NA`.
ROOT = Prefix("0.NA")

_DAY = 86_400
#: What a revocation list can hold; the oldest entries leave it first, and stay with all who ever read them.
_MOST_REVOKED = 1_500


@dataclass(frozen=True, slots=True)
class Terms:
    """Lifetimes and limits of delegations.

    Attributes:
        root_seconds: life of a root document.
        top_seconds: life of the top prefix's statement.
        statement_seconds: life of every other statement; weeks, so that a tier cut off for long goes on.
        renew_below: share of its life below which a statement is renewed.
        overlap_seconds: how long a key that was rotated out may still sign.
        top_max_path: tiers allowed below the top.
        record_ttl_seconds: how long `0.NA/<prefix>` may be cached, so how soon a suspension is seen everywhere.
        invitation_seconds: life of an invitation unless said otherwise.
        pending_limit: requests that may wait under one parent.
        keys_limit: keys a statement carries, the historical ones included.
        closing_seconds: how long a prefix must have been closed before it is exported, so that every process of the
            node has seen it.
    """

    root_seconds: int = 3650 * _DAY
    top_seconds: int = 730 * _DAY
    statement_seconds: int = 90 * _DAY
    renew_below: float = 1 / 3
    overlap_seconds: int = 7 * _DAY
    top_max_path: int = 6
    record_ttl_seconds: int = 300
    invitation_seconds: int = 7 * _DAY
    pending_limit: int = 500
    keys_limit: int = 32
    closing_seconds: int = 2


@dataclass(frozen=True, slots=True)
class Grant:
    """What the next statement about a prefix shall say.

    Attributes:
        keys: the signing key in use first, then the historical ones.
        who: the holder; None keeps what is stored.
    """

    keys: tuple[StatementKey, ...]
    endpoints: Endpoints
    state: DelegationState = DelegationState.ACTIVE
    who: Contact | None = None


@dataclass(frozen=True, slots=True)
class _Bounds:
    issuer: Prefix | None
    expires: int
    algs: tuple[str, ...]
    max_path: int
    lifetime: int
    kids: frozenset[str]

    @property
    def name(self) -> str:
        """The issuer's folded prefix; `0.NA` for the root."""
        return self.issuer.key if self.issuer else ROOT_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class _Above(_Bounds):
    signer: Signer


class Issuer:
    """Signs statements with the parent's key, inside the caller's unit of work."""

    def __init__(self, *, homes: Homes, keys: Keys, clock: Clock, terms: Terms) -> None:
        self._homes = homes
        self._keys = keys
        self._clock = clock
        self._terms = terms

    def issue(self, unit: PrefixUnit, prefix: Prefix, parent: Prefix, grant: Grant) -> Delegation:
        """Sign the next statement about `prefix` and store it, not published yet.

        Raises:
            NotResponsibleError: the parent is not homed here, or may have nothing below it.
            ForbiddenError: the parent is suspended, revoked or closing.
            UnavailableError: a key cannot be loaded, or the parent's own statement is about to expire.
        """
        above = self._above(unit, parent)
        return self.store(
            unit, parent, sign_draft(above.signer, self._draft(unit, prefix, above, grant)), grant
        )

    def draft_top(self, unit: PrefixUnit, root: RootDocument, prefix: Prefix, grant: Grant) -> bytes:
        """Return the payload of the next statement about the top prefix, for a key of `root` to sign elsewhere.

        Raises:
            UnavailableError: the root is about to expire.
        """
        return self._draft(unit, prefix, self._bounds(root), grant)

    def store(self, unit: PrefixUnit, parent: Prefix, token: str, grant: Grant | None = None) -> Delegation:
        """Store a statement that was signed here, or for us by a key that is kept elsewhere; not published yet."""
        statement = read(token)
        before = unit.delegation(statement.subject)
        who = grant.who if grant else None
        made = Delegation(
            prefix=statement.subject,
            parent=parent,
            state=DelegationState(statement.state),
            version=statement.ver,
            token=token,
            expires=statement.exp,
            published=False,
            name=who.name if who else before.name if before else "",
            contact=who.contact if who else before.contact if before else "",
        )
        unit.put_delegation(made)
        if unit.trust.note_keys(statement):
            with suppress(
                UnavailableError
            ):  # the root's keys may be elsewhere; its list is made up for by `keep_lists`
                self._sign_history(unit, statement.subject, self._above(unit, parent))
        return made

    def _draft(self, unit: PrefixUnit, prefix: Prefix, above: _Bounds, grant: Grant) -> bytes:
        before = unit.delegation(prefix)
        now = int(self._clock.now())
        expires = min(above.expires, now + above.lifetime)
        if expires <= now:
            raise UnavailableError(
                "registry.prefixes.parent_expired", prefix=above.issuer.key if above.issuer else ROOT_NAME
            )
        return draft(
            issuer=above.issuer,
            subject=prefix,
            keys=grant.keys,
            perms=full_rights(prefix) if grant.state is DelegationState.ACTIVE else (),
            algs=above.algs,
            max_path=above.max_path,
            endpoints=grant.endpoints,
            ver=before.version + 1 if before else 1,
            iat=now,
            nbf=now,
            exp=expires,
            state=grant.state.value,
        )

    def revoke(self, unit: PrefixUnit, prefix: Prefix, parent: Prefix, entries: Sequence[Revoked]) -> None:
        """Add keys of `prefix` to the revocation list of `parent`, and say so in the list of its keys.

        Raises:
            HazlinkError: as `issue`.
        """
        if not entries:
            return
        above = self._above(unit, parent)
        for entry in entries:
            unit.trust.put_revoked(above.name, entry)
        self._sign_revocations(unit, above)
        self._sign_history(unit, prefix, above)

    def lists_due(self, unit: PrefixUnit, parent: Prefix, below: int) -> bool:
        """Say whether lists of `parent` are missing, near their end, or signed by a key that it has no longer.

        Args:
            unit: open for reading.
            parent: who signs them.
            below: how many prefixes it has delegated.

        Raises:
            HazlinkError: as `issue`.
        """
        above = self._above(unit, parent)
        known = unit.trust.revocation(above.name)
        if known is None or not known[1] or unit.trust.count_key_lists(above.name) < below:
            return True
        made = read_revocation(known[2])
        return made.kid not in above.kids or (
            made.exp - self._clock.now() < (made.exp - made.iat) * self._terms.renew_below
            and above.expires > made.exp
        )

    def keep_lists(self, unit: PrefixUnit, parent: Prefix, below: Sequence[Delegation]) -> None:
        """Sign the lists of `parent` anew, and those of keys that are missing or lost their signer.

        Raises:
            HazlinkError: as `issue`.
        """
        above = self._above(unit, parent)
        known = unit.trust.revocation(above.name)
        orphan = known is not None and read_revocation(known[2]).kid not in above.kids
        self._sign_revocations(unit, above)
        for child in below:
            if orphan or unit.trust.key_list(child.prefix) is None:
                unit.trust.note_keys(read(child.token))
                self._sign_history(unit, child.prefix, above)

    def compromised(self, statement: Statement) -> list[Revoked]:
        """Return the entries for every key of a prefix that can still sign, all of them stolen as of now."""
        now = int(self._clock.now())
        return [
            Revoked(key.kid, now, Reason.COMPROMISE)
            for key in statement.keys
            if key.use == "sig" and (key.exp is None or key.exp > now)
        ]

    def _sign_revocations(self, unit: PrefixUnit, above: _Above) -> None:
        now = int(self._clock.now())
        known = unit.trust.revocation(above.name)
        token = issue_revocation(
            above.signer,
            issuer=above.issuer,
            ver=known[0] + 1 if known else 1,
            iat=now,
            exp=max(min(above.expires, now + above.lifetime), now + 1),
            revoked=unit.trust.revoked(above.name)[-_MOST_REVOKED:],
        )
        unit.trust.put_revocation(read_revocation(token))
        unit.touch()

    def _sign_history(self, unit: PrefixUnit, prefix: Prefix, above: _Above) -> None:
        known = unit.trust.key_list(prefix)
        token = issue_history(
            above.signer,
            issuer=above.issuer,
            subject=prefix,
            ver=known[0] + 1 if known else 1,
            iat=int(self._clock.now()),
            keys=unit.trust.keys(prefix, above.name),
        )
        unit.trust.put_key_list(read_history(token))

    def lifetime(self, parent: Prefix) -> int:
        """Return the seconds a fresh statement under `parent` lives."""
        return self._terms.top_seconds if parent == ROOT else self._terms.statement_seconds

    def greatest_expiry(self, unit: PrefixUnit, parent: Prefix) -> int:
        """Return the latest expiry a statement under `parent` can have now."""
        return min(self._above(unit, parent).expires, int(self._clock.now()) + self.lifetime(parent))

    def key(self, key: Signer | PublicKey) -> StatementKey:
        """Return the statement's entry for a key in use from now on."""
        return StatementKey.of(key, nbf=int(self._clock.now()))

    def _above(self, unit: PrefixUnit, parent: Prefix) -> _Above:
        if parent == ROOT:
            return self._above_top(unit)
        signer, home = self._homes.signer_for(parent)
        chain = self._homes.chain(parent)
        if home != parent or not chain:
            raise NotResponsibleError("registry.prefixes.not_homed", field="parent", prefix=parent.key)
        own: Statement = read(chain[0])
        if own.max_path < 1:
            raise ForbiddenError("registry.prefixes.no_tier_below", field="parent", prefix=parent.key)
        return _Above(
            signer=signer,
            issuer=parent,
            expires=min(read(token).exp for token in chain),
            algs=tuple(own.algs),
            max_path=own.max_path - 1,
            lifetime=self._terms.statement_seconds,
            kids=frozenset(key.kid for key in own.keys if key.use == "sig"),
        )

    def _above_top(self, unit: PrefixUnit) -> _Above:
        texts = unit.roots()
        if not texts:
            raise NotResponsibleError("registry.prefixes.no_root", field="parent", prefix=ROOT.key)
        root = read_root(texts[-1])
        bounds = self._bounds(root)
        return _Above(
            issuer=None,
            expires=bounds.expires,
            algs=bounds.algs,
            max_path=bounds.max_path,
            lifetime=bounds.lifetime,
            kids=bounds.kids,
            signer=self._root_signer(root),
        )

    def _bounds(self, root: RootDocument) -> _Bounds:
        return _Bounds(
            issuer=None,
            expires=root.exp,
            algs=tuple(root.algs),
            max_path=self._terms.top_max_path,
            lifetime=self._terms.top_seconds,
            kids=frozenset(root.keys),
        )

    def _root_signer(self, root: RootDocument) -> Signer:
        """Return a key of the root that is kept on this node."""
        failure: UnavailableError | None = None
        for kid in root.keys:
            try:
                return self._keys.load(kid)
            except UnavailableError as error:
                failure = failure or error
        raise UnavailableError("registry.prefixes.root_keys_away", ver=root.ver) from failure


def best_algorithm(allowed: Sequence[str], wanted: str = DEFAULT_ALGORITHM) -> str:
    """Return the algorithm for a new key: the wanted one where it is allowed, else the first that is."""
    return wanted if wanted in allowed or not allowed else allowed[0]


def retired(statement: Statement, *, exp: int, without: Sequence[str] = ()) -> tuple[StatementKey, ...]:
    """Return the keys of a statement as history: those in use end at `exp`, those `without` are dropped."""
    return tuple(
        replace(key, exp=exp if key.exp is None else min(key.exp, exp))
        for key in statement.keys
        if key.kid not in without
    )
