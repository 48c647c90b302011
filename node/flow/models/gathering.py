"""Does too much come together in one place at one time?

- `run`, over history: the space-time permutation scan. No baseline is needed: what is unusual is measured against
  the same cases with their dates shuffled. p has a recurrence: with one run a day, 1/p days between false alarms.
- The same among all cases for the abnormal ones (Bernoulli), and `run_volume` against the usual volume of sites
  (Poisson).
- `Live`, case by case: in the circle around each new case over the last days, the sum of the GB 18218 ratios q/Q
  against its limit, and the number of cases against the Poisson tail of the same circle's own past. `run_live` is
  the same on history.
- `map_clusters`: what is drawn on a map (`neighbours`).

A case is one arrival, parking or storing of hazardous goods.
"""

import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from scipy import stats

from node.flow.models.checks import Floats, distinct, instant, name, number, place
from node.flow.models.geometry import distance
from node.flow.models.model import Finding, Grade, Input, Model, Result, in_order, own, stamp
from node.flow.models.neighbours import display_clusters
from node.flow.models.scan import Cluster, permutation_scan
from node.flow.models.scan_forms import bernoulli_scan, poisson_scan
from registry.errors import InvalidValueError

__all__ = ["MODEL", "Case", "Live", "Site", "map_clusters", "run", "run_live", "run_volume"]

_LEAST = 2


@dataclass(frozen=True, slots=True)
class Case:
    """One case: identifier, when, where, and its q/Q of GB 18218 (0 where it has none)."""

    subject: str
    at: datetime
    lat: float
    lon: float
    ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Site:
    """A place with its usual volume (any one unit for all) and what was counted per day, the last day last."""

    subject: str
    lat: float
    lon: float
    volume: float
    counts: tuple[int, ...]


def run(
    cases: Sequence[Case],
    parameters: Mapping[str, float] | None = None,
    *,
    at: datetime,
    seed: int = 0,
    abnormal: Collection[str] | None = None,
) -> Result:
    """Scan the cases of the study period that ends with the day of `at`.

    Args:
        cases: in any order, each once; those after `at` or before the period are counted in the figures, not used.
        parameters: the node's own values.
        at: the instant of the judgement.
        seed: of the shuffles; the same seed gives the same p.
        abnormal: subjects of the abnormal cases, when it is asked where these are too many among all (Bernoulli).

    Raises:
        InvalidValueError: a case is not usable, or comes twice.
    """
    p = MODEL.settings(instant(at, "at").date(), parameters)
    kept = sorted(
        (_checked(case, i) for i, case in enumerate(cases)), key=lambda case: (case.at, case.subject)
    )
    distinct((case.subject for case in kept), "cases.subject")
    lags = np.array([_day(at, p) - _day(case.at, p) for case in kept], dtype=np.int64)
    used = [i for i, case in enumerate(kept) if case.at <= at and lags[i] < p["study_days"]]
    figures = {"cases": len(used), "future": sum(case.at > at for case in kept), "recurrence_days": 0.0}
    figures["old"] = len(kept) - len(used) - int(figures["future"])
    if len(used) < _LEAST:
        return MODEL.result(at, p, [], clusters=[], **figures)
    chosen = [kept[i] for i in used]
    lat, lon = _column(chosen, "lat"), _column(chosen, "lon")
    if abnormal is None:
        kind, clusters = "gathering_cluster", permutation_scan(lat, lon, lags[used], seed=seed, **_limits(p))
    else:
        marks = [case.subject in abnormal for case in chosen]
        kind, clusters = (
            "gathering_abnormal",
            bernoulli_scan(lat, lon, lags[used], marks, seed=seed, **_limits(p)),
        )
    if clusters:
        figures["recurrence_days"] = 1 / clusters[0].p
    found = [_found(kind, cluster, chosen, at) for cluster in clusters if _alarming(cluster, p)]
    return MODEL.result(at, p, found, clusters=clusters, **figures)


def run_volume(
    sites: Sequence[Site], parameters: Mapping[str, float] | None = None, *, at: datetime, seed: int = 0
) -> Result:
    """Scan the counts of sites against their usual volume (Poisson).

    Args:
        sites: in any order, each once, all over the same days; the last day is the day of `at`.
        parameters: the node's own values.
        at: the instant of the judgement.
        seed: of the draws.

    Raises:
        InvalidValueError: a site is not usable, comes twice, or has other days than the others.
    """
    p = MODEL.settings(instant(at, "at").date(), parameters)
    kept = sorted(sites, key=lambda site: site.subject)
    distinct((name(site.subject, "sites.subject") for site in kept), "sites.subject")
    for site in kept:
        place(site.lat, site.lon, f"sites.{site.subject}")
        if not site.counts or len(site.counts) != len(kept[0].counts):
            raise InvalidValueError(
                "node.flow_models.not_matching",
                field=f"sites.{site.subject}.counts",
                value=len(site.counts),
                limit=max(1, len(kept[0].counts)),
            )
    clusters = poisson_scan(
        _column(kept, "lat"),
        _column(kept, "lon"),
        [site.counts for site in kept],
        [site.volume for site in kept],
        seed=seed,
        **_limits(p),
    )
    found = [
        MODEL.finding(
            "gathering_volume", kept[cluster.centre].subject, Grade.YELLOW, at, stamp(at)[:10],
            **_where(cluster, kept), cases=[kept[i].subject for i in cluster.zone],
        )
        for cluster in clusters if _alarming(cluster, p)
    ]  # fmt: skip
    return MODEL.result(at, p, found, clusters=clusters, sites=len(kept))


