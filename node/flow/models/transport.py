"""Is the vehicle where, when and how it should be?

- A position that would need more than the greatest speed from the one before is flagged and not used. When several
  in a row agree with each other instead, the vehicle is there: the positions before were the wrong ones, and that
  is flagged too.
- Silence: no position for longer than the limit between departure and arrival.
- Corridor, halts, forbidden areas, driving hours, speed, late arrival: `transport_rules`. Steps that contradict
  each other: `trip.state_of`. Likeness of ways and map matching: `geometry.frechet`, `matching`.

`Tracker` takes positions as they come; `run` is the same on history. Both give the same findings for the same
positions in any order: one that comes late is put in its place and the trip is followed anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from node.flow.models.checks import distinct, instant
from node.flow.models.geometry import likeness
from node.flow.models.matching import Network, match
from node.flow.models.model import (
    Dated,
    Finding,
    Grade,
    Input,
    Model,
    Parameter,
    Result,
    in_order,
    own,
    ruled,
    stamp,
)
from node.flow.models.transport_rules import rules_for, speed_between
from node.flow.models.trip import Fix, State, Trip, state_of

__all__ = ["MODEL", "Followed", "Tracker", "run"]

#: States after which the whole way is known.
_OVER = (State.ARRIVED, State.RECEIVED, State.CLOSED)


@dataclass(frozen=True, slots=True)
class Followed:
    """One trip with its positions, in any order, and the roads where they are known."""

    trip: Trip
    fixes: tuple[Fix, ...] = ()
    network: Network | None = None


class Tracker:
    """Follows one trip. One caller at a time.

    Args:
        trip: as declared; a trip whose marks change gets a new tracker with the same positions.
        settings: the parameters, from `MODEL.settings`.

    Raises:
        InvalidValueError: the trip is not usable.
    """

    def __init__(self, trip: Trip, settings: Mapping[str, float]) -> None:
        self._trip, self._p = trip.checked(), settings
        self._fixes: list[Fix] = []
        self._begin()

    def _begin(self) -> None:
        self._rules = rules_for(MODEL, self._trip, self._p)
        self._found: dict[str, Finding] = {}
        self._heard: datetime | None = self._trip.marks.get(State.DEPARTED)
        self._used: Fix | None = None
        self._doubtful: list[Fix] = []
        self._way: list[Fix] = []

    @property
    def way(self) -> tuple[Fix, ...]:
        """Return the positions that were believed, in order of time."""
        return tuple(self._way)

    @property
    def used(self) -> Fix | None:
        """Return the last position that was believed."""
        return self._used

    def add(self, fix: Fix, *, now: datetime) -> tuple[Finding, ...]:
        """Take one position; return what it newly shows.

        Raises:
            InvalidValueError: it is no position; it was not taken.
        """
        fix.checked("fix")
        before = set(self._found)
        if fix.at > now + timedelta(minutes=self._p["future_minutes"]):
            finding = MODEL.finding(
                "transport_future", self._trip.subject, Grade.BLUE, now, stamp(fix.at),
                at=stamp(fix.at), now=stamp(now),
            )  # fmt: skip
            return (finding,)
        if self._fixes and fix.order < self._fixes[-1].order:
            if fix not in self._fixes:
                self._fixes = sorted([*self._fixes, fix], key=lambda one: one.order)
                self._begin()
                for one in self._fixes:
                    self._take(one)
        elif not self._fixes or fix.order != self._fixes[-1].order:
            self._fixes.append(fix)
            self._take(fix)
        return in_order(one for key, one in self._found.items() if key not in before)

    def findings(self, at: datetime) -> tuple[Finding, ...]:
        """Return all findings at an instant: silence, a missed arrival and contradicting steps come by time alone."""
        return in_order([*self._found.values(), *self._by_time(at)])

    def _by_time(self, at: datetime) -> Iterable[Finding]:
        state, wrong = state_of(self._trip, at)
        if wrong:
            yield MODEL.finding(
                "transport_steps",
                self._trip.subject,
                Grade.YELLOW,
                at,
                state=state.value,
                steps="; ".join(wrong),
            )
        yield from self._silence(at)
        due = self._trip.due
        late = timedelta(minutes=self._p["late_minutes"])
        arrived = self._trip.marks.get(State.ARRIVED) or self._trip.marks.get(State.RECEIVED)
        if due is not None and min(arrived or at, at) > due + late:
            yield MODEL.finding(
                "transport_overdue", self._trip.subject, Grade.YELLOW, due + late,
                due=stamp(due), tolerance=self._p["late_minutes"],
            )  # fmt: skip

    def _take(self, fix: Fix) -> None:
        found = self._silence(fix.at)
        self._heard = fix.at if self._heard is None else max(self._heard, fix.at)
        if self._used is None or speed_between(self._used, fix) <= self._p["bad_fix_kmh"]:
            self._doubtful = []
            found += self._use(fix)
        else:
            found += self._doubt(fix)
        for one in found:
            self._found.setdefault(one.key, one)

    def _use(self, fix: Fix) -> Iterable[Finding]:
        before, self._used = self._used, fix
        self._way.append(fix)
        return [finding for rule in self._rules for finding in rule.take(before, fix)]

    def _silence(self, at: datetime) -> list[Finding]:
        """Judge the time since the last position; after arrival, and loaded but not departed, none is due."""
        marks = self._trip.marks
        arrived = marks.get(State.ARRIVED) or marks.get(State.RECEIVED)
        limit = timedelta(minutes=self._p["silence_minutes"])
        waiting = bool(marks) and arrived is None and State.DEPARTED not in marks
        if self._heard is None or waiting or min(at, arrived or at) - self._heard <= limit:
            return []
        return [
            MODEL.finding(
                "transport_silence", self._trip.subject, Grade.ORANGE, self._heard + limit, stamp(self._heard),
                since=stamp(self._heard), limit=self._p["silence_minutes"],
            )
        ]  # fmt: skip

    def _doubt(self, fix: Fix) -> list[Finding]:
        """Flag a position that cannot be; believe it once enough of them agree."""
        before = self._doubtful[-1] if self._doubtful else None
        agrees = (
            before is not None and fix.at > before.at and speed_between(before, fix) <= self._p["bad_fix_kmh"]
        )
        self._doubtful = [*self._doubtful, fix] if agrees else [fix]
        used = self._used or fix
        facts = {
            "speed": min(speed_between(used, fix), 1e6), "limit": self._p["bad_fix_kmh"],
            "lat": fix.lat, "lon": fix.lon,
        }  # fmt: skip
        found = []
        if len(self._doubtful) == 1:
            found.append(
                MODEL.finding(
                    "transport_bad_fix", self._trip.subject, Grade.BLUE, fix.at, stamp(fix.at),
                    since=stamp(fix.at), **facts,
                )
            )  # fmt: skip
        if len(self._doubtful) >= int(self._p["bad_fix_rebase"]):
            self._doubtful = []
            found.append(
                MODEL.finding(
                    "transport_jump", self._trip.subject, Grade.YELLOW, fix.at, stamp(fix.at),
                    since=stamp(fix.at), **facts,
                )
            )  # fmt: skip
            self._used = None  # the way between is unknown: rules begin at the new place
            found += self._use(fix)
        return found


def run(trips: Sequence[Followed], parameters: Mapping[str, float] | None = None, *, at: datetime) -> Result:
    """Follow trips over their history.

    Args:
        trips: each subject once; positions in any order.
        parameters: the node's own values.
        at: the instant of the judgement. Driving hours are those in force when each trip departed.

    Raises:
        InvalidValueError: a trip or a position is not usable.

    Returns:
        the findings; as figures the state of each trip, the roads it took where a network is given, and, for a
        trip that arrived, the likeness of its way and the declared route in metres (discrete Fréchet distance, 0 =
        the same).
    """
    settings = MODEL.settings(instant(at, "at").date(), parameters)
    distinct((one.trip.subject for one in trips), "trips.subject")
    found: list[Finding] = []
    states, roads, likenesses = {}, {}, {}
    for one in trips:
        for i, fix in enumerate(one.fixes):
            fix.checked(f"trips.{one.trip.subject}.fixes[{i}]")
        departed = one.trip.marks.get(State.DEPARTED, at)
        tracker = Tracker(one.trip, MODEL.settings(instant(departed, "departed").date(), parameters))
        for fix in sorted(one.fixes, key=lambda fix: fix.order):
            found += [new for new in tracker.add(fix, now=at) if new.kind == "transport_future"]
        found += tracker.findings(at)
        state = state_of(one.trip, at)[0]
        states[one.trip.subject] = state.value
        way = [(fix.lat, fix.lon) for fix in tracker.way]
        if one.network is not None and way:
            matched = match(one.network, way)
            roads[one.trip.subject] = [road for road, _ in groupby(spot.road for spot in matched)]
        if one.trip.route and way and state in _OVER:
            likenesses[one.trip.subject] = likeness(one.trip.route, way)
    return MODEL.result(at, settings, found, states=states, roads=roads, likeness_m=likenesses)


_LAW = "Hazardous Chemicals Safety Law"
_FROM = date(2026, 5, 1)
_BEFORE = Dated(
    4.0,
    "Road Traffic Safety Law, implementing regulations",
    "62 (7)",
    None,
    date(2026, 4, 30),
    confirmed=False,
)

MODEL = Model(
    name="transport",
    version="1.0",
    inputs=(
        Input("fixes", "°, km/h"),
        Input("marks", "instant", required=False),
        Input("route", "°", required=False),
        Input("stops", "°, m", required=False),
        Input("forbidden", "°", required=False),
        Input("due", "instant", required=False),
    ),
    parameters=(
        own("corridor_m", "m", 200.0, least=1),
        own("corridor_fixes", "1", 3.0, least=1),
        own("silence_minutes", "min", 10.0, least=0.1),
        own("bad_fix_kmh", "km/h", 120.0, least=1),
        own("bad_fix_rebase", "1", 3.0, least=2),
        own("future_minutes", "min", 2.0),
        own("dwell_minutes", "min", 10.0, least=0.1),
        own("dwell_m", "m", 100.0, least=1),
        own("moving_kmh", "km/h", 5.0),
        own("speed_fixes", "1", 2.0, least=1),
        own("late_minutes", "min", 15.0),
        own("eta_minutes", "min", 10.0, least=1),
        own("eta_least_kmh", "km/h", 5.0, least=0.1),
        own("day_offset_hours", "h", 8.0, least=-14, most=14),
        # no public source says when the night begins and ends
        own("night_from", "h", 22.0, most=24),
        own("night_until", "h", 5.0, most=24),
        ruled("speed_motorway", "km/h", 80.0, "road transport of dangerous goods", confirmed=False),
        ruled("speed_other", "km/h", 60.0, "road transport of dangerous goods", confirmed=False),
        Parameter("driving_hours", "h", (Dated(4.0, _LAW, "69", _FROM), _BEFORE), 0.1),
        Parameter("night_hours", "h", (Dated(2.0, _LAW, "69", _FROM), _BEFORE), 0.1),
        Parameter(
            "rest_minutes",
            "min",
            (
                Dated(20.0, _LAW, "69", _FROM),
                Dated(20.0, _BEFORE.source, _BEFORE.clause, None, _BEFORE.until, confirmed=False),
            ),
            1.0,
        ),
    ),
    run=run,
)
