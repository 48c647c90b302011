"""What is known against keys: learned from those above, handed on to those below, asked about every signature.

A list counts only by the word of the issuer whose statements name the keys; whoever brings it may be anybody. What a
list ever said stays known, whatever later lists leave out.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from registry.errors import UntrustedError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes
from registry.prefixes.office import Office
from registry.storage.prefixes import PrefixUnit
from registry.trust.chain import VerifiedChain, verify_chain
from registry.trust.historical import KeyHistory, read_history, verify_history
from registry.trust.revocation import (
    RevocationList,
    Signed,
    read_revocation,
    stands,
    verify_revocation,
)
from registry.trust.root import Anchor
from registry.trust.statement import ROOT_NAME, read

__all__ = ["KeyJudge", "Placed", "Revoking", "SignedList"]


@dataclass(frozen=True, slots=True)
class SignedList:
    """A signed list with what vouches for it.

    Attributes:
        token: the list.
        chain: of its issuer, leaf first; empty for the root's.
    """

    token: str
    chain: tuple[str, ...]


class Placed(Protocol):
    """Something signed that stands at a position of a stream: an envelope."""

    @property
    def stream(self) -> str:
        """Name of the stream."""
        ...

    @property
    def epoch(self) -> int:
        """Incarnation of the sender's store."""
        ...

    @property
    def seq(self) -> int:
        """Number in the stream."""
        ...


class KeyJudge:
    """Says of a message that is arriving whether its key, or one its chain rests on, was revoked.

    Consistency: as of the last refresh of `Homes`. Concurrency: any number of threads; no I/O.
    """

    def __init__(self, homes: Homes, now: "Now") -> None:
        self._homes = homes
        self._now = now

    def __call__(self, chain: VerifiedChain, kid: str, envelope: Placed | None, /) -> None:
        """Refuse a key; `envelope` is what it signed, None when that cannot be read.

        Raises:
            UntrustedError: the key is revoked and what it signed does not stand.
        """
        at = int(self._now())
        if envelope is None:
            self._homes.book.require(chain, kid, Signed(at=at))
            return
        signed = Signed(at=at, stream=envelope.stream, epoch=envelope.epoch, seq=envelope.seq)
        self._homes.book.require(chain, kid, signed)


class Now(Protocol):
    """Gives POSIX seconds."""

    def __call__(self) -> float: ...


