"""A capture job: what came, what became of it, and what was wrong, event by event."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from registry.language import Language, text

__all__ = ["Behaviour", "CaptureError", "CaptureJob", "Fault"]


class Behaviour(Enum):
    """What one refused event means for the others of its document; words of the EPCIS binding."""

    ROLLBACK = "rollback"
    PROCEED = "proceed"


class Fault(Enum):
    """What can be wrong with an event that is valid in itself; the value names the text in `flow_capture`."""

    #: the same event again: nothing is stored a second time
    REPEATED = "repeated"
    #: another event under a known id: both are kept, the later one is not booked
    SAME_ID = "same_id"
    #: an event was declared void a second time
    DECLARED_AGAIN = "declared_again"
    #: an error declaration whose content is not that of the event it names
    DECLARED_OTHERWISE = "declared_otherwise"
    #: a name in it is longer than the tables take
    NAME_LONG = "name_long"

    @property
    def refuses(self) -> bool:
        """Whether the event is not taken, so that `rollback` stores nothing of its document."""
        return self in {Fault.DECLARED_AGAIN, Fault.DECLARED_OTHERWISE, Fault.NAME_LONG}

    @property
    def exception(self) -> str:
        """What the EPCIS binding calls it."""
        repeated = self in {Fault.REPEATED, Fault.SAME_ID, Fault.DECLARED_AGAIN}
        return "ResourceAlreadyExistsException" if repeated else "ValidationException"


@dataclass(frozen=True, slots=True)
class CaptureError:
    """What was wrong with one event of a document.

    Attributes:
        position: its place in the document, from 0.
    """

    position: int
    event_id: str
    fault: Fault
    facts: Mapping[str, str]

    def message(self, language: Language = "zh") -> str:
        """Return it in words."""
        return text(
            f"node.flow_capture.{self.fault.value}",
            language,
            position=self.position,
            event_id=self.event_id,
            **self.facts,
        )


@dataclass(frozen=True, slots=True)
class CaptureJob:
    """A job of one book; every job here has ended when it is first seen, because capture is one transaction.

    Attributes:
        capture_id: unique within the book.
        created_at: microseconds since 1970, as `finished_at`.
        success: False when an event was refused.
        stored: how many events and declarations were stored.
        again: the same document had been captured before: this is its first job.
    """

    capture_id: str
    created_at: int
    finished_at: int
    success: bool
    behaviour: Behaviour
    stored: int
    errors: tuple[CaptureError, ...]
    again: bool = False

    @property
    def running(self) -> bool:
        """Whether it is still going on: never, here."""
        return False
