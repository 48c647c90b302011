"""Statutory flow registers: what must be reported, to when, by which rule; and the register as a table.

Rules (the project's facts files, "Statutory registers"; each deadline with its source, clause and dates of effect
stands in `rules/statutory_registers.toml`):

- the rule in force on the day of the flow decides, in Beijing time, also for what is reported later;
- seller and buyer each report: what leaves to another party is a sale, what comes from one a purchase, by the event
  with most authority under a waybill; what the ledger books as lost is a loss. Transfers are told by who makes them;
- deadlines count calendar days: a flow on the 1st with 3 days is due by the end of the 4th;
- the id number of a handling person stays in the home node: a table has it only when it is asked for.
"""

import csv
import io
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cache
from importlib import resources
from typing import Any

from node.flow.events.event import Event
from node.flow.ledger.derive import derive, microseconds
from node.flow.ledger.lines import Account, Line, Side
from node.flow.ledger.parties import holder_of
from registry.language import Language, text

__all__ = [
    "Flow",
    "FlowKind",
    "Particulars",
    "Register",
    "RegisterEntry",
    "Rule",
    "Subject",
    "entries",
    "flows",
    "rule_for",
    "rules",
    "to_csv",
]

_BEIJING = timezone(timedelta(hours=8))
_COLUMNS = (
    "register", "flow", "day", "substance", "batch", "quantity", "unit", "kg", "party", "address", "handler",
    "use", "document", "due", "reported", "state", "rule", "keep_until",
)  # fmt: skip
#: What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Register(Enum):
    """The registers."""

    HIGHLY_TOXIC = "highly_toxic"
    EXPLOSIVE_PRECURSOR = "explosive_precursor"
    DRUG_PRECURSOR_1 = "drug_precursor_1"
    DRUG_PRECURSOR_2 = "drug_precursor_2"
    DRUG_PRECURSOR_3 = "drug_precursor_3"


class FlowKind(Enum):
    """What happened to the goods, in the words of the registers."""

    PRODUCTION = "production"
    SALE = "sale"
    PURCHASE = "purchase"
    TRANSFER = "transfer"
    USE = "use"
    LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Rule:
    """One deadline, with where it stands and when it is in force; `until` included, None: further on."""

    registers: frozenset[Register]
    flows: frozenset[FlowKind]
    since: date
    until: date | None
    days: int
    keep_years: int
    source: str
    clause: str

    def holds(self, register: Register, flow: FlowKind, day: date) -> bool:
        """Say whether this rule decides about a flow on a day."""
        in_force = self.since <= day and (self.until is None or day <= self.until)
        return in_force and register in self.registers and flow in self.flows


@dataclass(frozen=True, slots=True)
class Flow:
    """So much of a batch made, used, lost, or gone to or come from a party."""

    event_id: str
    time: datetime
    kind: FlowKind
    batch: str
    qty: Decimal
    uom: str
    kg: Decimal | None
    party: str
    document: str

    @property
    def day(self) -> date:
        """The day of it, in Beijing."""
        return self.time.astimezone(_BEIJING).date()


@dataclass(frozen=True, slots=True)
class Subject:
    """What a batch is, where a register asks for it."""

    substance: str
    registers: frozenset[Register]


@dataclass(frozen=True, slots=True)
class Particulars:
    """What a sales record has beside the flow; `handler_id` is personal and stays in the home node."""

    address: str = ""
    handler: str = ""
    handler_id: str = ""
    use: str = ""


