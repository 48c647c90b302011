"""Positions laid on a road network: a hidden Markov model, solved by Viterbi (Newson and Krumm, 2009).

- A position may lie on each road within reach; how likely, falls off normally with the distance (sigma).
- From road to road: `exp(-|d_gc - d_route| / beta) / beta`, d_gc the way as the crow flies between the positions,
  d_route the way along the roads between the two points on them.
- Where no road is in reach, or none leads on, the chain breaks and begins anew; a break is told, never bridged.

O(T K^2) with K roads in reach; ways along roads by Dijkstra from each road's end, bounded, and remembered.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from scipy import sparse
from scipy.sparse import csgraph

from node.flow.models.checks import Floats, distinct, name, number, place, some
from node.flow.models.geometry import distance, planar
from registry.errors import InvalidValueError

__all__ = ["SIGMA_M", "Matched", "Network", "Road", "match", "sigma_of"]

#: Published standard deviation of a position, metres (Newson and Krumm).
SIGMA_M = 4.07
_MAD = 1.4826
_LEAST_WAY_M = 2_000.0

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Road:
    """A straight piece of road from one junction to another; `one_way` in that direction."""

    name: str
    start: str
    end: str
    one_way: bool = False


@dataclass(frozen=True, slots=True)
class Matched:
    """One position on the network: road, metres from its start; None where nothing fits. `break_`: a chain begins."""

    road: str | None
    metres: float | None
    away_m: float | None
    break_: bool


@dataclass(frozen=True, slots=True)
class _Spot:
    arc: int
    along: float
    away: float


class Network:
    """Junctions and roads, ready for questions.

    Args:
        junctions: name to (latitude, longitude).
        roads: between them.

    Raises:
        InvalidValueError: no roads, an unknown junction, a road without length, or a name twice.
    """

    def __init__(self, junctions: Mapping[str, Place], roads: Sequence[Road]) -> None:
        some(roads, "roads")
        distinct((name(road.name, "roads.name") for road in roads), "roads.name")
        names = sorted(junctions)
        places = [place(*junctions[one], f"junctions.{one}") for one in names]
        self._origin = (float(np.mean([p[0] for p in places])), places[0][1])
        points, index = planar(places, self._origin), {one: i for i, one in enumerate(names)}
        self.roads = sorted(roads, key=lambda road: road.name)
        self._arcs: list[tuple[Road, int, int, bool]] = []  # road, from, to, against its direction
        for road in self.roads:
            for junction in (road.start, road.end):
                if junction not in index:
                    raise InvalidValueError(
                        "node.flow_models.unknown_stream", field=f"roads.{road.name}", value=junction
                    )
            start, end = index[road.start], index[road.end]
            self._arcs.append((road, start, end, False))
            if not road.one_way:
                self._arcs.append((road, end, start, True))
        tails, heads = np.array([a[1] for a in self._arcs]), np.array([a[2] for a in self._arcs])
        self.lengths: Floats = np.hypot(*(points[heads] - points[tails]).T)
        for arc, length in zip(self._arcs, self.lengths, strict=True):
            number(length, f"roads.{arc[0].name}.length", above=0)
        self._tails, self._heads, self._points = tails, heads, points
        self._tree = shapely.STRtree(shapely.linestrings(np.stack((points[tails], points[heads]), axis=1)))
        self._graph = self._weights(len(names))
        self._known: dict[tuple[int, float], Floats] = {}

    def _weights(self, count: int) -> sparse.csr_array:
        """Return the graph; of two roads between the same junctions the shorter (the sum would be wrong)."""
        best: dict[tuple[int, int], float] = {}
        for tail, head, length in zip(self._tails, self._heads, self.lengths, strict=True):
            key = (int(tail), int(head))
            best[key] = min(best.get(key, math.inf), float(length))
        rows, columns = zip(*best, strict=True)
        return sparse.csr_array((list(best.values()), (rows, columns)), shape=(count, count))

    def spots(self, lat: float, lon: float, reach_m: float, most: int) -> list[_Spot]:
        """Return the points on roads within reach, the nearest first."""
        x, y = planar([(lat, lon)], self._origin)[0]
        found = []
        for arc in self._tree.query(shapely.Point(x, y), predicate="dwithin", distance=reach_m):
            a, b = self._points[self._tails[arc]], self._points[self._heads[arc]]
            along = float(np.clip(np.dot((x, y) - a, b - a) / self.lengths[arc], 0, self.lengths[arc]))
            foot = a + (b - a) * along / self.lengths[arc]
            found.append(_Spot(int(arc), along, float(math.hypot(x - foot[0], y - foot[1]))))
        return sorted(found, key=lambda spot: (round(spot.away, 6), spot.arc))[:most]

    def way(self, one: _Spot, other: _Spot, limit: float, slack: float) -> float:
        """Return the metres along roads from one spot to another; without end when beyond the limit.

        A step back of up to `slack` on the same road is the noise of positions, not a way around the block.
        """
        if one.arc == other.arc and other.along >= one.along - slack:
            return abs(other.along - one.along)
        between = self._from(int(self._heads[one.arc]), limit)[self._tails[other.arc]]
        return float(self.lengths[one.arc] - one.along + between + other.along)

    def _from(self, junction: int, limit: float) -> Floats:
        reach = 2.0 ** math.ceil(math.log2(limit))  # few different limits: more is remembered
        key = (junction, reach)
        if key not in self._known:
            self._known[key] = csgraph.dijkstra(self._graph, indices=junction, limit=reach)
        return self._known[key]

    def told(self, spot: _Spot) -> tuple[str, float]:
        """Return the road of a spot and the metres from the road's own start."""
        road, _, _, against = self._arcs[spot.arc]
        return road.name, float(self.lengths[spot.arc] - spot.along) if against else spot.along