def _limits(p: Mapping[str, float]) -> dict[str, Any]:
    return {
        "radius_m": p["radius_km"] * 1000,
        "window_days": int(p["window_days"]),
        "share": p["zone_share"],
        "replicas": int(p["replicas"]),
    }


def _alarming(cluster: Cluster, p: Mapping[str, float]) -> bool:
    return cluster.p <= p["alpha"] and cluster.observed >= p["least_cases"]


def _found(kind: str, cluster: Cluster, cases: Sequence[Case], at: datetime) -> Finding:
    inside = [cases[i] for i in cluster.members]
    middle = cases[cluster.centre]
    grade = Grade.ORANGE if sum(case.ratio for case in inside) >= 1 else Grade.YELLOW
    return MODEL.finding(
        kind, middle.subject, grade, at, stamp(at)[:10],
        **_where(cluster, cases), ratio=sum(case.ratio for case in inside), cases=[case.subject for case in inside],
    )  # fmt: skip


def _where(cluster: Cluster, places: Sequence[Case | Site]) -> dict[str, Any]:
    return {
        "lat": places[cluster.centre].lat, "lon": places[cluster.centre].lon, "radius_km": cluster.radius_m / 1000,
        "days": cluster.days, "count": cluster.observed, "expected": cluster.expected, "llr": cluster.llr,
        "p": cluster.p, "recurrence_days": 1 / cluster.p,
    }  # fmt: skip


def _checked(case: Case, i: int) -> Case:
    where = f"cases[{i}]"
    name(case.subject, f"{where}.subject")
    instant(case.at, f"{where}.at")
    place(case.lat, case.lon, where)
    number(case.ratio, f"{where}.ratio", least=0)
    return case


def _day(at: datetime, p: Mapping[str, float]) -> int:
    """Return the number of the local day."""
    return (at.astimezone(UTC) + timedelta(hours=p["day_offset_hours"])).toordinal()


def map_clusters(
    cases: Sequence[Case], parameters: Mapping[str, float] | None, *, at: datetime
) -> list[tuple[str, ...]]:
    """Return the clusters to draw, as subjects in order.

    Raises:
        InvalidValueError: a case is not usable.
    """
    p = MODEL.settings(instant(at, "at").date(), parameters)
    kept = sorted((_checked(case, i) for i, case in enumerate(cases)), key=lambda case: case.subject)
    start = kept[0].at if kept else at
    groups = display_clusters(
        np.array([case.lat for case in kept]),
        np.array([case.lon for case in kept]),
        np.array([(case.at - start) / timedelta(days=1) for case in kept]),
        limit_m=p["display_m"],
        limit_days=p["display_days"],
        least=int(p["display_least"]),
    )
    return [tuple(kept[i].subject for i in group) for group in groups]


