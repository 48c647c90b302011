"""The scan where more is known than dates: a usual volume (Poisson), or all events, some abnormal (Bernoulli).

- Poisson: `mu` of a zone and window is its share of the volume times all that was counted; LLR as for permutations.
- Bernoulli: `L(c,n) + L(C-c,N-n) - L(C,N)`, `L(k,m) = k ln(k/m) + (m-k) ln(1-k/m)`, 0 ln 0 = 0.

Windows are the last days, as in `scan`. Replicas are drawn under "nothing special": the same total spread by
volume, or the same number of abnormal ones among all events.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from node.flow.models.checks import Floats, number, numbers, some, whole
from node.flow.models.scan import Cluster, Lags, Zones, permutation_llr, separate
from registry.errors import InvalidValueError

__all__ = ["bernoulli_llr", "bernoulli_scan", "poisson_scan"]

Form = Callable[[Floats], Floats]


def bernoulli_llr(abnormal: ArrayLike, inside: ArrayLike, all_abnormal: float, everything: float) -> Floats:
    """Return the log likelihood ratio; 0 where the share inside is not greater than outside."""
    c, n = np.broadcast_arrays(np.asarray(abnormal, float), np.asarray(inside, float))
    rest_c, rest_n = all_abnormal - c, everything - n
    value = _share(c, n) + _share(rest_c, rest_n) - _share(np.float64(all_abnormal), np.float64(everything))
    return np.where(c * rest_n > rest_c * n, np.maximum(value, 0.0), 0.0)


def _share(k: Any, m: Any) -> Floats:
    """Return k ln(k/m) + (m-k) ln(1-k/m) as entropies, 0 ln 0 = 0."""
    return np.asarray(special.xlogy(k, k) + special.xlogy(m - k, m - k) - special.xlogy(m, m))


def bernoulli_scan(
    lat: Floats,
    lon: Floats,
    lag_days: Lags,
    abnormal: Sequence[bool],
    *,
    radius_m: float,
    window_days: int,
    share: float,
    replicas: int,
    seed: int,
) -> list[Cluster]:
    """Return where abnormal events are too many among all events.

    Raises:
        InvalidValueError: fewer than two events, or marks and events do not match.
    """
    some(lat, "events", 2)
    flags = np.asarray(abnormal, dtype=np.int64)
    if len(flags) != len(lat):
        raise InvalidValueError(
            "node.flow_models.not_matching", field="abnormal", value=len(flags), limit=len(lat)
        )
    zones = Zones(
        lat,
        lon,
        radius_m=number(radius_m, "radius_m", above=0),
        share=number(share, "share", above=0, most=1),
    )
    inside = (lag_days[:, None] < np.arange(1, whole(window_days, "window_days", least=1) + 1)).astype(
        np.int64
    )
    events = _tally(zones, inside)
    total, everything = float(flags.sum()), float(len(flags))
    chance = np.random.default_rng(seed)
    return _scan(
        zones,
        inside * flags[:, None],
        events * (total / everything),
        form=lambda c: bernoulli_llr(c, events, total, everything),
        draw=lambda: inside * chance.permutation(flags)[:, None],
        replicas=replicas,
    )


def poisson_scan(
    lat: Floats,
    lon: Floats,
    counts: ArrayLike,
    volume: Sequence[float],
    *,
    radius_m: float,
    window_days: int,
    share: float,
    replicas: int,
    seed: int,
) -> list[Cluster]:
    """Return where more was counted than the usual volume of the sites explains.

    Args:
        lat: latitudes of the sites, degrees.
        lon: longitudes, degrees.
        counts: sites by days; the last column is the last day.
        volume: usual volume of each site, in any one unit.
        radius_m: greatest radius of a circle.
        window_days: longest window.
        share: greatest share of the sites in one circle.
        replicas: number of draws.
        seed: of the draws.

    Raises:
        InvalidValueError: fewer than two sites, or counts and volumes do not match.
    """
    some(lat, "sites", 2)
    seen: NDArray[np.int64] = np.asarray(counts)
    usual = numbers(volume, "volume", least=0)
    if seen.ndim != 2 or len(seen) != len(lat) or len(usual) != len(lat):  # noqa: PLR2004 — sites by days
        raise InvalidValueError(
            "node.flow_models.not_matching", field="counts", value=len(seen), limit=len(lat)
        )
    for i, row in enumerate(seen):
        for j, one in enumerate(row):
            whole(one, f"counts[{i}][{j}]")
    number(usual.sum(), "volume", above=0)
    seen = seen.astype(np.int64)
    days = seen.shape[1]
    windows = min(whole(window_days, "window_days", least=1), days)
    zones = Zones(
        lat,
        lon,
        radius_m=number(radius_m, "radius_m", above=0),
        share=number(share, "share", above=0, most=1),
    )
    total = int(seen.sum())
    spread = np.repeat(usual / usual.sum() / days, days)
    expected = _tally(zones, (usual / usual.sum() * total / days)[:, None] * np.arange(1, windows + 1))
    chance = np.random.default_rng(seed)
    return _scan(
        zones,
        _last(seen, windows),
        expected,
        form=lambda c: permutation_llr(c, expected, total),
        draw=lambda: _last(chance.multinomial(total, spread).reshape(seen.shape), windows),
        replicas=replicas,
    )


def _last(counts: NDArray[np.int64], windows: int) -> NDArray[np.int64]:
    """Return per site the sums of the last 1, 2, … days."""
    return np.cumsum(counts[:, ::-1], axis=1)[:, :windows]


def _tally(zones: Zones, values: NDArray[Any]) -> Floats:
    """Return the sums by centre, zone size and window."""
    return np.cumsum(values[zones.order], axis=1).astype(np.float64)


def _scan(
    zones: Zones,
    values: NDArray[np.int64],
    expected: Floats,
    *,
    form: Form,
    draw: Callable[[], NDArray[np.int64]],
    replicas: int,
) -> list[Cluster]:
    ends = zones.ends[:, :, None]
    observed = _tally(zones, values)
    llr = np.where(ends, form(observed), 0.0)
    best = np.array(
        [
            np.where(ends, form(_tally(zones, draw())), 0.0).max()
            for _ in range(whole(replicas, "replicas", least=1))
        ]
    )
    rows = []
    for row in range(len(zones.centres)):
        best_k, best_w = np.unravel_index(int(np.argmax(llr[row])), llr[row].shape)
        if llr[row, best_k, best_w] > 0:
            count = int(observed[row, best_k, best_w])
            rows.append((row, int(best_k), int(best_w), count, float(llr[row, best_k, best_w])))
    clusters = []
    for row, k, w, count, value in separate(zones, rows):
        zone = tuple(sorted(int(i) for i in zones.order[row, : k + 1]))
        clusters.append(
            Cluster(
                centre=int(zones.centres[row]),
                members=tuple(i for i in zone if values[i, w] > 0),
                zone=zone,
                radius_m=float(zones.radius[row, k]),
                days=w + 1,
                observed=count,
                expected=float(expected[row, k, w]),
                llr=value,
                p=(1 + int(np.count_nonzero(best >= value - 1e-12))) / (len(best) + 1),
            )
        )
    return clusters
