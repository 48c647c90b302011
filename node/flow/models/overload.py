"""Does more travel, or arrive, than may?

- Net mass against the approved load, gross mass against the table by axles. A weighing is uncertain: the alarm is
  guarded, `Phi((m - T) / u) >= p` (JCGM 106), so that a vehicle is accused only when it is over with probability p.
- The tank: degree of filling by temperature, surging compartments; see `filling`.
- The waybill: more mass than volume * density * greatest degree of filling can hold.
- The destination, three findings of their own: licensed quantity, design quantity of the store, and major hazard,
  GB 18218: `S = sum q/Q`, exact, with what arrives; open when S reaches 1 where none is filed, or passes what is
  filed.
- Splitting: loads of one shipper, consignee and product within a window, each at or below a threshold, together
  above.

A load is judged once; a split together with the other loads of shipper, consignee and product.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from scipy import stats

from node.flow.models.checks import distinct, instant, name, number, whole
from node.flow.models.filling import Tank, density_at, greatest_filling, surging
from node.flow.models.model import Finding, Grade, Incremental, Input, Model, Result, own, ruled, stamp
from registry.errors import InvalidValueError

__all__ = ["MODEL", "Destination", "Load", "Stored", "guard_limit", "incremental", "over", "run"]

_AXLES = "GB 1589"
_TANKS = "ADR / JT/T 617.4"
_FIVE, _SIX = 5, 6
_TONNE = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """One substance in the unit of the destination, tonnes; `critical` is its Q of GB 18218."""

    substance: str
    stock: Decimal
    critical: Decimal


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a load goes, kg unless said otherwise; None = not known, not judged.

    Attributes:
        name: identifier of the store.
        stock: what is there of this product.
        licensed: quantity its licence allows.
        design: design maximum of the store.
        unit: all substances of the GB 18218 unit, this one included; empty = not judged.
        filed: S as filed for the unit; None = not filed as a major hazard.
    """

    name: str
    stock: float = 0.0
    licensed: float | None = None
    design: float | None = None
    unit: tuple[Stored, ...] = ()
    filed: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """One loaded vehicle; kg and standard uncertainties in kg; what is None is not judged."""

    subject: str
    at: datetime
    vehicle: str
    product: str
    shipper: str
    consignee: str
    net: float
    u_net: float = 0.0
    approved: float | None = None
    gross: float | None = None
    u_gross: float = 0.0
    axles: int | None = None
    combination: bool = False
    one_driven_axle: bool = False
    tank: Tank | None = None
    waybill: float | None = None
    destination: Destination | None = None
    split_threshold: float | None = None


def over(mass: float, limit: float, u: float, probability: float) -> bool:
    """Say whether a mass is over its limit with at least this probability; without uncertainty: is it greater?"""
    if u == 0:
        return mass > limit
    return float(stats.norm.cdf((mass - limit) / u)) >= probability


def guard_limit(limit: float, relative: float, probability: float) -> float:
    """Return the mass from which the alarm sounds, for a relative standard uncertainty.

    Raises:
        InvalidValueError: a figure is out of bounds, or so uncertain that no mass would be enough.
    """
    number(limit, "limit", above=0)
    number(relative, "relative", least=0)
    band = relative * float(stats.norm.ppf(number(probability, "probability", above=0, most=1 - 1e-12)))
    return limit / number(1 - band, "relative", above=0)


def run(loads: Sequence[Load], parameters: Mapping[str, float] | None = None, *, at: datetime) -> Result:
    """Judge loads.

    Args:
        loads: in any order, each once.
        parameters: the node's own values.
        at: the instant of the judgement; the figures are those in force then.

    Raises:
        InvalidValueError: a load is not usable, or comes twice.
    """
    p = MODEL.settings(instant(at, "at").date(), parameters)
    distinct((load.subject for load in loads), "loads.subject")
    groups: dict[tuple[str, str, str], list[Load]] = {}
    for load in loads:
        groups.setdefault(_pair(load), []).append(load)
    return MODEL.result(at, p, [one for group in groups.values() for one in _assess(group, p)])


def incremental(parameters: Mapping[str, float] | None, *, at: datetime) -> Incremental[Load]:
    """Return the model for loads one by one; figures are those of `at`."""
    p = MODEL.settings(at.date(), parameters)

    def assess(loads: Sequence[Load], _: datetime) -> list[Finding]:
        distinct((load.subject for load in loads), "loads.subject")
        return _assess(loads, p)

    return Incremental(assess, _pair)


