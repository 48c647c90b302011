"""Where a point lies: on the sphere for distances, in degrees for areas, in the plane for likeness.

Places are (latitude, longitude) in degrees. The sphere's radius is the mean radius of the Earth; against the
ellipsoid a distance is wrong by at most about half a percent, far below the width of a corridor.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from node.flow.models.checks import Floats, number, numbers, place, some
from registry.errors import InvalidValueError

__all__ = [
    "EARTH_RADIUS_M",
    "Corridor",
    "area",
    "bearing",
    "cross_track",
    "densified",
    "distance",
    "frechet",
    "likeness",
    "planar",
]

#: Mean radius of the Earth (IUGG), metres.
EARTH_RADIUS_M = 6_371_008.8

_POLYGON = 3

#: A place in degrees.
Place = tuple[float, float]


def _angle(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
    """Return the central angle between places in radians (haversine: exact for small angles too)."""
    one, other = np.radians(lat1), np.radians(lat2)
    turn = np.sin((np.radians(lon2) - np.radians(lon1)) / 2) ** 2
    part = np.sin((other - one) / 2) ** 2 + np.cos(one) * np.cos(other) * turn
    return np.asarray(2 * np.arcsin(np.sqrt(np.clip(part, 0, 1))))


def distance(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
    """Return great-circle distances in metres; arrays are taken element by element."""
    return np.asarray(EARTH_RADIUS_M * _angle(lat1, lon1, lat2, lon2))


def bearing(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
    """Return initial bearings in radians, clockwise from north."""
    one, other = np.radians(lat1), np.radians(lat2)
    turn = np.radians(lon2) - np.radians(lon1)
    east = np.sin(turn) * np.cos(other)
    north = np.cos(one) * np.sin(other) - np.sin(one) * np.cos(other) * np.cos(turn)
    return np.asarray(np.arctan2(east, north))


def cross_track(point: Place, start: Place, end: Place) -> float:
    """Return the signed distance in metres from the great circle through two places; positive is right of it."""
    angle = _angle(*start, *point)
    turn = bearing(*start, *point) - bearing(*start, *end)
    return float(EARTH_RADIUS_M * np.arcsin(np.clip(np.sin(angle) * np.sin(turn), -1, 1)))


class Corridor:
    """A declared route, and how far from it and along it a place lies.

    Args:
        route: at least two places; places repeated one after another count once.
        field: where the route stands, for refusals.

    Raises:
        InvalidValueError: the route is no line on the Earth.
    """

    def __init__(self, route: Sequence[Place], field: str = "route") -> None:
        some(route, field, 2)
        points = [place(*one, f"{field}[{i}]") for i, one in enumerate(route)]
        kept = [points[0], *(b for a, b in pairwise(points) if a != b)]
        some(kept, field, 2)
        lat, lon = np.array(kept).T
        self._start, self._end = (lat[:-1], lon[:-1]), (lat[1:], lon[1:])
        self._length = _angle(*self._start, *self._end)
        self._bearing = bearing(*self._start, *self._end)
        self._before = np.concatenate(([0.0], np.cumsum(self._length)))

    @property
    def length(self) -> float:
        """Return the length of the route in metres."""
        return float(EARTH_RADIUS_M * self._before[-1])

    def project(self, lat: float, lon: float) -> tuple[float, float]:
        """Return how far a place is from the route and how far along it its nearest point lies, in metres."""
        angle = _angle(*self._start, lat, lon)
        turn = bearing(*self._start, lat, lon) - self._bearing
        across = np.arcsin(np.clip(np.sin(angle) * np.sin(turn), -1, 1))
        along = np.arctan2(np.sin(angle) * np.cos(turn), np.cos(angle))
        beyond = _angle(*self._end, lat, lon)
        beside = (along > 0) & (along < self._length)
        away = np.where(beside, np.abs(across), np.minimum(angle, beyond))
        best = int(np.argmin(away))
        part = along[best] if beside[best] else (0.0 if angle[best] <= beyond[best] else self._length[best])
        return float(EARTH_RADIUS_M * away[best]), float(EARTH_RADIUS_M * (self._before[best] + part))


def area(ring: Sequence[Place], field: str) -> shapely.Polygon:
    """Return the polygon of a ring of places, prepared for questions; x is longitude, y latitude.

    Raises:
        InvalidValueError: fewer than three places, or a ring that crosses itself.
    """
    some(ring, field, _POLYGON)
    points = [place(*one, f"{field}[{i}]") for i, one in enumerate(ring)]
    polygon = shapely.Polygon([(lon, lat) for lat, lon in points])
    if not polygon.is_valid or polygon.is_empty or polygon.area == 0:
        raise InvalidValueError("node.flow_models.bad_area", field=field)
    shapely.prepare(polygon)
    return polygon


def planar(points: Sequence[Place], origin: Place) -> Floats:
    """Return places as metres east and north of `origin`, for places within some hundred kilometres of it."""
    lat, lon = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
    turn = (lon - origin[1] + 180) % 360 - 180
    east = np.radians(turn) * math.cos(math.radians(origin[0]))
    return np.asarray(EARTH_RADIUS_M * np.column_stack((east, np.radians(lat - origin[0]))))


def densified(line: ArrayLike, fraction: float) -> Floats:
    """Return a line with each of its legs cut into equal parts of at most `fraction` of the leg.

    Raises:
        InvalidValueError: the fraction is not in (0, 1].
    """
    points = _line(line, "line")
    parts = math.ceil(1 / number(fraction, "fraction", above=0, most=1))
    steps = np.arange(parts) / parts
    legs = points[:-1, None, :] + steps[None, :, None] * np.diff(points, axis=0)[:, None, :]
    return np.vstack((legs.reshape(-1, 2), points[-1:]))


def frechet(one: ArrayLike, other: ArrayLike, densify: float | None = None) -> float:
    """Return the discrete Fréchet distance of two lines in the plane, in O(n m).

    `c(i,j) = max(d(p_i,q_j), min(c(i-1,j), c(i,j-1), c(i-1,j-1)))`, one diagonal after another, so that each is
    one step.

    Raises:
        InvalidValueError: a line has no point, or a coordinate is no number.
    """
    p, q = _line(one, "one"), _line(other, "other")
    if densify is not None:
        p, q = densified(p, densify), densified(q, densify)
    n, m = len(p), len(q)
    before: Floats = np.full(
        n + 1, np.inf
    )  # diagonal s-1 and s-2; element i+1 is row i, element 0 lies outside
    last: Floats = np.full(n + 1, np.inf)
    last[1] = np.hypot(*(p[0] - q[0]))
    for s in range(1, n + m - 1):
        rows = np.arange(max(0, s - m + 1), min(n - 1, s) + 1)
        gaps = np.hypot(*(p[rows] - q[s - rows]).T)
        reached = np.minimum(np.minimum(last[rows], last[rows + 1]), before[rows])
        now = np.full(n + 1, np.inf)
        now[rows + 1] = np.maximum(gaps, reached)
        before, last = last, now
    return float(last[n])


def likeness(route: Sequence[Place], way: Sequence[Place], parts: int = 500) -> float:
    """Return how far two ways on the Earth are apart at worst, in metres: discrete Fréchet distance.

    Both are cut into `parts` equal pieces, so that corners set far apart do not count as distance; what remains of
    the cutting is about a piece of the longer way.

    Raises:
        InvalidValueError: a way has no place.
    """
    some(route, "route")
    some(way, "way")
    origin = (float(np.mean([lat for lat, _ in route])), route[0][1])
    return frechet(_even(planar(route, origin), parts), _even(planar(way, origin), parts))


def _even(line: Floats, parts: int) -> Floats:
    """Return a line as so many equal pieces."""
    if len(line) == 1:
        return line
    steps = np.hypot(*np.diff(line, axis=0).T)
    gone = np.concatenate(([0.0], np.cumsum(steps)))
    at = np.linspace(0, gone[-1], parts + 1)
    return np.column_stack((np.interp(at, gone, line[:, 0]), np.interp(at, gone, line[:, 1])))


def _line(points: ArrayLike, field: str) -> Floats:
    shaped: NDArray[np.object_] = np.asarray(points, dtype=object)
    if shaped.ndim != 2 or shaped.shape[1] != 2:  # noqa: PLR2004 — points of the plane
        raise InvalidValueError("node.flow_models.too_few", field=field, value=0, limit=1)
    return numbers(shaped.ravel(), field).reshape(-1, 2)
