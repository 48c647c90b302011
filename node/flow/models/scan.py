"""The space-time permutation scan: circles up to a radius, the last days, dates shuffled over the cases.

Kulldorff and others (2005). `mu = c_zone c_days / C`, `LLR = c ln(c/mu) + (C-c) ln((C-c)/(C-mu))` where c > mu.

Why it is quick: shuffling dates changes neither how many cases a zone holds nor how many a window holds. For the k
nearest cases of any centre mu is therefore the same, and LLR grows with c; of all centres only the greatest c
counts, for each size k and window. A replica is then additions and maxima of small whole numbers, no logarithm.
Replicas stand side by side in memory, so each step is one run over contiguous bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.flow.models.checks import Floats, number, some, whole
from node.flow.models.geometry import distance

__all__ = ["Cluster", "Zones", "best_per_centre", "permutation_llr", "permutation_scan", "separate"]

Counts = NDArray[Any]
Lags = NDArray[np.int64]

#: Bytes of one block of replicas: it stays in the processor's cache.
_BLOCK_BYTES = 1 << 20
_SMALL = 255


@dataclass(frozen=True, slots=True)
class Cluster:
    """One zone and window.

    Attributes:
        centre: index of the case at the centre.
        members: indices of the cases inside zone and window.
        zone: indices of all cases inside the zone.
        radius_m: radius of the circle.
        days: length of the window, which ends with the last day.
        observed: cases inside.
        expected: cases expected.
        llr: log likelihood ratio.
        p: share of replicas whose best is at least as good, this one counted.
    """

    centre: int
    members: tuple[int, ...]
    zone: tuple[int, ...]
    radius_m: float
    days: int
    observed: int
    expected: float
    llr: float
    p: float


class Zones:
    """The circles around each place with a case: the nearest cases in order, up to a radius and a share of all.

    Args:
        lat: latitudes, degrees.
        lon: longitudes, degrees.
        radius_m: greatest radius.
        share: greatest share of all cases in one zone.
    """

    def __init__(self, lat: Floats, lon: Floats, *, radius_m: float, share: float) -> None:
        _, first = np.unique(np.column_stack((lat, lon)), axis=0, return_index=True)
        most = max(1, int(share * len(lat)))
        orders, gaps = [], []
        for centre in np.sort(first):
            away = distance(lat[centre], lon[centre], lat, lon)
            near = np.flatnonzero(away <= radius_m)
            near = near[np.argsort(away[near], kind="stable")]
            # a circle holds all cases at its rim: where the cap cuts through equals, the zone before it is the last
            orders.append(near[:most])
            gaps.append(np.append(away[near], np.inf)[: most + 1])
        sizes = np.array([len(order) for order in orders])
        rank = np.argsort(-sizes, kind="stable")  # the longest first: those still growing are a prefix
        self.centres = np.sort(first)[rank]
        self.sizes = sizes[rank]
        self.order = np.zeros((len(rank), int(sizes.max())), dtype=np.int64)
        self.radius = np.zeros(self.order.shape)
        self.ends = np.zeros(self.order.shape, dtype=bool)
        for row, i in enumerate(rank):
            size = sizes[i]
            self.order[row, :size] = orders[i]
            self.radius[row, :size] = gaps[i][:size]
            # the rim: the next case is farther away by more than rounding
            self.ends[row, :size] = gaps[i][1 : size + 1] > gaps[i][:size] + 1e-6

    @property
    def longest(self) -> int:
        """Return the greatest number of cases in a zone."""
        return int(self.order.shape[1])

    def active(self, k: int) -> int:
        """Return how many centres have a zone of more than `k` cases: they come first."""
        return int(np.searchsorted(-self.sizes, -k, side="left"))


def permutation_llr(observed: Any, expected: Any, total: float) -> Floats:
    """Return the log likelihood ratio of the permutation model; 0 where no more was seen than expected."""
    c, mu = np.broadcast_arrays(np.asarray(observed, float), np.asarray(expected, float))
    more = (c > mu) & (mu > 0) & (c <= total)
    c, mu = np.where(more, c, 1.0), np.where(more, mu, 1.0)
    rest = total - c
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = np.where(rest > 0, rest * np.log(rest / (total - mu)), 0.0)
    return np.where(more, c * np.log(c / mu) + outside, 0.0)


def permutation_scan(
    lat: Floats,
    lon: Floats,
    lag_days: Lags,
    *,
    radius_m: float,
    window_days: int,
    share: float,
    replicas: int,
    seed: int,
) -> list[Cluster]:
    """Return the clusters that do not overlap, best first; each with its p.

    Args:
        lat: latitudes of the cases, degrees.
        lon: longitudes, degrees.
        lag_days: full days between each case and the last day; 0 = on the last day.
        radius_m: greatest radius of a circle.
        window_days: longest window.
        share: greatest share of all cases in one zone, (0, 1].
        replicas: number of shuffles; 999 for a p to three digits.
        seed: of the shuffles.

    Raises:
        InvalidValueError: fewer than two cases, or a figure out of bounds.
    """
    some(lat, "cases", 2)
    number(radius_m, "radius_m", above=0)
    number(share, "share", above=0, most=1)
    windows, replicas = whole(window_days, "window_days", least=1), whole(replicas, "replicas", least=1)
    zones = Zones(lat, lon, radius_m=radius_m, share=share)
    total = len(lag_days)
    held = np.array([np.count_nonzero(lag_days < w) for w in range(1, windows + 1)])
    kept = np.flatnonzero((held > 0) & (held < total)) + 1  # a window that holds none or all says nothing
    if kept.size == 0:
        return []
    table = _llr_table(zones.longest, held[kept - 1], total)
    found = best_per_centre(zones, lag_days, kept, table)
    best = _replicas(zones, lag_days, kept, table, replicas=replicas, seed=seed)
    clusters = []
    for centre, k, w, observed, llr in separate(zones, found):
        days = int(kept[w])
        zone = zones.order[centre, : k + 1]
        # replicas are compared with a hair of tolerance: equal ones count against the cluster
        p = (1 + int(np.count_nonzero(best >= llr - 1e-12))) / (replicas + 1)
        clusters.append(
            Cluster(
                centre=int(zones.centres[centre]),
                members=tuple(sorted(int(i) for i in zone if lag_days[i] < days)),
                zone=tuple(sorted(int(i) for i in zone)),
                radius_m=float(zones.radius[centre, k]),
                days=days,
                observed=observed,
                expected=float((k + 1) * held[days - 1] / total),
                llr=llr,
                p=p,
            )
        )
    return clusters


def best_per_centre(
    zones: Zones, lag_days: Lags, windows: Lags, table: Floats
) -> list[tuple[int, int, int, int, float]]:
    """Return for each centre its best zone as (row, k, window, observed, llr); centres without any are left out."""
    inside = (lag_days[:, None] < windows[None, :]).astype(np.int64)
    rows = []
    for row, size in enumerate(zones.sizes):
        counts = np.cumsum(inside[zones.order[row, :size]], axis=0)
        llr = np.take_along_axis(table[:size], counts[:, :, None], axis=2)[:, :, 0]
        llr = np.where(zones.ends[row, :size, None], llr, 0.0)
        k, w = np.unravel_index(int(np.argmax(llr)), llr.shape)
        if llr[k, w] > 0:
            rows.append((row, int(k), int(w), int(counts[k, w]), float(llr[k, w])))
    return rows


def separate(
    zones: Zones, found: Sequence[tuple[int, int, int, int, float]]
) -> list[tuple[int, int, int, int, float]]:
    """Keep the best of zones that share a case; smaller zones go first among equals, then the earlier centre."""
    taken: set[int] = set()
    kept = []
    for one in sorted(found, key=lambda f: (-round(f[4], 9), f[1], int(zones.centres[f[0]]))):
        zone = {int(i) for i in zones.order[one[0], : one[1] + 1]}
        if not zone & taken:
            taken |= zone
            kept.append(one)
    return kept


def _llr_table(longest: int, held: Lags, total: int) -> Floats:
    """Return LLR by zone size - 1, window and count."""
    sizes = np.arange(1, longest + 1)[:, None, None]
    counts = np.arange(0, min(longest, int(held.max())) + 1)[None, None, :]
    return permutation_llr(counts, sizes * held[None, :, None] / total, total)


def _replicas(
    zones: Zones, lag_days: Lags, windows: Lags, table: Floats, *, replicas: int, seed: int
) -> Floats:
    """Return the best LLR of each replica."""
    chance = np.random.default_rng(seed)
    kind = np.uint8 if table.shape[2] - 1 <= _SMALL else np.uint16
    step = max(1, _BLOCK_BYTES // (len(lag_days) * len(windows) * np.dtype(kind).itemsize))
    best = np.zeros(replicas)
    short = windows.astype(np.int32)
    lags = lag_days.astype(np.int32)
    for start in range(0, replicas, step):
        size = min(step, replicas - start)
        shuffled = chance.permuted(np.broadcast_to(lags[:, None], (len(lags), size)), axis=0)
        inside: Counts = (shuffled[:, None, :] < short[None, :, None]).astype(kind).reshape(len(lags), -1)
        best[start : start + size] = _best_of_block(zones, inside, table, size)
    return best


def _best_of_block(zones: Zones, inside: Counts, table: Floats, size: int) -> Floats:
    """Return the best LLR of the replicas of one block; columns of `inside` are window by replica."""
    counts = np.zeros((len(zones.centres), inside.shape[1]), dtype=inside.dtype)
    added = np.empty_like(counts)
    best = np.zeros(size)
    for k in range(zones.longest):
        active = zones.active(k)
        np.take(inside, zones.order[:active, k], axis=0, out=added[:active])
        np.add(counts[:active], added[:active], out=counts[:active])
        ends = zones.ends[:active, k]
        if not ends.any():
            continue
        greatest = (counts[:active] if ends.all() else counts[:active][ends]).max(axis=0)
        llr = np.take_along_axis(table[k], greatest.reshape(-1, size).astype(np.int64), axis=1)
        np.maximum(best, llr.max(axis=0), out=best)
    return best
