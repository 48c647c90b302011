"""Does it go where it used to go, as often as it used to?

- Shares: per shipper the counts O by destination against baseline shares, `G = 2 sum O ln(O/E)`, chi-squared; how
  much it changed is the Jensen-Shannon distance (base 2), where is the signed deviance of each cell. Over all
  shippers of a period the false discovery rate is kept (Benjamini-Hochberg).
- New partner: a destination without baseline, by the tail of a small Poisson rate.
- Jump: one destination far more often than its usual rate, by the Poisson tail.
- Rate: two periods by the exact test, a series against its mean by CUSUM (`rates`, with more tools for a history).

Counts are shipments. A period is judged as a whole: incrementally, its findings are those of all that has come so
far.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

from node.flow.models.checks import Floats, distinct, instant, name, number, numbers, some, whole
from node.flow.models.model import Finding, Grade, Incremental, Input, Model, Result, own
from node.flow.models.rates import Cusum, poisson_tail, rate_change
from registry.errors import InvalidValueError

__all__ = [
    "MODEL",
    "Baseline",
    "Movement",
    "Rate",
    "Series",
    "ShareTest",
    "benjamini_hochberg",
    "incremental",
    "run",
    "share_test",
]

_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Movement:
    """Shipments of one shipper to one destination."""

    shipper: str
    destination: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual for a shipper: shares by destination, and shipments per period where a rate is known."""

    shares: Mapping[str, float]
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """A count or quantity per day in order of days, its usual mean and standard deviation."""

    subject: str
    values: tuple[float, ...]
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Counts of two periods of which the rates are compared, for example last year and this month."""

    subject: str
    before: int
    before_days: float
    now: int
    now_days: float


@dataclass(frozen=True, slots=True)
class ShareTest:
    """Counts against shares: G, its p, the Jensen-Shannon distance, and the signed deviance of each destination."""

    g: float
    p: float
    js: float
    deviance: Mapping[str, float]
    total: int


def share_test(observed: Mapping[str, int], shares: Mapping[str, float]) -> ShareTest | None:
    """Compare counts with baseline shares; destinations without a share are left to the new-partner test.

    Returns:
        None when fewer than two destinations have a share, or nothing was counted.

    Raises:
        InvalidValueError: counts or shares are unusable, or the shares do not sum to 1.
    """
    places = sorted(shares)
    given = np.array([number(shares[one], f"shares.{one}", least=0, most=1) for one in places])
    if abs(given.sum() - 1) > _TOLERANCE:
        raise InvalidValueError("node.flow_models.not_one", field="shares", value=float(given.sum()))
    counts = {one: whole(count, f"observed.{one}") for one, count in observed.items()}
    known = given > 0
    o = np.array([counts.get(one, 0) for one in places], dtype=float)[known]
    if known.sum() < 2 or o.sum() == 0:  # noqa: PLR2004 — one cell cannot shift
        return None
    e = o.sum() * given[known] / given[known].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(o > 0, o * np.log(o / e), 0.0)
    deviance = np.sign(o - e) * np.sqrt(np.clip(2 * (logs - (o - e)), 0, None))
    g = max(0.0, float(2 * logs.sum()))
    named = [one for one, is_known in zip(places, known, strict=True) if is_known]
    return ShareTest(
        g=g,
        p=float(stats.chi2.sf(g, len(o) - 1)),
        js=_js(counts, shares),
        deviance={one: float(value) for one, value in zip(named, deviance, strict=True)},
        total=int(sum(counts.values())),
    )


def _js(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    places = sorted({*counts, *shares})
    distance = jensenshannon([counts.get(p, 0) for p in places], [shares.get(p, 0) for p in places], base=2)
    return float(
        np.nan_to_num(distance)
    )  # equal to the last bit: rounding can leave a tiny negative under the root


def benjamini_hochberg(p_values: Sequence[float], q: float) -> list[bool]:
    """Say which hypotheses fall at false discovery rate q.

    Raises:
        InvalidValueError: a p or q is outside [0, 1].
    """
    p: Floats = np.array([number(one, f"p[{i}]", least=0, most=1) for i, one in enumerate(p_values)])
    number(q, "q", least=0, most=1)
    if p.size == 0:
        return []
    ranked = np.sort(p)
    under = np.flatnonzero(ranked <= q * np.arange(1, len(p) + 1) / len(p))
    return [False] * len(p) if under.size == 0 else [bool(one) for one in p <= ranked[under[-1]]]


def run(
    movements: Sequence[Movement],
    baselines: Mapping[str, Baseline],
    series: Sequence[Series] = (),
    parameters: Mapping[str, float] | None = None,
    *,
    rates: Sequence[Rate] = (),
    period: str,
    at: datetime,
) -> Result:
    """Judge the movements of one period.

    Args:
        movements: in any order; counts of one shipper and destination add up.
        baselines: by shipper; one without a baseline is listed in `figures["without_baseline"]`, not judged.
        series: rates to watch.
        parameters: the node's own values.
        rates: counts of two periods to compare.
        period: name of the period, for example `2026-03`.
        at: the instant of the judgement.

    Raises:
        InvalidValueError: an input is not usable.
    """
    p = MODEL.settings(instant(at, "at").date(), parameters)
    distinct((one.subject for one in series), "series.subject")
    found = _movements(movements, baselines, p, name(period, "period"), at)
    for one in series:
        found += _series(one, p, period, at)
    found += _rates(rates, p, period, at)
    unknown = sorted({one.shipper for one in movements} - set(baselines))
    return MODEL.result(at, p, found, without_baseline=unknown)


def incremental(
    baselines: Mapping[str, Baseline],
    parameters: Mapping[str, float] | None = None,
    *,
    period: str,
    at: datetime,
) -> Incremental[Movement]:
    """Return the model for the movements of one period one by one; parameters are those of `at`."""
    p = MODEL.settings(at.date(), parameters)
    return Incremental(lambda moved, now: _movements(moved, baselines, p, period, now), lambda _: period)


def _movements(
    movements: Iterable[Movement],
    baselines: Mapping[str, Baseline],
    p: Mapping[str, float],
    period: str,
    at: datetime,
) -> list[Finding]:
    observed: dict[str, dict[str, int]] = {}
    for i, one in enumerate(movements):
        cells = observed.setdefault(name(one.shipper, f"movements[{i}].shipper"), {})
        count = whole(one.count, f"movements[{i}].count")
        destination = name(one.destination, f"movements[{i}].destination")
        cells[destination] = cells.get(destination, 0) + count
    judged = sorted(set(observed) & set(baselines))
    found = [
        one
        for shipper in judged
        for one in _cells(shipper, observed[shipper], baselines[shipper], p, period=period, at=at)
    ]
    tests = [(one, share_test(observed[one], baselines[one].shares)) for one in judged]
    usable = [(one, test) for one, test in tests if test is not None and test.total >= p["least_count"]]
    fallen = benjamini_hochberg([test.p for _, test in usable], p["discovery_rate"])
    for (shipper, test), falls in zip(usable, fallen, strict=True):
        if falls and test.js >= p["js_limit"]:
            found.append(_shift(shipper, test, observed[shipper], baselines[shipper], period=period, at=at))
    return found


def _shift(
    shipper: str, test: ShareTest, seen: Mapping[str, int], usual: Baseline, *, period: str, at: datetime
) -> Finding:
    worst = min(test.deviance, key=lambda one: (-abs(test.deviance[one]), one))
    return MODEL.finding(
        "direction_shift", shipper, Grade.YELLOW, at, period,
        period=period, g=test.g, p=test.p, js=test.js, total=test.total, destination=worst,
        percent=100 * seen.get(worst, 0) / test.total, usual=100 * usual.shares[worst],
        deviance={one: round(value, 6) for one, value in test.deviance.items()},
    )  # fmt: skip


def _cells(
    shipper: str,
    seen: Mapping[str, int],
    usual: Baseline,
    p: Mapping[str, float],
    *,
    period: str,
    at: datetime,
) -> Iterable[Finding]:
    """Judge each destination by itself; the error probability is shared by those that were seen."""
    limit = p["cell_alpha"] / max(1, len(seen))
    for destination, count in sorted(seen.items()):
        if count == 0:
            continue
        new = usual.shares.get(destination, 0) == 0 and destination not in usual.rates
        if not new and destination not in usual.rates:
            continue
        mean = (
            p["new_partner_rate"]
            if new
            else number(usual.rates[destination], f"rates.{destination}", least=0)
        )
        chance = poisson_tail(count, mean)
        if chance <= (p["new_partner_alpha"] if new else limit):
            yield MODEL.finding(
                "direction_new" if new else "direction_jump", shipper, Grade.YELLOW, at, f"{period}|{destination}",
                destination=destination, period=period, count=count, mean=mean, p=chance,
            )  # fmt: skip


def _series(series: Series, p: Mapping[str, float], period: str, at: datetime) -> list[Finding]:
    where = f"series.{name(series.subject, 'series.subject')}"
    some(series.values, f"{where}.values")
    values = numbers(series.values, f"{where}.values")
    sd = number(series.deviation, f"{where}.deviation", above=0)
    cusum = Cusum(number(series.mean, f"{where}.mean"), p["cusum_slack"] * sd, p["cusum_limit"] * sd)
    for i, value in enumerate(values):
        step = cusum.add(float(value))
        if step.alarm:
            kind = "direction_more" if step.high >= step.low else "direction_less"
            return [
                MODEL.finding(
                    kind, series.subject, Grade.YELLOW, at, period,
                    period=period, day=i + 1, value=float(value), mean=series.mean,
                    sum=max(step.high, step.low), limit=p["cusum_limit"] * sd,
                )
            ]  # fmt: skip
    return []


def _rates(rates: Sequence[Rate], p: Mapping[str, float], period: str, at: datetime) -> list[Finding]:
    """Judge changes of rate, up and down, by the exact test; over all of them the false discovery rate is kept."""
    distinct((name(one.subject, "rates.subject") for one in rates), "rates.subject")
    chances = [rate_change(one.before, one.before_days, one.now, one.now_days) for one in rates]
    fallen = benjamini_hochberg(chances, p["discovery_rate"])
    return [
        MODEL.finding(
            "direction_rate", one.subject, Grade.YELLOW, at, period,
            period=period, now=one.now, now_days=one.now_days, p=chance,
            expected=one.before / one.before_days * one.now_days,
        )
        for one, chance, falls in zip(rates, chances, fallen, strict=True) if falls
    ]  # fmt: skip


MODEL = Model(
    name="direction",
    version="1.0",
    inputs=(
        Input("movements", "shipments"),
        Input("baselines", "1, shipments per period"),
        Input("series", "per day", required=False),
        Input("rates", "shipments, d", required=False),
    ),
    parameters=(
        own("discovery_rate", "1", 0.05, least=1e-6, most=0.5),
        own("js_limit", "1", 0.1, most=1.0),
        own("least_count", "shipments", 10.0),
        own("cell_alpha", "1", 0.01, least=1e-9, most=0.5),
        own("new_partner_rate", "per period", 0.05, least=1e-6),
        own("new_partner_alpha", "1", 0.05, least=1e-9, most=0.5),
        own("cusum_slack", "sd", 0.5),
        own("cusum_limit", "sd", 5.0, least=0.1),
    ),
    run=run,
)
