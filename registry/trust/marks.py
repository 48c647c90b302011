"""High-water marks: the newest statement seen about each prefix, so that an older one can never come back.

A mark is raised once a statement is known to be its issuer's own and rightful, before it is used, and also when it
has expired: the last version seen stays the last. One prefix has one superior: a second issuer is refused, whatever
its version says.

Who steals the keys of an issuer can sign a version so high that the issuer never gets past it. The cure needs
nobody's help but the superior's: when its statement replaces every key that signed for the issuer, the marks under
the issuer are forgotten.
"""

import threading
from dataclasses import dataclass
from typing import Protocol

from registry.errors import UntrustedError

__all__ = ["Act", "Mark", "Marks", "MemoryMarks", "advances", "replaces"]


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest statement seen about `subject`.

    Attributes:
        issuer: folded prefix of its superior; `0.NA` for the root.
        subject: folded prefix.
        ver: version of the statement.
        sha256: base64url SHA-256 of its signing input.
    """

    issuer: str
    subject: str
    ver: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Act:
    """What else a memory of statements wants to know of the statement it is shown.

    Attributes:
        kid: the issuer's key that signed it.
        iat: when it says it was signed; POSIX seconds.
        keys: thumbprints of the keys with which the subject may sign from then on.
        listed: thumbprints of all its signing keys, those included that signed earlier only.
    """

    kid: str
    iat: int
    keys: frozenset[str]
    listed: frozenset[str]


class Marks(Protocol):
    """Where marks are kept; implementations decide by `advances` and `replaces`.

    Consistency: serialised; of two callers with different statements of one version, one is refused. Durability:
    the mark survives power loss once `raise_to` returned. Concurrency: any number of threads and processes.
    Errors: UntrustedError when the statement must not be used, UnavailableError when the mark cannot be stored.
    """

    def raise_to(self, issuer: str, subject: str, ver: int, sha256: str, act: Act | None = None) -> None:
        """Remember that this statement was seen; forget the marks under a subject whose keys were all replaced.

        Raises:
            UntrustedError: the subject has another superior, a newer version was seen, or this one with other
                content; or the key that signed was revoked.
        """
        ...


def advances(known: Mark | None, seen: Mark) -> bool:
    """Say whether `seen` must be stored in place of `known`, the mark of the same subject.

    Raises:
        UntrustedError: another superior; older than `known` (rollback); the same version with other content
            (equivocation).
    """
    if known is None:
        return True
    if seen.issuer != known.issuer:
        raise UntrustedError(
            "registry.trust.two_superiors",
            field="iss",
            subject=seen.subject,
            value=seen.issuer,
            right=known.issuer,
        )
    if seen.ver < known.ver:
        raise UntrustedError(
            "registry.trust.rolled_back", field="ver", subject=seen.subject, value=seen.ver, right=known.ver
        )
    if seen.ver == known.ver and seen.sha256 != known.sha256:
        raise UntrustedError("registry.trust.equivocation", field="ver", subject=seen.subject, value=seen.ver)
    return seen.ver > known.ver


def replaces(known: frozenset[str], act: Act) -> bool:
    """Say whether of the keys `known` to sign for a subject none is left in its next statement, not even as history.

    As long as one is left, what it signed still verifies, so an older version could come back.
    """
    return bool(known) and known.isdisjoint(act.listed)


class MemoryMarks:
    """Marks that live as long as the process: for a verifier that keeps no state."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}
        self._keys: dict[str, frozenset[str]] = {}
        self._lock = threading.RLock()

    def raise_to(self, issuer: str, subject: str, ver: int, sha256: str, act: Act | None = None) -> None:
        """Remember that this statement was seen.

        Raises:
            UntrustedError: as `advances`.
        """
        seen = Mark(issuer, subject, ver, sha256)
        with self._lock:
            newer = advances(self._marks.get(subject), seen)
            if newer:
                self._marks[subject] = seen
            if act is not None and (newer or subject not in self._keys):
                if replaces(self._keys.get(subject, frozenset()), act):
                    self.reset(subject)
                self._keys[subject] = act.keys

    def reset(self, issuer: str) -> None:
        """Forget the marks under an issuer whose signing keys its superior has all replaced.

        Who held the old keys may have signed a version so high that nobody can go past it; this is the cure.
        """
        with self._lock:
            self._marks = {name: mark for name, mark in self._marks.items() if mark.issuer != issuer}