def _pair(load: Load) -> tuple[str, str, str]:
    return (load.shipper, load.consignee, load.product)


def _assess(loads: Sequence[Load], p: Mapping[str, float]) -> list[Finding]:
    return [one for load in loads for one in _load(_checked(load), p)] + _splits(loads, p)


def _checked(load: Load) -> Load:
    where = f"loads.{name(load.subject, 'loads.subject')}"
    instant(load.at, f"{where}.at")
    for one in ("net", "u_net", "u_gross"):
        number(getattr(load, one), f"{where}.{one}", least=0)
    for one in ("approved", "gross", "waybill", "split_threshold"):
        if (value := getattr(load, one)) is not None:
            number(value, f"{where}.{one}", least=0)
    if load.axles is not None:
        whole(load.axles, f"{where}.axles", least=2)
    if load.tank is not None:
        load.tank.checked(f"{where}.tank")
    return load


def _load(load: Load, p: Mapping[str, float]) -> Iterable[Finding]:
    probability = p["guard_probability"]
    if load.approved is not None and over(load.net, load.approved, load.u_net, probability):
        yield _finding(load, "overload_net", Grade.RED, mass=load.net, limit=load.approved, u=load.u_net)
    if load.gross is not None and load.axles is not None:
        limit = _gross_limit(load.axles, load, p)
        if over(load.gross, limit, load.u_gross, probability):
            yield _finding(
                load, "overload_gross", Grade.RED,
                mass=load.gross, limit=limit, u=load.u_gross, axles=load.axles,
            )  # fmt: skip
    if load.tank is not None:
        yield from _tank(load, load.tank, p)
    if load.destination is not None:
        yield from _destination(load, load.destination)


def _finding(load: Load, kind: str, grade: Grade, key: str = "", /, **evidence: object) -> Finding:
    return MODEL.finding(
        kind, load.subject, grade, load.at, key, vehicle=load.vehicle, product=load.product, **evidence
    )


def _gross_limit(axles: int, load: Load, p: Mapping[str, float]) -> float:
    if axles >= _SIX:
        return p["axles_6_one_driven"] if load.one_driven_axle else p["axles_6"]
    together = load.combination and axles in (3, 4)
    return p[f"axles_{axles}_combination" if together else f"axles_{axles}"]


def _tank(load: Load, tank: Tank, p: Mapping[str, float]) -> Iterable[Finding]:
    density, most = density_at(tank), greatest_filling(tank, p)
    percent = load.net / (density * tank.volume_l) * 100
    u = load.u_net / (density * tank.volume_l) * 100
    facts = {"celsius": tank.filling_celsius, "limit": most, "density": density, "volume": tank.volume_l}
    if over(percent, most, u, p["guard_probability"]):
        yield _finding(load, "overload_filling", Grade.RED, percent=percent, **facts)
    for number_, filled in surging(tank, p):
        yield _finding(
            load, "overload_surge", Grade.ORANGE, str(number_),
            compartment=number_, percent=filled, least=p["surge_from"], most=p["surge_to"],
        )  # fmt: skip
    holds = density * tank.volume_l * most / 100
    if load.waybill is not None and load.waybill > holds:
        yield _finding(load, "overload_waybill", Grade.ORANGE, mass=load.waybill, holds=holds, **facts)


def _destination(load: Load, place: Destination) -> Iterable[Finding]:
    where = f"loads.{load.subject}.destination"
    after = number(place.stock, f"{where}.stock", least=0) + load.net
    limits = (("licence", place.licensed), ("storage", place.design))
    for what, limit in limits:
        if limit is not None and after > number(limit, f"{where}.{what}", least=0):
            yield _finding(
                load, f"overload_{what}", Grade.ORANGE,
                place=name(place.name, f"{where}.name"), stock=place.stock, mass=load.net, after=after, limit=limit,
            )  # fmt: skip
    if place.unit:
        yield from _hazard(load, place, where)


