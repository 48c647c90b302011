"""Issuing statements: what a superior grants a prefix, always a subset of what it holds itself.

Per hop (facts on federation, §a): the child's permissions cover its own prefix and nothing else; its algorithms
are the parent's; it expires no later; one tier fewer may stand below it; its version grows by one. A suspended or
revoked prefix gets a statement too, with no permissions left: silence would leave the last good one standing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from registry.clock import Clock
from registry.delegation import Contact, Delegation, DelegationState
from registry.errors import ForbiddenError, NotResponsibleError, UnavailableError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes, Keys
from registry.storage.prefixes import PrefixUnit
from registry.trust.algorithms import PublicKey
from registry.trust.keys import Signer
from registry.trust.root import read_root
from registry.trust.statement import Endpoints, Statement, StatementKey, full_rights, issue, read

__all__ = ["ROOT", "Grant", "Issuer", "Terms", "retired"]

#: The parent of the top prefix: the root document, whose own handle is `0.NA/0.NA`.
ROOT = Prefix("0.NA")

_DAY = 86_400


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
class _Above:
    signer: Signer
    issuer: Prefix | None
    expires: int
    algs: tuple[str, ...]
    max_path: int
    lifetime: int


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
        before = unit.delegation(prefix)
        above = self._above(unit, parent)
        now = int(self._clock.now())
        expires = min(above.expires, now + above.lifetime)
        if expires <= now:
            raise UnavailableError("registry.prefixes.parent_expired", prefix=parent.key)
        version = before.version + 1 if before else 1
        active = grant.state is DelegationState.ACTIVE
        token = issue(
            above.signer,
            issuer=above.issuer,
            subject=prefix,
            keys=grant.keys,
            perms=full_rights(prefix) if active else (),
            algs=above.algs,
            max_path=above.max_path,
            endpoints=grant.endpoints,
            ver=version,
            iat=now,
            nbf=now,
            exp=expires,
            state=grant.state.value,
        )
        made = Delegation(
            prefix=prefix,
            parent=parent,
            state=grant.state,
            version=version,
            token=token,
            expires=expires,
            published=False,
            name=grant.who.name if grant.who else before.name if before else "",
            contact=grant.who.contact if grant.who else before.contact if before else "",
        )
        unit.put_delegation(made)
        return made

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
        )

    def _above_top(self, unit: PrefixUnit) -> _Above:
        texts = unit.roots()
        if not texts:
            raise NotResponsibleError("registry.prefixes.no_root", field="parent", prefix=ROOT.key)
        root = read_root(texts[-1])
        signer = self._keys.load(next(iter(root.keys)))
        return _Above(
            signer=signer,
            issuer=None,
            expires=root.exp,
            algs=tuple(root.algs),
            max_path=self._terms.top_max_path,
            lifetime=self._terms.top_seconds,
        )


def retired(statement: Statement, *, exp: int, without: Sequence[str] = ()) -> tuple[StatementKey, ...]:
    """Return the keys of a statement as history: those in use end at `exp`, those `without` are dropped."""
    return tuple(
        replace(key, exp=exp if key.exp is None else min(key.exp, exp))
        for key in statement.keys
        if key.kid not in without
    )
