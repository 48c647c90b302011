"""What becomes of an event that comes in, decided from what is known; no I/O.

Rules (the project's facts file on traceability, section 4, "Duplicates"):

- the CBV hash is the event's own key: the same hash without a declaration is the same event again;
- a known id with other content is a contradiction: both are kept, only the first is booked;
- an error declaration with the hash of a known event makes that event void; with a known id and another hash it is
  refused; a second one for the same event is refused; one that comes ahead of its event waits for it;
- an event whose declaration came first is void from the start.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from node.flow.capture.job import Fault

__all__ = ["Decision", "Intake", "Known", "Verdict"]


@dataclass(slots=True)
class Known:
    """One stored event or declaration, as far as it matters here.

    Attributes:
        number: its number in the book.
        other: of an event the declaration that made it void, of a declaration its event; 0: none.
    """

    number: int
    hash: bytes
    declares: bool
    event_id: str
    contradicts: bool
    other: int


class Verdict(Enum):
    """What to do with an event."""

    BOOK = "book"
    #: store and do not book: its declaration is here already
    VOID = "void"
    #: store beside the event of the same id, and do not book
    KEEP = "keep"
    #: a declaration: store it, and take back what its event said
    TAKE_BACK = "take_back"
    #: a declaration ahead of its event: store it
    HOLD = "hold"
    #: nothing is stored
    PASS = "pass"  # noqa: S105 — no password


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, with whom it has to do, and what is said about it."""

    verdict: Verdict
    target: Known | None = None
    fault: Fault | None = None
    #: a declaration waits under this id for other content
    declared_otherwise: bool = False


@dataclass(slots=True)
class Intake:
    """What is known of a book, kept up to date while a document is taken in."""

    _by_hash: dict[tuple[bytes, bool], Known] = field(default_factory=dict)
    _by_id: dict[tuple[str, bool], Known] = field(default_factory=dict)

    def learn(self, known: Iterable[Known]) -> None:
        """Take note of what is stored; earlier ones first."""
        for one in known:
            self._by_hash.setdefault((one.hash, one.declares), one)
            self._by_id.setdefault((one.event_id, one.declares), one)

    def decide(self, event_hash: bytes, event_id: str, *, declares: bool) -> Decision:
        """Return what becomes of an event or declaration."""
        same = self._by_hash.get((event_hash, declares))
        if same is not None:
            return Decision(Verdict.PASS, same, Fault.DECLARED_AGAIN if declares else Fault.REPEATED)
        return self._declaration(event_hash, event_id) if declares else self._event(event_hash, event_id)

    def _declaration(self, event_hash: bytes, event_id: str) -> Decision:
        declared = self._by_hash.get((event_hash, False))
        if declared is not None:
            return Decision(Verdict.TAKE_BACK, declared)
        named = self._by_id.get((event_id, False))
        if named is not None:
            return Decision(Verdict.PASS, named, Fault.DECLARED_OTHERWISE)
        return Decision(Verdict.HOLD)

    def _event(self, event_hash: bytes, event_id: str) -> Decision:
        declaration = self._by_hash.get((event_hash, True))
        if declaration is not None:
            return Decision(Verdict.VOID, declaration)
        named = self._by_id.get((event_id, False))
        if named is not None:
            return Decision(Verdict.KEEP, named, Fault.SAME_ID)
        waiting = self._by_id.get((event_id, True))
        return Decision(Verdict.BOOK, declared_otherwise=waiting is not None and not waiting.other)
