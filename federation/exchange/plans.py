"""What a lane says to do, and what it is told; decided in `lane`."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from federation.exchange.receipt import Receipt

__all__ = [
    "Answer",
    "Final",
    "Halt",
    "HaltReason",
    "Idle",
    "Need",
    "Notice",
    "Plan",
    "Result",
    "Send",
    "Supply",
    "Wait",
]

#: What the receiver asks for before it can go on.
Need: TypeAlias = Literal["session", "chain", "body", "epoch"]
HaltReason: TypeAlias = Literal["equivocation", "behind"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one token.

    Attributes:
        status: HTTP status of the line; 0: no answer.
        receipt: verified, and about this very envelope; None when unsigned.
        code: reason of an unsigned refusal.
        retry_after: seconds.
    """

    status: int
    receipt: Receipt | None = None
    code: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send the envelopes `first` … `first + count - 1` of `epoch`.

    Attributes:
        alone: to the URL of its own number; `count` is 1.
    """

    epoch: int
    first: int
    count: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Supply:
    """Give the receiver what it lacks, then call `supplied` or `failed`.

    Attributes:
        need: `session`: open one anew. `chain`: post the chain the envelope names, and the newest. `body`: upload
            the body. `epoch`: post again what there is of the older epoch, then the statements that open the later
            ones.
        epoch, seq: the envelope it is about; for `epoch` where the receiver stands.
    """

    need: Need
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Everything up to the last envelope is final."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Send nothing more; a person, or healing, has to act."""

    reason: HaltReason


Plan: TypeAlias = Send | Supply | Wait | Idle | Halt


@dataclass(frozen=True, slots=True)
class Final:
    """A number that is done.

    Attributes:
        again: it was done before; its receipt must be the one that is stored, byte for byte.
    """

    seq: int
    receipt: Receipt
    again: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator should know.

    Attributes:
        kind: `rejected` (a task), or an alarm: `route`, `refused`, `equivocation`, `behind`.
        seq: the envelope.
        code: as the receiver said it.
    """

    kind: Literal["rejected", "route", "refused", "equivocation", "behind"]
    seq: int
    code: str


@dataclass(frozen=True, slots=True)
class Result:
    """What an answer came to: receipts to store, in order, and what to tell."""

    finals: tuple[Final, ...]
    notices: tuple[Notice, ...]
