"""A trip as declared, its positions, and the state it is in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from node.flow.models.checks import instant, name, number, place
from registry.errors import InvalidValueError

__all__ = ["Area", "Fix", "State", "Stop", "Trip", "state_of"]


class State(StrEnum):
    """How far a trip has come; each step follows the one before."""

    PLANNED = "planned"
    LOADED = "loaded"
    DEPARTED = "departed"
    ARRIVED = "arrived"
    RECEIVED = "received"
    CLOSED = "closed"


_STEPS = tuple(State)


@dataclass(frozen=True, slots=True)
class Fix:
    """One position: when, where (degrees), and what the device says beside it."""

    at: datetime
    lat: float
    lon: float
    speed_kmh: float | None = None
    motorway: bool | None = None  # None = not known: judged by the higher limit

    def checked(self, field_: str) -> "Fix":
        """Return this position.

        Raises:
            InvalidValueError: it is none.
        """
        instant(self.at, f"{field_}.at")
        place(self.lat, self.lon, field_)
        if self.speed_kmh is not None:
            number(self.speed_kmh, f"{field_}.speed_kmh", least=0)
        return self

    @property
    def order(self) -> tuple[datetime, float, float, float, int]:
        """Return what positions are sorted by: no two different ones are equal where it matters."""
        speed = -1.0 if self.speed_kmh is None else float(self.speed_kmh)
        road = -1 if self.motorway is None else int(self.motorway)
        return (self.at, self.lat, self.lon, speed, road)


@dataclass(frozen=True, slots=True)
class Stop:
    """A place where the vehicle may stand."""

    name: str
    lat: float
    lon: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class Area:
    """A place it may not enter: a ring of (latitude, longitude)."""

    name: str
    ring: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Trip:
    """One trip of one vehicle; what is not given is not judged.

    Attributes:
        subject: identifier of the trip or waybill.
        marks: when each state was reached; planned needs none.
        route: the declared route, (latitude, longitude).
        stops: where it may stand: origin, destination, service areas.
        forbidden: where it may not go.
        due: when it is promised to arrive.
    """

    subject: str
    marks: Mapping[State, datetime] = field(default_factory=dict)
    route: tuple[tuple[float, float], ...] = ()
    stops: tuple[Stop, ...] = ()
    forbidden: tuple[Area, ...] = ()
    due: datetime | None = None

    def checked(self) -> "Trip":
        """Return this trip; route and areas are looked at where they are used.

        Raises:
            InvalidValueError: something in it is not usable.
        """
        where = f"trips.{name(self.subject, 'trips.subject')}"
        for state, at in self.marks.items():
            instant(at, f"{where}.marks.{State(state)}")
        for i, stop in enumerate(self.stops):
            place(stop.lat, stop.lon, f"{where}.stops[{i}]")
            number(stop.radius_m, f"{where}.stops[{i}].radius_m", above=0)
        for i, area in enumerate(self.forbidden):
            name(area.name, f"{where}.forbidden[{i}].name")
        if self.due is not None:
            instant(self.due, f"{where}.due")
        return self


def state_of(trip: Trip, at: datetime) -> tuple[State, tuple[str, ...]]:
    """Return the state at an instant, and the marks that contradict each other.

    A contradiction is a step that is marked while an earlier one is missing, or marked before an earlier one.
    Loading is the exception: a trip that departed has been loaded.

    Raises:
        InvalidValueError: a mark is not usable.
    """
    if not isinstance(at, datetime):
        raise InvalidValueError("node.flow_models.not_instant", field="at", value=str(at)[:60])
    trip.checked()
    reached = [step for step in _STEPS if step in trip.marks and trip.marks[step] <= at]
    state = reached[-1] if reached else State.PLANNED
    wrong = []
    for i, step in enumerate(_STEPS[1:], 1):
        if step not in reached:
            continue
        for before in _STEPS[1:i]:
            if before in trip.marks and trip.marks[before] > trip.marks[step]:
                wrong.append(f"{step} < {before}")
            elif before not in trip.marks and before is not State.LOADED:
                wrong.append(f"{step}, – {before}")
    return state, tuple(wrong)