class Revoking:
    """Keeps the lists of others."""

    def __init__(self, *, office: Office) -> None:
        self._office = office

    def judge(self) -> KeyJudge:
        """Return what decides about the keys of messages that arrive."""
        return KeyJudge(self._office.homes, self._office.clock.now)

    def learn(self, chain: VerifiedChain, revocations: Sequence[str], histories: Sequence[str]) -> None:
        """Take in the lists that came along with a chain, from the root down.

        Each is stored by itself: what is said against the one who hands the rest on is kept, though the rest is not.
        Passed over is a list older than the one known, because who hands it on may not have heard of the newer one
        yet; and one whose signer has left the issuer's statement, until the issuer signs it anew.

        Raises:
            UntrustedError: a list is of nobody in the chain, does not hold, or is another one of a version known; or
                the chain rests on a key that is revoked.
        """
        office = self._office
        for token in reversed(revocations):
            above = _above(chain, read_revocation(token).issuer_name, office.now())
            with _signed_anew_later(), office.store.write() as unit:
                self._take_list(unit, token, above)
        for token in reversed(histories):
            above = _above(chain, read_history(token).issuer_name, office.now())
            with _signed_anew_later(), office.store.write() as unit:
                self._take_history(unit, token, above)
        with office.store.read() as unit:
            unit.trust.book().require_chain(chain)

    def take(self, token: str, chain: VerifiedChain | Anchor) -> bool:
        """Take in one revocation list that came by another way, with the chain of its issuer; say whether it was new.

        Raises:
            UntrustedError: it does not hold, is older than the one known, or another one of the same version.
        """
        office = self._office
        with office.store.write() as unit:
            made = self._verified(unit, token, chain)
            new = made.issuer_name not in self._own() and unit.trust.put_revocation(made)
            if new:
                unit.touch()
        office.homes.refresh()
        return new

    def take_history(self, token: str, chain: VerifiedChain | Anchor) -> bool:
        """Take in one list of keys that came by another way, with the chain of its issuer; say whether it was new.

        Raises:
            UntrustedError: it does not hold, is older than the one known, or left out what that one said.
        """
        with self._office.store.write() as unit:
            return self._take_history(unit, token, chain)

    def revocation(self, issuer: Prefix | None) -> str | None:
        """Return the newest revocation list known of an issuer; None is the root."""
        with self._office.store.read() as unit:
            name = issuer.key if issuer else ROOT_NAME
            found = unit.trust.revocation(name)
        return found[2] if found else None

    def history(self, prefix: Prefix) -> str | None:
        """Return the newest list known of all keys of a prefix."""
        with self._office.store.read() as unit:
            found = unit.trust.key_list(prefix)
        return found[2] if found else None

    def lists(self, prefix: Prefix) -> tuple[tuple[SignedList, ...], tuple[SignedList, ...]]:
        """Return the revocation lists above a prefix and the lists of keys along its chain: what evidence needs."""
        with self._office.store.read() as unit:
            revocations, histories = self._office.lists(unit, prefix)
        return (
            tuple(SignedList(token, self._chain(read_revocation(token).issuer)) for token in revocations),
            tuple(SignedList(token, self._chain(read_history(token).issuer)) for token in histories),
        )

    def stale(self) -> tuple[str, ...]:
        """Return the issuers whose newest list has expired; a warning, the lists keep their force."""
        return self._office.homes.book.stale(self._office.now())

    def _take_list(self, unit: PrefixUnit, token: str, above: VerifiedChain | Anchor) -> None:
        made = self._verified(unit, token, above)
        known = unit.trust.revocation(made.issuer_name)
        if made.issuer_name in self._own() or (known and known[1] and made.ver < known[0]):
            return
        if unit.trust.put_revocation(made):
            unit.touch()

    def _verified(self, unit: PrefixUnit, token: str, above: VerifiedChain | Anchor) -> RevocationList:
        made = verify_revocation(token, above, now=self._office.now())
        _require_unrevoked(unit, above, made)
        return made

    def _take_history(self, unit: PrefixUnit, token: str, above: VerifiedChain | Anchor) -> bool:
        made = verify_history(token, above, now=self._office.now())
        _require_unrevoked(unit, above, made)
        known = unit.trust.key_list(made.subject)
        if made.issuer_name in self._own() or (known and known[1] and made.ver < known[0]):
            return False
        if known and known[1]:
            made.require_grown(read_history(known[2]))
        return unit.trust.put_key_list(made)

    def _chain(self, issuer: Prefix | None) -> tuple[str, ...]:
        """Return the chain of an issuer in this node's own chains."""
        homes = self._office.homes
        if issuer is None:
            return ()
        for home in homes.all():
            chain = homes.chain(home.prefix)
            for number, token in enumerate(chain):
                if read(token).subject == issuer:
                    return chain[number:]
        return ()

    def _own(self) -> frozenset[str]:
        """Return the issuers whose lists are made on this very node; nobody tells it about those."""
        return frozenset(made.parent.key for made in self._office.homes.delegations())


@contextmanager
def _signed_anew_later() -> Iterator[None]:
    """Leaving a list out is nothing that whoever hands it on could not do anyway; a wrong one is refused."""
    try:
        yield
    except UntrustedError as error:
        if error.code != "registry.trust.kid_unknown":
            raise


def _above(chain: VerifiedChain, issuer: str, now: float) -> VerifiedChain | Anchor:
    """Return the part of a chain that vouches for an issuer in it."""
    if issuer == ROOT_NAME:
        return chain.anchor
    for number, statement in enumerate(chain.statements):
        if statement.subject.key == issuer:
            return verify_chain(chain.tokens[number:], anchor=chain.anchor, now=now) if number else chain
    raise UntrustedError(
        "registry.trust.list_issuer", field="iss", value=issuer, right=chain.statements[-1].subject.key
    )


def _require_unrevoked(
    unit: PrefixUnit, above: VerifiedChain | Anchor, made: RevocationList | KeyHistory
) -> None:
    """Refuse a list by a key that its issuer's own superior revoked."""
    superior = ROOT_NAME if isinstance(above, Anchor) else above.leaf.issuer_name
    entry = unit.trust.find_revoked(superior, made.kid)
    if entry is not None and not stands(entry, Signed(at=made.iat)):
        raise UntrustedError(
            "registry.trust.key_revoked",
            field="kid",
            kid=made.kid,
            subject=made.issuer_name,
            at=entry.revoked_at,
        )
