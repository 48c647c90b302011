"""What the receiver's order can come to, for one token; decided in `checks`."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from federation.exchange.envelope import Position
from federation.exchange.receipt import CODES, Expected, Line, Outcome
from federation.exchange.understanding import Rules
from registry.errors import HazlinkError
from registry.identifier import Prefix

__all__ = ["Accept", "Decision", "Duplicate", "Hold", "Known", "Refuse", "Reject"]


@dataclass(frozen=True, slots=True)
class Known:
    """A receipt that was given before.

    Attributes:
        iss: the sender of the envelope it was given for.
        env: the envelope's name.
        receipt: the token, as stored.
        code: what it says.
    """

    iss: Prefix
    env: str
    receipt: str
    code: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """No receipt: an unsigned line, and the sender tries again.

    Attributes:
        status: HTTP status.
        code: for machines.
        error: for people.
        retry_after: seconds, where another try makes sense only then.
    """

    status: int
    code: str
    error: HazlinkError
    retry_after: float | None = None

    def line(self) -> Line:
        """Return the line of the answer."""
        return Line.refusal(self.status, self.code, self.error, retry_after=self.retry_after)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The stored receipt again."""

    known: Known

    def line(self) -> Line:
        """Return the line of the answer."""
        return Line(CODES[self.known.code].status, self.known.receipt)


@dataclass(frozen=True, slots=True)
class Hold:
    """A signed receipt that uses up nothing: retry, misdirected, equivocation.

    Attributes:
        code: one of `CODES`.
        expected: what is waited for.
        other: for an equivocation the name of the envelope that stands there; both are kept as evidence.
        error: for the log and the operator.
    """

    code: str
    expected: Expected | None
    other: str | None = None
    error: HazlinkError | None = None

    @property
    def status(self) -> int:
        """The HTTP status of its line."""
        return CODES[self.code].status


@dataclass(frozen=True, slots=True)
class Reject:
    """A signed final rejection: the number is used up, the log gets its leaf.

    Attributes:
        code: one of `CODES`.
        error: for the operator.
        position: where it stands; for a payload that cannot be read the position of the URL.
    """

    code: str
    error: HazlinkError
    position: Position


@dataclass(frozen=True, slots=True)
class Accept:
    """Taken in.

    Attributes:
        code: `ok`, or why it is kept unapplied (`unknown_type`, `unknown_schema`).
        rules: the handler's, when it is understood.
        body: its content: JSON values, or bytes where it went beside as another media type.
        position: where it stands.
    """

    code: str
    rules: Rules | None
    body: Any
    position: Position

    @property
    def outcome(self) -> Outcome:
        """The outcome on the receipt."""
        return CODES[self.code].outcome


Decision: TypeAlias = Refuse | Duplicate | Hold | Reject | Accept
