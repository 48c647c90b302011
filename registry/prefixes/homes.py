"""Which prefixes this node speaks for, and with which keys: one picture in memory, replaced as a whole.

Rules:

- an identifier belongs to the longest homed prefix that contains its prefix, label by label;
- unless a prefix in between was delegated to another node, or handed over to one: then this node only refers;
- a prefix asked for but not approved yet belongs to nobody here;
- a suspended, revoked or closing prefix still answers for what it has, but signs nothing new.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from registry.delegation import Delegation, Home, HomeState, Origin
from registry.errors import ForbiddenError, NotResponsibleError
from registry.identifier import Identifier, Prefix
from registry.storage.prefixes import PrefixStore
from registry.trust.keys import Signer
from registry.trust.revocation import RevocationBook

__all__ = ["Homes", "Keys"]

#: States in which this node answers from its own records.
_ANSWERING = frozenset({HomeState.ACTIVE, HomeState.SUSPENDED, HomeState.REVOKED, HomeState.CLOSING})


class Keys(Protocol):
    """Where private keys are kept.

    Consistency: a created key can be loaded at once. Durability: it survives power loss once `create` returned.
    Concurrency: any number of threads. Errors: UnavailableError when the key is not there or cannot be unlocked.
    """

    def create(self, alg: str = "Ed25519") -> Signer:
        """Make a key pair and keep it."""
        ...

    def load(self, kid: str) -> Signer:
        """Return the key pair with this thumbprint."""
        ...

    def kids(self) -> tuple[str, ...]:
        """Return the thumbprints of the keys that are kept here."""
        ...


@dataclass(frozen=True, slots=True)
class _Picture:
    revision: int = -1
    homes: Mapping[str, Home] = field(default_factory=dict)
    delegations: Mapping[str, Delegation] = field(default_factory=dict)
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    book: RevocationBook = field(default_factory=RevocationBook)


class Homes:
    """The picture of the homed prefixes.

    Consistency: as of the last `refresh`, which every change made through this process calls; another process's
    change is seen at the next timer tick. Concurrency: any number of threads; readers never wait, because the
    picture is replaced by one assignment. Errors: as said at each method; none of the readers touches the database.
    """

    def __init__(self, *, store: PrefixStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._picture = _Picture()
        self._signers: dict[str, Signer] = {}
        self._refreshing = threading.Lock()

    def refresh(self) -> bool:
        """Read the tables again if they changed; say whether they did.

        Raises:
            UnavailableError: the database cannot be read; the old picture stays.
        """
        with self._refreshing, self._store.read() as unit:
            revision = unit.revision()
            if revision == self._picture.revision:
                return False
            homes, delegations = unit.homes(), unit.delegations()
            self._picture = _picture(revision, homes, delegations, unit.trust.book())
            return True

    def all(self) -> tuple[Home, ...]:
        """Return every homed or asked-for prefix."""
        return tuple(self._picture.homes.values())

    def delegations(self) -> tuple[Delegation, ...]:
        """Return every delegation made here."""
        return tuple(self._picture.delegations.values())

    @property
    def book(self) -> RevocationBook:
        """Everything known against keys."""
        return self._picture.book

    def home(self, prefix: Prefix) -> Home | None:
        """Return the home of exactly this prefix, in whatever state."""
        return self._picture.homes.get(prefix.key)

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is homed here, so that its own `0.NA/<prefix>` is kept here too."""
        home = self._picture.homes.get(prefix.key)
        return home is not None and home.state in _ANSWERING

    def homes(self, prefix: Prefix) -> bool:
        """Say whether this node holds the truth about identifiers of `prefix`."""
        return _nearest(self._picture, prefix) is not None

    def home_of(self, prefix: Prefix) -> Prefix | None:
        """Return the homed prefix that answers for `prefix`."""
        home = _nearest(self._picture, prefix)
        return home.prefix if home else None

    def holds(self, identifier: Identifier) -> bool:
        """Say whether this node answers for an identifier: its own, or its own copy of its `0.NA/<prefix>`."""
        named = identifier.named_prefix
        if named is not None and self.answers_for(named):
            return True
        return self.homes(identifier.authority)

    def chain_for(self, identifier: Identifier) -> tuple[str, ...]:
        """Return the statements that vouch for the key that signed the record of `identifier`, leaf first.

        The record `0.NA/<prefix>` is signed one tier up, so its chain begins one statement higher; the top has
        nobody above it but the root, and signs its own.
        """
        named = identifier.named_prefix
        if named is None or named.parent is None or self.homes(named.parent):
            return self.chain(identifier.authority)
        return self.chain(named)[1:] if self.answers_for(named) else ()

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        """Return the key that signs records of `prefix`, and the homed prefix it belongs to.

        Raises:
            NotResponsibleError: the prefix is not homed here, was handed over, or is not approved yet.
            ForbiddenError: it is suspended, revoked, or closing for a hand-over.
            UnavailableError: the key cannot be loaded.
        """
        picture = self._picture
        home = _nearest(picture, prefix)
        if home is None:
            waiting = any(
                above.key in picture.homes and picture.homes[above.key].state is HomeState.PENDING
                for above in prefix.ancestors()
            )
            name = "waiting" if waiting else "not_homed"
            raise NotResponsibleError(f"registry.prefixes.{name}", field="prefix", prefix=prefix.key)
        if home.state is not HomeState.ACTIVE:
            raise ForbiddenError(
                f"registry.prefixes.home_{home.state.value}", field="prefix", prefix=home.prefix.key
            )
        return self._signer(home.kid), home.prefix

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for the key of `prefix`, leaf first; nothing when not delegated yet."""
        picture = self._picture
        home = _nearest(picture, prefix)
        return picture.chains.get(home.prefix.key, ()) if home else ()

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the chain, leaf first, of the deepest delegation to another node that contains `prefix`."""
        picture = self._picture
        for above in prefix.ancestors():
            home = picture.homes.get(above.key)
            if home is not None and home.state in _ANSWERING:
                return ()
            made = picture.delegations.get(above.key)
            if made is not None:
                return (made.token, *picture.chains.get(made.parent.key, ()))
        return ()

    def _signer(self, kid: str) -> Signer:
        signer = self._signers.get(kid)
        if signer is None:
            signer = self._signers[kid] = self._keys.load(kid)
        return signer


def _nearest(picture: _Picture, prefix: Prefix) -> Home | None:
    """Return the home that answers for `prefix`, stopping at a delegation to another node."""
    for above in prefix.ancestors():
        home = picture.homes.get(above.key)
        if home is not None and home.state in _ANSWERING:
            return home
        if above.key in picture.delegations or (home is not None and home.state is HomeState.CLOSED):
            return None
    return None


def _picture(
    revision: int, homes: Sequence[Home], delegations: Sequence[Delegation], book: RevocationBook
) -> _Picture:
    by_home = {home.prefix.key: home for home in homes}
    by_child = {made.prefix.key: made for made in delegations}
    chains: dict[str, tuple[str, ...]] = {}
    # Parents first: the chain of a prefix delegated here stands on its parent's; the root's is empty.
    for home in sorted(homes, key=lambda home: len(home.prefix.labels)):
        if home.origin is Origin.JOINED:
            chains[home.prefix.key] = home.chain
        elif (made := by_child.get(home.prefix.key)) is not None:
            chains[home.prefix.key] = (made.token, *chains.get(made.parent.key, ()))
    return _Picture(revision=revision, homes=by_home, delegations=by_child, chains=chains, book=book)
