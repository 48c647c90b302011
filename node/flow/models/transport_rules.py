"""The rules of a trip, each fed with the positions that are used, in order of time; it remembers only what it needs.

A rule gets the position before and the new one and yields findings. What it says depends on positions and
parameters alone, never on when they came, so that history and live agree.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

import shapely

from node.flow.models.geometry import Corridor, area, distance
from node.flow.models.model import Finding, Grade, Model, stamp
from node.flow.models.trip import Fix, State, Trip

__all__ = ["Rule", "hours_of_night", "rules_for"]

_HOUR = timedelta(hours=1)
_DAY_HOURS = 24


class Rule(Protocol):
    """One rule of a trip."""

    def take(self, before: Fix | None, fix: Fix) -> Iterable[Finding]:
        """Take the next used position."""


def rules_for(model: Model, trip: Trip, p: Mapping[str, float]) -> list[Rule]:
    """Return the rules that a trip is judged by.

    Raises:
        InvalidValueError: the route or an area is not usable.
    """
    corridor = Corridor(trip.route, f"trips.{trip.subject}.route") if trip.route else None
    rules: list[Rule] = [_Dwell(model, trip, p), _Hours(model, trip, p), _Speed(model, trip, p)]
    if corridor is not None:
        rules.append(_OffRoute(model, trip, p, corridor))
        if trip.due is not None:
            rules.append(_Eta(model, trip, p, corridor))
    if trip.forbidden:
        rules.append(_Forbidden(model, trip))
    return rules


def speed_between(before: Fix, fix: Fix) -> float:
    """Return the speed in km/h that leads from one position to another; without end when no time passed."""
    metres = float(distance(before.lat, before.lon, fix.lat, fix.lon))
    hours = (fix.at - before.at) / _HOUR
    if hours <= 0:
        return float("inf") if metres > 0 else 0.0
    return metres / 1000 / hours


class _OffRoute:
    """Off the corridor for several positions in a row; one finding per excursion."""

    def __init__(self, model: Model, trip: Trip, p: Mapping[str, float], corridor: Corridor) -> None:
        self._model, self._trip, self._p, self._corridor = model, trip, p, corridor
        self._outside: list[tuple[Fix, float]] = []

    def take(self, before: Fix | None, fix: Fix) -> Iterable[Finding]:  # noqa: ARG002 — the shape of a rule
        away, along = self._corridor.project(fix.lat, fix.lon)
        if away <= self._p["corridor_m"]:
            self._outside = []
            return
        self._outside.append((fix, away))
        if len(self._outside) == int(self._p["corridor_fixes"]):
            first = self._outside[0][0]
            far, metres = max(self._outside, key=lambda one: one[1])
            yield self._model.finding(
                "transport_off_route", self._trip.subject, Grade.ORANGE, fix.at, stamp(first.at),
                since=stamp(first.at), metres=metres, limit=self._p["corridor_m"], lat=far.lat, lon=far.lon,
                along_km=along / 1000,
            )  # fmt: skip


class _Dwell:
    """Standing outside the places where it may; one finding per halt."""

    def __init__(self, model: Model, trip: Trip, p: Mapping[str, float]) -> None:
        self._model, self._trip, self._p = model, trip, p
        self._anchor: Fix | None = None
        self._told = False

    def take(self, before: Fix | None, fix: Fix) -> Iterable[Finding]:  # noqa: ARG002 — the shape of a rule
        anchor = self._anchor
        if anchor is None or self._away(anchor, fix) > self._p["dwell_m"]:
            self._anchor, self._told = fix, False
            return
        stood = fix.at - anchor.at
        if self._told or stood < timedelta(minutes=self._p["dwell_minutes"]) or self._allowed(anchor):
            return
        self._told = True
        yield self._model.finding(
            "transport_dwell", self._trip.subject, Grade.YELLOW, fix.at, stamp(anchor.at),
            since=stamp(anchor.at), minutes=stood / timedelta(minutes=1), lat=anchor.lat, lon=anchor.lon,
        )  # fmt: skip

    def _away(self, one: Fix, other: Fix) -> float:
        return float(distance(one.lat, one.lon, other.lat, other.lon))

    def _allowed(self, fix: Fix) -> bool:
        return any(
            float(distance(stop.lat, stop.lon, fix.lat, fix.lon)) <= stop.radius_m
            for stop in self._trip.stops
        )


class _Forbidden:
    """Inside a forbidden area; one finding per entry."""

    def __init__(self, model: Model, trip: Trip) -> None:
        self._model, self._trip = model, trip
        where = f"trips.{trip.subject}.forbidden"
        self._areas = [(one.name, area(one.ring, f"{where}.{one.name}")) for one in trip.forbidden]
        self._inside: set[str] = set()

    def take(self, before: Fix | None, fix: Fix) -> Iterable[Finding]:  # noqa: ARG002 — the shape of a rule
        point = shapely.Point(fix.lon, fix.lat)
        now = {name for name, polygon in self._areas if polygon.covers(point)}
        for name in sorted(now - self._inside):
            yield self._model.finding(
                "transport_forbidden", self._trip.subject, Grade.RED, fix.at, f"{name}|{stamp(fix.at)}",
                area=name, lat=fix.lat, lon=fix.lon, since=stamp(fix.at),
            )  # fmt: skip
        self._inside = now


class _Speed:
    """Too fast for several positions in a row, by the device or else by the way between positions."""

    def __init__(self, model: Model, trip: Trip, p: Mapping[str, float]) -> None:
        self._model, self._trip, self._p = model, trip, p
        self._fast: list[tuple[Fix, float]] = []

    def take(self, before: Fix | None, fix: Fix) -> Iterable[Finding]:
        speed = fix.speed_kmh
        if speed is None:
            speed = 0.0 if before is None else speed_between(before, fix)
        limit = self._p["speed_other"] if fix.motorway is False else self._p["speed_motorway"]
        if speed <= limit:
            self._fast = []
            return
        self._fast.append((fix, speed))
        if len(self._fast) == int(self._p["speed_fixes"]):
            first = self._fast[0][0]
            yield self._model.finding(
                "transport_speed", self._trip.subject, Grade.YELLOW, fix.at, stamp(first.at),
                since=stamp(first.at), speed=max(one for _, one in self._fast), limit=limit,
            )  # fmt: skip


class _Hours:
    """Driving without rest: by day and night together, and by night alone; one finding of each per stint."""

    def __init__(self, model: Model, trip: Trip, p: Mapping[str, float]) -> None:
        self._model, self._trip, self._p = model, trip, p
        self._begin()

    def _begin(self) -> None:
        self._driven = self._night = self._rested = 0.0
        self._since: datetime | None = None
        self._told: set[str] = set()

    def take(self, before: Fix | None, fix: Fix) -> Iterable[Finding]:
        if before is None:
            return
        hours = (fix.at - before.at) / _HOUR
        if speed_between(before, fix) <= self._p["moving_kmh"]:
            self._rested += hours
            if self._rested * 60 >= self._p["rest_minutes"]:
                self._begin()
            return
        self._rested = 0.0
        self._since = self._since or before.at
        self._driven += hours
        self._night += hours_of_night(before.at, fix.at, self._p)
        yield from self._over("transport_hours", self._driven, self._p["driving_hours"], fix, self._since)
        yield from self._over("transport_night", self._night, self._p["night_hours"], fix, self._since)

    def _over(self, kind: str, hours: float, limit: float, fix: Fix, since: datetime) -> Iterable[Finding]:
        # sums of parts of hours: a hair above the limit is the limit
        if kind in self._told or hours <= limit + 1e-9:
            return
        self._told.add(kind)
        yield self._model.finding(
            kind, self._trip.subject, Grade.ORANGE, fix.at, stamp(since),
            since=stamp(since), hours=hours, limit=limit, rest=self._p["rest_minutes"],
        )  # fmt: skip


def hours_of_night(start: datetime, end: datetime, p: Mapping[str, float]) -> float:
    """Return how many hours of a span lie in the night, which may pass midnight."""
    shift = timedelta(hours=p["day_offset_hours"])
    first, last = start.astimezone(UTC) + shift, end.astimezone(UTC) + shift
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    length = (p["night_until"] - p["night_from"]) % _DAY_HOURS
    total = 0.0
    while midnight <= last:
        dusk = midnight + timedelta(hours=p["night_from"])
        dawn = dusk + timedelta(hours=length)
        total += max(0.0, (min(last, dawn) - max(first, dusk)) / _HOUR)
        midnight += timedelta(days=1)
    return total


class _Eta:
    """Expected too late, by the way left and the mean speed so far; once per trip."""

    def __init__(self, model: Model, trip: Trip, p: Mapping[str, float], corridor: Corridor) -> None:
        self._model, self._trip, self._p, self._corridor = model, trip, p, corridor
        self._first: tuple[datetime, float] | None = None
        self._told = False

    def take(self, before: Fix | None, fix: Fix) -> Iterable[Finding]:  # noqa: ARG002 — the shape of a rule
        due = self._trip.due
        _, along = self._corridor.project(fix.lat, fix.lon)
        if self._first is None:
            self._first = (self._trip.marks.get(State.DEPARTED, fix.at), 0.0)
            if State.DEPARTED not in self._trip.marks:
                self._first = (fix.at, along)
        since, start = self._first
        gone = fix.at - since
        if self._told or due is None or gone < timedelta(minutes=self._p["eta_minutes"]):
            return
        speed = (along - start) / 1000 / (gone / _HOUR)
        left = (self._corridor.length - along) / 1000
        eta = fix.at + timedelta(hours=min(left / max(speed, self._p["eta_least_kmh"]), 24 * 30))
        late = eta - due
        if left > 0 and late > timedelta(minutes=self._p["late_minutes"]):
            self._told = True
            yield self._model.finding(
                "transport_late", self._trip.subject, Grade.BLUE, fix.at,
                due=stamp(due), eta=stamp(eta), minutes=late / timedelta(minutes=1), left_km=left, speed=speed,
            )  # fmt: skip
