"""High-water marks: the newest statement seen about each prefix, so that an older one can never come back.

A mark is raised once a statement is known to be its issuer's own and rightful, before it is used, and also when it
has expired: the last version seen stays the last. One prefix has one superior: a second issuer is refused, whatever
its version says.
"""

import threading
from dataclasses import dataclass
from typing import Protocol

from registry.errors import UntrustedError

__all__ = ["Mark", "Marks", "MemoryMarks", "advances"]


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


class Marks(Protocol):
    """Where marks are kept; implementations decide by `advances`.

    Consistency: serialised; of two callers with different statements of one version, one is refused. Durability:
    the mark survives power loss once `raise_to` returned. Concurrency: any number of threads and processes.
    Errors: UntrustedError when the statement must not be used, UnavailableError when the mark cannot be stored.
    """

    def raise_to(self, issuer: str, subject: str, ver: int, sha256: str) -> None:
        """Remember that this statement was seen.

        Raises:
            UntrustedError: the subject has another superior, a newer version was seen, or this one with other
                content.
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


class MemoryMarks:
    """Marks that live as long as the process: for a verifier that keeps no state."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}
        self._lock = threading.Lock()

    def raise_to(self, issuer: str, subject: str, ver: int, sha256: str) -> None:
        """Remember that this statement was seen.

        Raises:
            UntrustedError: as `advances`.
        """
        seen = Mark(issuer, subject, ver, sha256)
        with self._lock:
            if advances(self._marks.get(subject), seen):
                self._marks[subject] = seen

    def reset(self, issuer: str) -> None:
        """Forget the marks under an issuer whose signing keys its superior has all replaced.

        Who held the old keys may have signed a version so high that nobody can go past it; this is the cure.
        """
        with self._lock:
            self._marks = {name: mark for name, mark in self._marks.items() if mark.issuer != issuer}