def _hazard(load: Load, place: Destination, where: str) -> Iterable[Finding]:
    """Judge S = sum q/Q exactly; a sum of binary fractions would miss the 1."""
    distinct((one.substance for one in place.unit), f"{where}.unit")
    before = after = Fraction(0)
    known = False
    for one in place.unit:
        number(one.stock, f"{where}.unit.{one.substance}.stock", least=0)
        number(one.critical, f"{where}.unit.{one.substance}.critical", above=0)
        share = Fraction(Decimal(str(one.stock))) / Fraction(Decimal(str(one.critical)))
        before, after = before + share, after + share
        if one.substance == load.product:
            known = True
            after += Fraction(Decimal(str(load.net))) / _TONNE / Fraction(Decimal(str(one.critical)))
    if not known:
        raise InvalidValueError("node.flow_models.not_listed", field=f"{where}.unit", value=load.product)
    filed = None if place.filed is None else number(place.filed, f"{where}.filed", least=0)
    if after >= 1 and (filed is None or after > Fraction(Decimal(str(place.filed)))):
        yield _finding(
            load, "overload_hazard", Grade.RED,
            place=place.name, before=float(before), after=float(after), filed="–" if filed is None else
            str(place.filed),
        )  # fmt: skip


def _splits(loads: Sequence[Load], p: Mapping[str, float]) -> list[Finding]:
    """Find the runs of loads that together pass a threshold which each of them keeps; a run is told once."""
    window = timedelta(hours=p["split_hours"])
    small = sorted(
        (one for one in loads if one.split_threshold is not None and one.net <= one.split_threshold),
        key=lambda one: (one.at, one.subject),
    )
    found: list[Finding] = []
    first = 0
    while first < len(small):
        together = [one for one in small[first:] if one.at - small[first].at <= window]
        total = sum(one.net for one in together)
        limit = min(one.split_threshold for one in together if one.split_threshold is not None)
        if len(together) > 1 and total > limit:
            head = together[0]
            found.append(
                MODEL.finding(
                    "overload_split", f"{head.shipper}", Grade.ORANGE, together[-1].at,
                    f"{head.consignee}|{head.product}|{stamp(head.at)}",
                    consignee=head.consignee, product=head.product, loads=[one.subject for one in together],
                    count=len(together), total=total, limit=limit, hours=p["split_hours"], since=stamp(head.at),
                )
            )  # fmt: skip
            first += len(together)
        else:
            first += 1
    return found


def _axles() -> tuple[tuple[str, float], ...]:
    return (
        ("axles_2", 18_000), ("axles_3", 25_000), ("axles_3_combination", 27_000), ("axles_4", 31_000),
        ("axles_4_combination", 36_000), ("axles_5", 43_000), ("axles_6", 49_000), ("axles_6_one_driven", 46_000),
    )  # fmt: skip


MODEL = Model(
    name="overload",
    version="1.0",
    inputs=(
        Input("net", "kg"),
        Input("approved", "kg", required=False),
        Input("gross", "kg", required=False),
        Input("axles", "1", required=False),
        Input("tank", "l, kg/l, °C", required=False),
        Input("waybill", "kg", required=False),
        Input("destination", "kg, t", required=False),
        Input("split_threshold", "kg", required=False),
    ),
    parameters=(
        own("guard_probability", "1", 0.999, least=0.5, most=0.999999),
        own("split_hours", "h", 24.0, least=0.1),
        *(
            ruled(key, "kg", value, _AXLES, confirmed=False, since=date(2016, 7, 26))
            for key, value in _axles()
        ),
        ruled("fill_vented_flammable", "%", 100.0, _TANKS, "4.3.2.2.1 (a)", confirmed=False),
        ruled("fill_vented_toxic", "%", 98.0, _TANKS, "4.3.2.2.1 (b)", confirmed=False),
        ruled("fill_closed", "%", 97.0, _TANKS, "4.3.2.2.1 (c)", confirmed=False),
        ruled("fill_closed_toxic", "%", 95.0, _TANKS, "4.3.2.2.1 (d)", confirmed=False),
        ruled("fill_portable", "%", 97.0, _TANKS, "4.2.1.9", confirmed=False),
        ruled("fill_portable_toxic", "%", 95.0, _TANKS, "4.2.1.9", confirmed=False),
        ruled("fill_heated", "%", 95.0, _TANKS, "4.3.2.2"),
        ruled("surge_volume_l", "l", 7_500.0, _TANKS, "4.3.2.2.4"),
        ruled("surge_from", "%", 20.0, _TANKS, "4.3.2.2.4"),
        ruled("surge_to", "%", 80.0, _TANKS, "4.3.2.2.4"),
    ),
    run=run,
)
