"""Does the quantity close? Between two parties, along a chain, over an own day, in a network.

- Two parties: `z = (sent - received - L) / sqrt(u_s^2 + u_r^2 + u_L^2)`, L the allowed loss; open when |z| exceeds
  the limit. Apart from it the discrepancy of 40 CFR 264.72: bulk by more than 10 % of weight, any difference of
  pieces, an obvious difference of kind; not reconciled 15 days after receipt, it is to be reported.
- A chain: each leg like two parties, and the whole: small losses of one sign add up.
- A day of one holder, place and product: opening + produced + received - shipped - used - lost = closing, and
  tomorrow opens with what today closed with.
- A network: `reconciliation`.

Quantities are kilograms. Incremental: each delivery, chain, day or network is judged by itself, a day with its
neighbours.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise

from node.flow.models.checks import distinct, instant, name, number, some
from node.flow.models.model import Finding, Grade, Incremental, Input, Model, Result, own, ruled, stamp
from node.flow.models.reconciliation import Balance, Reconciliation, Stream, reconcile
from registry.errors import InvalidValueError

__all__ = ["MODEL", "Chain", "Day", "Delivery", "Network", "Weighing", "incremental", "run", "two_party"]

_RULE = "40 CFR 264.72"
_MOST_PERCENT = 1e6


@dataclass(frozen=True, slots=True)
class Delivery:
    """One consignment and its receipt; masses and standard uncertainties in kg."""

    subject: str
    sender: str
    receiver: str
    sent: float
    received: float
    received_at: datetime
    u_sent: float = 0.0
    u_received: float = 0.0
    allowed_loss: float = 0.0
    u_loss: float = 0.0
    bulk: bool = True
    pieces_sent: int | None = None
    pieces_received: int | None = None
    kind_sent: str | None = None
    kind_received: str | None = None
    reconciled: bool = False


@dataclass(frozen=True, slots=True)
class Weighing:
    """The mass of a consignment as one party saw it, in the order in which it passed them."""

    party: str
    mass: float
    uncertainty: float
    allowed_loss: float = 0.0  # since the weighing before


@dataclass(frozen=True, slots=True)
class Chain:
    """A consignment on its way through several hands."""

    subject: str
    at: datetime
    weighings: tuple[Weighing, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """The books of one holder, place and product (`subject`) for one day, kg; `uncertainty` of the whole balance."""

    subject: str
    day: date
    opening: float
    produced: float
    received: float
    shipped: float
    used: float
    lost: float
    closing: float
    uncertainty: float = 0.0


@dataclass(frozen=True, slots=True)
class Network:
    """Streams and balances of several places over one period."""

    subject: str
    streams: tuple[Stream, ...]
    balances: tuple[Balance, ...]
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)


Item = Delivery | Chain | Day | Network


def two_party(delivery: Delivery) -> float:
    """Return z: what is missing beyond the allowed loss, in standard uncertainties.

    Raises:
        InvalidValueError: a quantity is missing, negative or no number, or all uncertainties are zero.
    """
    where = f"deliveries.{name(delivery.subject, 'deliveries.subject')}"
    figures = {
        one: number(getattr(delivery, one), f"{where}.{one}", least=0)
        for one in ("sent", "received", "allowed_loss", "u_sent", "u_received", "u_loss")
    }
    spread = math.hypot(figures["u_sent"], figures["u_received"], figures["u_loss"])
    if spread == 0:
        raise InvalidValueError("node.flow_models.no_uncertainty", field=f"{where}.u_sent")
    missing = figures["sent"] - figures["received"] - figures["allowed_loss"]
    return number(missing / spread, f"{where}.u_sent")  # so small a spread is no uncertainty


def run(items: Sequence[Item], parameters: Mapping[str, float] | None = None, *, at: datetime) -> Result:
    """Judge deliveries, chains, days and networks.

    Args:
        items: in any order; each subject once, a day once per subject.
        parameters: the node's own values.
        at: the instant of the judgement.

    Raises:
        InvalidValueError: an item is not usable, or comes twice.
    """
    settings = MODEL.settings(instant(at, "at").date(), parameters)
    distinct((f"{type(one).__name__} {one.subject} {getattr(one, 'day', '')}" for one in items), "items")
    groups: dict[Hashable, list[Item]] = {}
    for one in items:
        groups.setdefault(_group(one), []).append(one)
    found = [finding for group in groups.values() for finding in _assess(group, settings, at)]
    return MODEL.result(at, settings, found, judged=len(items))


def incremental(parameters: Mapping[str, float] | None, *, at: datetime) -> Incremental[Item]:
    """Return the model for items one by one; parameters are those of `at`."""
    settings = MODEL.settings(at.date(), parameters)

    def assess(items: Sequence[Item], now: datetime) -> list[Finding]:
        distinct((f"{one.subject} {getattr(one, 'day', '')}" for one in items), "items")
        return _assess(items, settings, now)

    return Incremental(assess, _group)


def _group(item: Item) -> Hashable:
    return (type(item).__name__, item.subject)


def _assess(items: Iterable[Item], p: Mapping[str, float], at: datetime) -> list[Finding]:
    found: list[Finding] = []
    days = []
    for item in items:
        if isinstance(item, Delivery):
            found += _delivery(item, p, at)
        elif isinstance(item, Chain):
            found += _chain(item, p)
        elif isinstance(item, Network):
            found += _network(item, p, at)
        else:
            days.append(item)
    return found + _days(days, p, at)


def _delivery(d: Delivery, p: Mapping[str, float], at: datetime) -> list[Finding]:
    since = instant(d.received_at, f"deliveries.{d.subject}.received_at")
    z = two_party(d)
    missing, found, wrong = d.sent - d.received, [], []
    if abs(z) > p["z_limit"]:
        kind = "closure_shortage" if z > 0 else "closure_surplus"
        grade = Grade.ORANGE if z > 0 else Grade.YELLOW
        found.append(
            MODEL.finding(
                kind, d.subject, grade, since,
                sender=d.sender, receiver=d.receiver, sent=d.sent, received=d.received, difference=abs(missing),
                allowed=d.allowed_loss, z=z, limit=p["z_limit"], percent=_percent(missing, d.sent),
            )
        )  # fmt: skip
    percent = _percent(missing, d.sent)
    if d.bulk and percent > p["bulk_percent"]:
        wrong.append("weight")
    pieces = _pieces(d)
    if abs(pieces) > p["pieces"]:
        wrong.append("pieces")
    if d.kind_sent is not None and d.kind_received is not None and d.kind_sent != d.kind_received:
        wrong.append("kind")
    facts = {
        "sender": d.sender, "receiver": d.receiver, "percent": percent, "pieces": pieces, "differs": ", ".join(wrong),
        "kinds": f"{d.kind_sent or '–'} → {d.kind_received or '–'}", "since": stamp(since),
    }  # fmt: skip
    if wrong:
        found.append(MODEL.finding("closure_discrepancy", d.subject, Grade.ORANGE, since, **facts))
        due = since + timedelta(days=p["reconcile_days"])
        if not d.reconciled and at > due:
            found.append(
                MODEL.finding(
                    "closure_unreconciled", d.subject, Grade.RED, due, days=p["reconcile_days"], **facts
                )
            )
    return found


def _pieces(d: Delivery) -> int:
    if d.pieces_sent is None or d.pieces_received is None:
        return 0
    where = f"deliveries.{d.subject}"
    sent = number(d.pieces_sent, f"{where}.pieces_sent", least=0)
    return int(sent - number(d.pieces_received, f"{where}.pieces_received", least=0))


def _percent(missing: float, sent: float) -> float:
    """Return a difference in percent of what was sent, at most `_MOST_PERCENT`: also when nothing was sent."""
    if missing == 0:
        return 0.0
    return min(abs(missing) / max(sent, abs(missing) * 100 / _MOST_PERCENT) * 100, _MOST_PERCENT)


def _chain(chain: Chain, p: Mapping[str, float]) -> list[Finding]:
    where = f"chains.{name(chain.subject, 'chains.subject')}"
    at = instant(chain.at, f"{where}.at")
    some(chain.weighings, f"{where}.weighings", 2)
    for i, one in enumerate(chain.weighings):
        number(one.mass, f"{where}.weighings[{i}].mass", least=0)
        number(one.uncertainty, f"{where}.weighings[{i}].uncertainty", above=0)
        number(one.allowed_loss, f"{where}.weighings[{i}].allowed_loss", least=0)
    found, legs = [], []
    for i, (one, other) in enumerate(pairwise(chain.weighings)):
        missing = one.mass - other.mass - other.allowed_loss
        z = missing / math.hypot(one.uncertainty, other.uncertainty)
        legs.append((missing, one.party, other.party))
        if abs(z) > p["z_limit"]:
            found.append(
                MODEL.finding(
                    "closure_leg", chain.subject, Grade.ORANGE, at, str(i),
                    leg=i + 1, sender=one.party, receiver=other.party, difference=one.mass - other.mass, z=z,
                    limit=p["z_limit"],
                )
            )  # fmt: skip
    first, last = chain.weighings[0], chain.weighings[-1]
    allowed = sum(one.allowed_loss for one in chain.weighings[1:])
    total = first.mass - last.mass
    z = (total - allowed) / math.hypot(first.uncertainty, last.uncertainty)
    if abs(z) > p["z_limit"] and len(legs) > 1:
        worst = max(legs, key=lambda leg: abs(leg[0]))
        found.append(
            MODEL.finding(
                "closure_chain", chain.subject, Grade.ORANGE, at,
                legs=len(legs), sender=first.party, receiver=last.party, difference=total, allowed=allowed, z=z,
                limit=p["z_limit"], worst=f"{worst[1]} → {worst[2]}", worst_difference=worst[0],
            )
        )  # fmt: skip
    return found


def _days(days: Sequence[Day], p: Mapping[str, float], at: datetime) -> list[Finding]:
    found = []
    ordered = sorted(days, key=lambda one: one.day)
    for one in ordered:
        left = _left(one)
        if abs(left) > max(p["z_limit"] * one.uncertainty, p["book_kg"]):
            found.append(
                MODEL.finding(
                    "closure_day", one.subject, Grade.ORANGE, at, one.day.isoformat(),
                    day=one.day.isoformat(), left=left, opening=one.opening, produced=one.produced,
                    received=one.received, shipped=one.shipped, used=one.used, lost=one.lost, closing=one.closing,
                )
            )  # fmt: skip
        if one.closing < 0 or one.opening < 0:
            found.append(
                MODEL.finding(
                    "closure_negative", one.subject, Grade.ORANGE, at, one.day.isoformat(),
                    day=one.day.isoformat(), opening=one.opening, closing=one.closing,
                )
            )  # fmt: skip
    for one, other in pairwise(ordered):
        gap = other.opening - one.closing
        if other.day - one.day == timedelta(days=1) and abs(gap) > p["book_kg"]:
            found.append(
                MODEL.finding(
                    "closure_night", one.subject, Grade.YELLOW, at, other.day.isoformat(),
                    day=other.day.isoformat(), closing=one.closing, opening=other.opening, difference=gap,
                )
            )  # fmt: skip
    return found


def _left(day: Day) -> float:
    where = f"days.{name(day.subject, 'days.subject')}"
    for one in ("produced", "received", "shipped", "used", "lost", "uncertainty"):
        number(getattr(day, one), f"{where}.{one}", least=0)
    for one in ("opening", "closing"):  # a negative stock is a finding, not a refusal
        number(getattr(day, one), f"{where}.{one}")
    plus = math.fsum((day.opening, day.produced, day.received))
    return plus - math.fsum((day.shipped, day.used, day.lost, day.closing))


def _network(network: Network, p: Mapping[str, float], at: datetime) -> list[Finding]:
    r = reconcile(network.streams, network.balances, network.correlations, alpha=p["alpha"])
    if r.closes:
        return []
    found = [
        MODEL.finding(
            "closure_network", network.subject, Grade.YELLOW, at,
            g=r.g, limit=r.limit, freedom=r.freedom, resolved=r.resolved,
        )
    ]  # fmt: skip
    for place, z in r.nodal.items():
        if z > r.nodal_limit:
            found.append(
                MODEL.finding(
                    "closure_place", place, Grade.YELLOW, at, network.subject,
                    network=network.subject, z=z, limit=r.nodal_limit, difference=r.residuals[place],
                )
            )  # fmt: skip
    return found + _meters(network, r, at)


def _meters(network: Network, r: Reconciliation, at: datetime) -> list[Finding]:
    owners = {stream.name: stream.owner for stream in network.streams}
    return [
        MODEL.finding(
            "closure_meter", one.streams[0], Grade.ORANGE, at, network.subject,
            network=network.subject, owner=owners[one.streams[0]], measured=one.measured,
            estimate=one.estimate, expected="–" if one.estimate is None else f"{one.estimate:.6g}",
            z=one.statistic, alike=", ".join(one.streams[1:]) or "–",
        )
        for one in r.gross
    ]  # fmt: skip


MODEL = Model(
    name="closure",
    version="1.0",
    inputs=(
        Input("deliveries", "kg", required=False),
        Input("chains", "kg", required=False),
        Input("days", "kg", required=False),
        Input("networks", "kg", required=False),
    ),
    parameters=(
        own("z_limit", "1", 3.0, least=1.0),
        own("alpha", "1", 0.05, least=1e-6, most=0.5),
        own("book_kg", "kg", 0.5),
        ruled("bulk_percent", "%", 10.0, _RULE, "(a)(1)"),
        ruled("pieces", "1", 0.0, _RULE, "(a)(1)"),
        # a rule of 2024 revised the reporting; the new figure is not confirmed, so the old one stands
        ruled("reconcile_days", "d", 15.0, _RULE, "(c)", confirmed=False),
    ),
    run=run,
)