def sigma_of(distances: Sequence[float]) -> float:
    """Return sigma from distances between positions and their roads: 1.4826 times the median.

    Raises:
        InvalidValueError: there are none, or one is negative.
    """
    some(distances, "distances")
    known = [number(one, f"distances[{i}]", least=0) for i, one in enumerate(distances)]
    return _MAD * float(np.median(known))


def match(
    network: Network,
    fixes: Sequence[Place],
    *,
    sigma_m: float = SIGMA_M,
    beta_m: float = 10.0,
    reach_m: float = 50.0,
    most: int = 8,
) -> list[Matched]:
    """Return the likeliest way of positions through a network.

    Args:
        network: the roads.
        fixes: (latitude, longitude) in order of time.
        sigma_m: standard deviation of a position.
        beta_m: scale of the difference between way and distance.
        reach_m: how far a position may lie from its road.
        most: roads looked at for each position.

    Raises:
        InvalidValueError: no positions, or a figure out of bounds.
    """
    some(fixes, "fixes")
    for value, field in ((sigma_m, "sigma_m"), (beta_m, "beta_m"), (reach_m, "reach_m")):
        number(value, field, above=0)
    points = [place(*one, f"fixes[{i}]") for i, one in enumerate(fixes)]
    result: list[Matched] = []
    chain: list[list[_Spot]] = []
    links: list[list[int]] = []
    score: Floats = np.empty(0)
    for i, point in enumerate(points):
        spots = network.spots(*point, reach_m, most)
        near = np.array([-0.5 * (spot.away / sigma_m) ** 2 for spot in spots])
        reached = (
            _step(
                network,
                chain[-1],
                spots,
                score,
                crow=float(distance(*points[i - 1], *point)),
                beta=beta_m,
                sigma=sigma_m,
            )
            if chain
            else None
        )
        if spots and reached is not None and np.isfinite(reached[0]).any():
            score = reached[0] + near
            chain.append(spots)
            links.append(reached[1])
            continue
        result += _walked(network, chain, links, score)
        chain, links, score = ([spots], [], near) if spots else ([], [], np.empty(0))
        if not spots:
            result.append(Matched(None, None, None, break_=True))
    return result + _walked(network, chain, links, score)


def _step(
    network: Network,
    before: list[_Spot],
    spots: list[_Spot],
    score: Floats,
    *,
    crow: float,
    beta: float,
    sigma: float,
) -> tuple[Floats, list[int]]:
    """Return the best score of each spot before its own likelihood, and from which spot it comes."""
    limit = max(_LEAST_WAY_M, 4 * crow)
    best, source = np.full(len(spots), -np.inf), [0] * len(spots)
    for j, spot in enumerate(spots):
        for k, one in enumerate(before):
            way = network.way(one, spot, limit, 2 * sigma)
            value = score[k] - abs(crow - way) / beta if math.isfinite(way) and way <= limit else -np.inf
            if value > best[j]:
                best[j], source[j] = value, k
    return best, source


def _walked(
    network: Network, chain: list[list[_Spot]], links: list[list[int]], score: Floats
) -> list[Matched]:
    """Walk a chain back from its best end."""
    if not chain:
        return []
    j = int(np.argmax(score))
    path = [j]
    for link in reversed(links):
        j = link[j]
        path.append(j)
    matched = []
    for i, (spots, k) in enumerate(zip(chain, reversed(path), strict=True)):
        road, metres = network.told(spots[k])
        matched.append(Matched(road, metres, spots[k].away, break_=i == 0))
    return matched