class Live:
    """Case by case, against thresholds. One caller at a time.

    Cases may come in any order: the findings are those of the cases in order of time. A case that comes late is
    put in its place and those after it are judged anew.

    Args:
        parameters: the node's own values.
        at: the instant whose parameters hold.
    """

    def __init__(self, parameters: Mapping[str, float] | None = None, *, at: datetime) -> None:
        self._p = MODEL.settings(instant(at, "at").date(), parameters)
        self._cases: list[Case] = []
        self._found: list[tuple[Finding, ...]] = []
        self._names: set[str] = set()
        self._since: datetime | None = None  # the first case ever: how far back the past is known

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return what was found in all cases so far."""
        return in_order(finding for found in self._found for finding in found)

    def add(self, case: Case) -> tuple[Finding, ...]:
        """Take one case; return what it newly shows.

        Raises:
            InvalidValueError: it is not usable, or came before; it was not taken.
        """
        _checked(case, len(self._cases))
        if case.subject in self._names:
            raise InvalidValueError("node.flow_models.twice", field="cases.subject", value=case.subject)
        self._names.add(case.subject)
        before = {finding.key for finding in self.findings}
        index = bisect.bisect(self._cases, _order(case), key=_order)
        self._cases.insert(index, case)
        self._found.insert(index, ())
        older = self._since is None or case.at < self._since
        self._since = case.at if older else self._since
        for i in range(index, len(self._cases)):
            if older or self._touches(self._cases[i], case):
                self._found[i] = self._judge(i)
        return tuple(finding for finding in self.findings if finding.key not in before)

    def forget(self, before: datetime) -> None:
        """Drop cases that no window and no past reaches any more, with their findings."""
        index = bisect.bisect_left(self._cases, before, key=lambda case: case.at)
        self._names -= {case.subject for case in self._cases[:index]}
        del self._cases[:index], self._found[:index]

    def _touches(self, judged: Case, added: Case) -> bool:
        reach = timedelta(days=self._p["live_days"] + self._p["past_days"])
        return judged.at - added.at <= reach

    def _judge(self, i: int) -> tuple[Finding, ...]:
        """Judge the circle around case i with the cases up to it."""
        p, here = self._p, self._cases[i]
        window, past = timedelta(days=p["live_days"]), timedelta(days=p["past_days"])
        first = bisect.bisect_left(self._cases, here.at - window - past, key=lambda case: case.at)
        cases = self._cases[first : i + 1]
        away = distance(here.lat, here.lon, _column(cases, "lat"), _column(cases, "lon"))
        near = [case for case, gap in zip(cases, away, strict=True) if gap <= p["live_radius_km"] * 1000]
        now = [case for case in near if case.at > here.at - window]
        usual = (len(near) - len(now)) / p["past_days"] * p["live_days"]
        mean = max(usual, p["least_expected"])
        chance = float(stats.poisson.sf(len(now) - 1, mean))
        ratio = sum(case.ratio for case in now)
        facts = {
            "lat": here.lat, "lon": here.lon, "radius_km": p["live_radius_km"], "days": p["live_days"],
            "count": len(now), "ratio": ratio, "cases": [case.subject for case in now],
        }  # fmt: skip
        found = []
        # alone it is the business of the store's own limits, not a gathering
        if ratio >= p["ratio_limit"] and len(now) >= _LEAST:
            found.append(
                MODEL.finding(
                    "gathering_ratio", here.subject, Grade.RED, here.at, limit=p["ratio_limit"], **facts
                )
            )
        known = self._since is not None and self._since <= here.at - window - past
        if known and chance <= p["alpha"] and len(now) >= p["least_cases"]:
            found.append(
                MODEL.finding(
                    "gathering_count", here.subject, Grade.YELLOW, here.at, expected=mean, p=chance, **facts
                )
            )
        return tuple(found)


def _order(case: Case) -> tuple[datetime, str]:
    return (case.at, case.subject)


def _column(cases: Sequence[Case | Site], field: str) -> Floats:
    return np.array([getattr(case, field) for case in cases])


def run_live(cases: Sequence[Case], parameters: Mapping[str, float] | None = None, *, at: datetime) -> Result:
    """Judge a history by the thresholds: the same as `Live` case by case.

    Raises:
        InvalidValueError: a case is not usable, or comes twice.
    """
    live = Live(parameters, at=at)
    for case in sorted((_checked(case, i) for i, case in enumerate(cases)), key=_order):
        live.add(case)
    return MODEL.result(at, MODEL.settings(at.date(), parameters), live.findings, cases=len(cases))


MODEL = Model(
    name="gathering",
    version="1.0",
    inputs=(
        Input("cases", "°, instant"),
        Input("ratio", "q/Q", required=False),
        Input("abnormal", "subjects", required=False),
        Input("sites", "°, volume, counts per day", required=False),
    ),
    parameters=(
        own("radius_km", "km", 10.0, least=0.01, most=2_000),
        own("window_days", "d", 7.0, least=1, most=90),
        own("study_days", "d", 90.0, least=2, most=3_660),
        own("zone_share", "1", 0.5, least=0.001, most=1.0),
        own("replicas", "1", 999.0, least=19, most=99_999),
        # one run a day: one false alarm a year
        own("alpha", "1", 1 / 365, least=1e-5, most=0.5),
        own("least_cases", "1", 3.0, least=1),
        own("day_offset_hours", "h", 8.0, least=-14, most=14),
        own("live_radius_km", "km", 1.0, least=0.01, most=500),
        own("live_days", "d", 1.0, least=0.01, most=90),
        own("past_days", "d", 28.0, least=1, most=366),
        own("least_expected", "1", 0.5, least=1e-6),
        own("ratio_limit", "1", 1.0, least=1e-6),
        own("display_m", "m", 500.0, least=1),
        own("display_days", "d", 2.0, least=0),
        own("display_least", "1", 3.0, least=1),
    ),
    run=run,
)
