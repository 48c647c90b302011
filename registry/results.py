"""What the registry answers to those who write, list, search and look back."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from registry.documents import to_form
from registry.errors import HazlinkError
from registry.identifier import Identifier
from registry.record import Record

__all__ = ["AuditEntry", "Change", "Done", "IfPresent", "Page", "Result", "SetMode"]


class IfPresent(Enum):
    """What to do when a record already stands under the identifier; the numbers are those of the RPC."""

    CONFIRM = 0  # same content: success, nothing changes; other content: refused
    REPLACE = 1  # other content: a new version


class SetMode(Enum):
    """How single values are set; the numbers are those of the RPC."""

    PUT = 0  # add or replace
    ADD = 1  # refuse an index that is taken
    MODIFY = 2  # refuse an index that is not there


class Done(Enum):
    """What became of one request; the numbers are those of the RPC."""

    CREATED = 1
    CHANGED = 2
    UNCHANGED = 3
    REFUSED = 4


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one draft.

    Attributes:
        identifier: as it was given.
        version: of the record as it stands now; 0 when refused.
        error: why it was refused.
    """

    identifier: str
    done: Done
    version: int = 0
    error: HazlinkError | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some identifiers in the order of their match keys, and where the next page begins (None: no more)."""

    identifiers: tuple[Identifier, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change.

    Attributes:
        position: gapless, growing; the place in the change table.
        identifier: match key of the changed record.
        version: its version after the change.
        status: `registry.record.Status` after the change, as a number.
        at: POSIX seconds.
    """

    position: int
    identifier: str
    version: int
    status: int
    at: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changed what, when, before and after.

    Attributes:
        action: `register`, `replace`, `set`, `remove`, `withdraw`, `delete`, `resign` or `copy`.
        before: the record as it stood; None when there was none.
        after: the record as it stood then; its signature only when it is the live version.
    """

    position: int
    at: int
    who: str
    action: str
    identifier: Identifier
    before: Record | None
    after: Record | None

    def to_form(self) -> dict[str, Any]:
        """Return the entry as JSON data."""
        return {
            "position": self.position,
            "at": self.at,
            "who": self.who,
            "action": self.action,
            "identifier": self.identifier.text,
            "before": to_form(self.before) if self.before else None,
            "after": to_form(self.after) if self.after else None,
        }
