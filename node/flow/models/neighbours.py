"""Pairs of cases near in space and time: the Knox test, and the clusters that are drawn on a map.

Near pairs are found by a grid of cubes around the sphere: no projection, no trouble at the date line. Clusters for
display are those of DBSCAN on the pairs within both limits: a case with enough neighbours is a core, cores that
are neighbours belong together, other neighbours go to the nearest core.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.sparse import csgraph

from node.flow.models.checks import Floats, number, some, whole
from node.flow.models.geometry import EARTH_RADIUS_M, distance

__all__ = ["Knox", "display_clusters", "knox", "knox_of", "near_pairs"]

Pairs = NDArray[np.int64]

#: Half of the cubes around a cube: each pair of cubes is looked at once.
_FORWARD = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


@dataclass(frozen=True, slots=True)
class Knox:
    """Pairs near in space, close in time, both; the pairs expected to be both, and P(X > both) (Poisson)."""

    near: int
    close: int
    both: int
    pairs: int
    expected: float
    p: float
    p_shuffled: float | None = None


def near_pairs(lat: Floats, lon: Floats, limit_m: float) -> Pairs:
    """Return all pairs (i < j) at most `limit_m` apart, in order.

    Raises:
        InvalidValueError: the limit is not above zero.
    """
    number(limit_m, "limit_m", above=0)
    chord = 2 * math.sin(min(math.pi / 2, limit_m / EARTH_RADIUS_M / 2)) * (1 + 1e-9) + 1e-12
    up, around = np.radians(lat), np.radians(lon)
    points = np.column_stack((np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)))
    cubes: dict[tuple[int, int, int], list[int]] = {}
    for i, (x, y, z) in enumerate(np.floor(points / chord).astype(np.int64)):
        cubes.setdefault((int(x), int(y), int(z)), []).append(i)
    found = []
    for cube, here in cubes.items():
        own = np.array(here)
        left, right = np.triu_indices(len(own), 1)
        found.append(np.column_stack((own[left], own[right])))
        x, y, z = cube
        beside = [i for dx, dy, dz in _FORWARD for i in cubes.get((x + dx, y + dy, z + dz), ())]
        if beside:
            found.append(np.column_stack((np.repeat(own, len(beside)), np.tile(beside, len(own)))))
    pairs = np.sort(np.concatenate(found), axis=1) if found else np.empty((0, 2), dtype=np.int64)
    apart = distance(lat[pairs[:, 0]], lon[pairs[:, 0]], lat[pairs[:, 1]], lon[pairs[:, 1]])
    pairs = pairs[apart <= limit_m]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def knox_of(near: int, close: int, both: int, cases: int) -> Knox:
    """Return the Knox test from its counts.

    Raises:
        InvalidValueError: a count is no whole number, or there are fewer than two cases.
    """
    pairs = math.comb(whole(cases, "cases", least=2), 2)
    expected = whole(near, "near") * whole(close, "close") / pairs
    return Knox(near, close, both, pairs, expected, float(stats.poisson.sf(whole(both, "both"), expected)))


def knox(
    lat: Floats,
    lon: Floats,
    days: Floats,
    *,
    limit_m: float,
    limit_days: float,
    replicas: int = 0,
    seed: int = 0,
) -> Knox:
    """Return whether near cases are also close in time; with replicas also the p of shuffled times.

    Raises:
        InvalidValueError: fewer than two cases, or a limit out of bounds.
    """
    some(lat, "cases", 2)
    number(limit_days, "limit_days", least=0)
    pairs = near_pairs(lat, lon, limit_m)
    ordered = np.sort(days)
    later = np.searchsorted(ordered, ordered + limit_days, side="right")
    close = int((later - np.arange(1, len(days) + 1)).sum())  # each case with those after it in the order
    test = knox_of(len(pairs), close, _both(days, pairs, limit_days), len(days))
    if replicas <= 0:
        return test
    chance = np.random.default_rng(seed)
    drawn = [_both(chance.permutation(days), pairs, limit_days) for _ in range(replicas)]
    p = (1 + sum(one >= test.both for one in drawn)) / (replicas + 1)
    return Knox(test.near, test.close, test.both, test.pairs, test.expected, test.p, p)


def _both(days: Floats, pairs: Pairs, limit: float) -> int:
    return int(np.count_nonzero(np.abs(days[pairs[:, 0]] - days[pairs[:, 1]]) <= limit))


def display_clusters(
    lat: Floats, lon: Floats, days: Floats, *, limit_m: float, limit_days: float, least: int
) -> list[tuple[int, ...]]:
    """Return the clusters for a map: indices in order, clusters by their first member; lonely cases are in none.

    Args:
        lat: latitudes, degrees.
        lon: longitudes, degrees.
        days: times in days.
        limit_m: greatest distance of neighbours.
        limit_days: greatest time between neighbours.
        least: neighbours, itself counted, that make a case a core.

    Raises:
        InvalidValueError: a limit is out of bounds.
    """
    number(limit_days, "limit_days", least=0)
    whole(least, "least", least=1)
    n = len(lat)
    if n == 0:
        return []
    pairs = near_pairs(lat, lon, limit_m)
    pairs = pairs[np.abs(days[pairs[:, 0]] - days[pairs[:, 1]]) <= limit_days]
    core = np.bincount(pairs.ravel(), minlength=n) + 1 >= least
    inner = pairs[core[pairs].all(axis=1)]
    graph = sparse.coo_array((np.ones(len(inner)), (inner[:, 0], inner[:, 1])), shape=(n, n))
    _, label = csgraph.connected_components(graph, directed=False)
    label = np.where(core, label, -1)
    label = _with_rims(label, core, pairs, lat, lon)
    groups = [tuple(int(i) for i in np.flatnonzero(label == one)) for one in np.unique(label[label >= 0])]
    return sorted(groups)


def _with_rims(label: Pairs, core: NDArray[np.bool_], pairs: Pairs, lat: Floats, lon: Floats) -> Pairs:
    """Give each case that is no core to its nearest core, the western- and southernmost of equals."""
    rims = np.concatenate((pairs, pairs[:, ::-1]))
    rims = rims[~core[rims[:, 0]] & core[rims[:, 1]]]
    if len(rims) == 0:
        return label
    away = distance(lat[rims[:, 0]], lon[rims[:, 0]], lat[rims[:, 1]], lon[rims[:, 1]])
    order = np.lexsort((lat[rims[:, 1]], lon[rims[:, 1]], away, rims[:, 0]))
    case, first = np.unique(rims[order, 0], return_index=True)
    result = label.copy()
    result[case] = label[rims[order][first, 1]]
    return result
