"""The words of the ledger: accounts, lines, and what is noted about an event."""

from collections.abc import Mapping
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

__all__ = ["NOTE_NAMES", "Account", "Booking", "Count", "Leg", "Line", "Note", "Side"]


class Account(IntEnum):
    """Where a quantity is, or what became of it; the number is what the table holds."""

    STOCK = 1
    TRANSIT = 2
    RUN = 3
    PRODUCED = 4
    USED = 5
    DESTROYED = 6
    SAMPLED = 7
    LOST = 8
    ADJUSTED = 9
    RETIRED = 10
    #: the book of ownership, which never meets the others
    OWNED = 11


class Line(NamedTuple):
    """One half of a move: so much of a batch more (or less) on one account.

    Attributes:
        line: its number within the event, from 0.
        holder: who has it; a prefix where the party belongs to one.
        document: the waybill for what is in transit, the run for what is in a run.
        uom: as written; a count is `H87`.
        kg: the mass, where the unit says it or a density with its temperature was recorded.
        t_event: microseconds since 1970; `t_record` likewise.
        reverses: id of the event whose line this takes back.
    """

    event_id: str
    line: int
    account: Account
    holder: str
    location: str
    document: str
    batch: str
    qty: Decimal
    uom: str
    kg: Decimal | None
    t_event: int
    t_record: int
    reverses: str | None

    def negated(self) -> "Line":
        """Return the line that takes this one back."""
        kg = None if self.kg is None else -self.kg
        return self._replace(qty=-self.qty, kg=kg)


class Side(IntEnum):
    """The two ends of a transport."""

    DISPATCH = 1
    RECEIPT = 2


class Leg(NamedTuple):
    """A move that counts only while no event says the same with more authority.

    A load that is `shipping` and then `departing` under one waybill left once; one that is `arriving` and then
    `receiving` came once, with the quantity received.
    """

    document: str
    batch: str
    side: Side
    rank: int
    lines: tuple[Line, Line]


class Count(NamedTuple):
    """What somebody counted: the stock is this much then, whatever was booked before."""

    holder: str
    location: str
    batch: str
    qty: Decimal
    uom: str
    kg: Decimal | None


class Note(NamedTuple):
    """Something about an event that a person must see; it changes no figure."""

    name: str
    detail: Mapping[str, str]


#: Every note that there is; each has its text in the catalogue `flow_ledger`.
NOTE_NAMES = frozenset({
    "unknown_unit", "no_quantity", "negative_quantity", "quantity_too_long", "future_time", "foreign_identifier",
    "mass_unknown", "own_ingredient", "cycle", "same_id", "declared_otherwise", "same_place",
})  # fmt: skip


class Booking(NamedTuple):
    """What an event says about quantities."""

    lines: tuple[Line, ...]
    legs: tuple[Leg, ...]
    counts: tuple[Count, ...]
    notes: tuple[Note, ...]