@dataclass(frozen=True, slots=True)
class RegisterEntry:
    """One line of a register.

    Attributes:
        due: the last day to report; None where nothing has to be reported.
        reported: the day on which it was; None: not yet.
        keep_until: the record is kept until then.
    """

    register: Register
    flow: Flow
    substance: str
    rule: Rule | None
    due: date | None
    reported: date | None
    keep_until: date | None
    particulars: Particulars

    def state(self, today: date) -> str:
        """Return how it stands: recorded (nothing to report), reported, late, open or overdue."""
        if self.due is None:
            return "recorded"
        if self.reported is not None:
            return "reported" if self.reported <= self.due else "late"
        return "open" if today <= self.due else "overdue"


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule, in force or not."""
    source = resources.files("node.flow.ledger").joinpath("rules", "statutory_registers.toml")
    return tuple(_rule(row) for row in tomllib.loads(source.read_text("utf-8"))["rule"])


def rule_for(
    register: Register, kind: FlowKind, day: date, *, among: Sequence[Rule] | None = None
) -> Rule | None:
    """Return the rule that decides about a flow on a day; None where nothing has to be reported."""
    return next((rule for rule in among or rules() if rule.holds(register, kind, day)), None)


def flows(events: Iterable[Event], owner: str) -> tuple[Flow, ...]:
    """Return what the standing events of a book say in the words of the registers, the earliest first.

    Args:
        events: none of them void.
        owner: the prefix of the book, folded.
    """
    found: list[Flow] = []
    legs: dict[tuple[str, str, Side], list[tuple[int, Flow | None]]] = {}
    for event in events:
        booking = derive(event, owner, microseconds(event.time))
        step = {Side.DISPATCH: FlowKind.SALE, Side.RECEIPT: FlowKind.PURCHASE}
        for leg in booking.legs:
            flow = _traded(event, leg.lines[0 if leg.side is Side.DISPATCH else 1], step[leg.side], owner)
            legs.setdefault((leg.document, leg.batch, leg.side), []).append((leg.rank, flow))
        for line, other in zip(booking.lines[::2], booking.lines[1::2], strict=True):
            made = _booked(event, line, other, owner)
            if made is not None:
                found.append(made)
    for group in legs.values():
        top = max(rank for rank, _ in group)
        found.extend(flow for rank, flow in group if rank == top and flow is not None)
    return tuple(sorted(found, key=lambda flow: (flow.time, flow.event_id, flow.batch, flow.kind.value)))


def entries(
    some: Iterable[Flow],
    subjects: Mapping[str, Subject],
    *,
    reported: Mapping[tuple[str, Register], date] | None = None,
    particulars: Mapping[str, Particulars] | None = None,
    among: Sequence[Rule] | None = None,
) -> tuple[RegisterEntry, ...]:
    """Return the lines of the registers.

    Args:
        some: flows, in the order in which the lines shall stand.
        subjects: what each batch is; a batch that is not among them is on no register.
        reported: when an event was reported, by its id and register.
        particulars: what belongs to a sales record beside the flow, by the event's id.
        among: rules to decide by; else those of the product.
    """
    made = []
    for flow in some:
        subject = subjects.get(flow.batch)
        for register in sorted(subject.registers, key=lambda one: one.value) if subject else ():
            rule = rule_for(register, flow.kind, flow.day, among=among)
            made.append(
                RegisterEntry(
                    register=register,
                    flow=flow,
                    substance=subject.substance if subject else "",
                    rule=rule,
                    due=None if rule is None else flow.day + timedelta(days=rule.days),
                    reported=(reported or {}).get((flow.event_id, register)),
                    keep_until=None if rule is None else _years_on(flow.day, rule.keep_years),
                    particulars=(particulars or {}).get(flow.event_id, Particulars()),
                )
            )
    return tuple(made)


def to_csv(
    some: Iterable[RegisterEntry], *, today: date, language: Language = "zh", personal: bool = False
) -> str:
    """Return lines of registers as a table, with a first line that names the columns.

    Args:
        some: the lines.
        today: by which it is decided what is overdue.
        language: of the names of columns, registers, flows and states.
        personal: with the id numbers of handling persons; only for use in the home node.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = (*_COLUMNS, "handler_id") if personal else _COLUMNS
    writer.writerow([_word("column", name, language) for name in columns])
    for entry in some:
        row = _cells(entry, today, language)
        writer.writerow([_harmless(row[name]) for name in columns])
    return out.getvalue()


# -------------------------------------------------------------------------------------------------------------------


def _cells(entry: RegisterEntry, today: date, language: Language) -> dict[str, str]:
    flow, more, rule = entry.flow, entry.particulars, entry.rule
    return {
        "register": _word("register", entry.register.value, language),
        "flow": _word("flow", flow.kind.value, language),
        "day": flow.day.isoformat(),
        "substance": entry.substance,
        "batch": flow.batch,
        "quantity": f"{flow.qty:f}",
        "unit": flow.uom,
        "kg": "" if flow.kg is None else f"{flow.kg:f}",
        "party": flow.party,
        "address": more.address,
        "handler": more.handler,
        "handler_id": more.handler_id,
        "use": more.use,
        "document": flow.document,
        "due": "" if entry.due is None else entry.due.isoformat(),
        "reported": "" if entry.reported is None else entry.reported.isoformat(),
        "state": _word("state", entry.state(today), language),
        "rule": "" if rule is None else f"{rule.source}, {rule.clause}",
        "keep_until": "" if entry.keep_until is None else entry.keep_until.isoformat(),
    }


def _word(kind: str, name: str, language: Language) -> str:
    return text(f"node.flow_registers.{kind}_{name}", language)


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _traded(event: Event, line: Line, kind: FlowKind, owner: str) -> Flow | None:
    """Return a sale or purchase; None where the goods stay with their holder, or are not the owner's."""
    parties = event.destinations if kind is FlowKind.SALE else event.sources
    named = dict(reversed(parties))
    party = named.get("possessing_party") or named.get("owning_party") or ""
    if line.holder != owner or (party and holder_of(party) == owner):
        return None
    return _flow(event, line, kind, party)


def _booked(event: Event, line: Line, other: Line, owner: str) -> Flow | None:
    accounts = (line.account, other.account)
    if event.biz_step in {"shipping", "departing"} and accounts == (Account.STOCK, Account.TRANSIT):
        return _traded(event, line, FlowKind.SALE, owner)
    if event.biz_step in {"receiving", "arriving"} and accounts == (Account.TRANSIT, Account.STOCK):
        return _traded(event, other, FlowKind.PURCHASE, owner)
    if other.account is Account.LOST:
        return _flow(event, other, FlowKind.LOSS, "")
    if accounts in {(Account.PRODUCED, Account.STOCK), (Account.RUN, Account.STOCK)}:
        return _flow(event, other, FlowKind.PRODUCTION, "")
    if accounts in {(Account.STOCK, Account.RUN), (Account.STOCK, Account.USED)}:
        return _flow(event, other, FlowKind.USE, "")
    return None


def _flow(event: Event, line: Line, kind: FlowKind, party: str) -> Flow:
    kg = None if line.kg is None else abs(line.kg)
    return Flow(
        event.event_id, event.time, kind, line.batch, abs(line.qty), line.uom, kg, party, line.document
    )


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(
        registers=frozenset(Register(name) for name in row["registers"]),
        flows=frozenset(FlowKind(name) for name in row["flows"]),
        since=row["from"],
        until=row.get("to"),
        days=row["days"],
        keep_years=row["keep_years"],
        source=row["source"],
        clause=row["clause"],
    )


def _years_on(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        # 29 February
        return date(day.year + years, 3, 1)
