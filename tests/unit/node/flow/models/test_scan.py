import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.flow.models.geometry import distance
from node.flow.models.scan import Zones, permutation_llr, permutation_scan
from node.flow.models.scan_forms import bernoulli_llr, bernoulli_scan, poisson_scan
from registry.errors import InvalidValueError

WITHIN = {"radius_m": 10_000, "window_days": 4, "share": 1.0, "replicas": 99, "seed": 1}


def spread(n, chance, span=0.5):
    return 30 + span * chance.random(n), 120 + span * chance.random(n)


def slow_scan(lat, lon, lag, *, share=1.0, radius=10_000, windows=4):
    """The scan by the book: every centre, every radius, every window."""
    n, best = len(lat), (0.0, frozenset(), 0)
    for centre in range(n):
        away = distance(lat[centre], lon[centre], lat, lon)
        for rim in np.unique(np.round(away[away <= radius], 6)):
            zone = np.flatnonzero(away <= rim + 1e-6)
            if len(zone) > max(1, int(share * n)):
                continue
            for w in range(1, windows + 1):
                held, c = np.count_nonzero(lag < w), np.count_nonzero(lag[zone] < w)
                mu = len(zone) * held / n
                if 0 < held < n and c > mu:
                    rest = (n - c) * math.log((n - c) / (n - mu)) if c < n else 0.0
                    llr = c * math.log(c / mu) + rest
                    if llr > best[0] + 1e-9:
                        best = (llr, frozenset(zone.tolist()), w)
    return best


def test_the_published_zone_comes_out_to_every_digit():
    counts = [(0, 0, 1, 5), (2, 1, 2, 1), (1, 2, 1, 0)]
    cases = [
        (zone, 3 - day) for zone, days in enumerate(counts) for day, n in enumerate(days) for _ in range(n)
    ]
    lat = np.array([30.0 + zone for zone, _ in cases])  # a hundred kilometres apart: each zone by itself
    lag = np.array([lag for _, lag in cases])
    best = permutation_scan(lat, np.full(len(lat), 120.0), lag, **WITHIN)[0]
    assert (best.observed, best.days, best.expected) == (5, 1, 2.25)
    assert f"{best.llr:.6f}" == "1.537959"
    assert {lat[i] for i in best.members} == {30.0}
    assert f"{float(permutation_llr(5, 2.25, 16)):.6f}" == "1.537959"


def test_the_published_bernoulli_cluster_comes_out_to_every_digit():
    assert f"{4 * 62 / 203:.2f}" == "1.22"
    assert f"{float(bernoulli_llr(4, 4, 62, 203)):.6f}" == "4.836516"
    assert float(bernoulli_llr(1, 4, 62, 203)) == 0, "fewer than outside is no cluster"
    assert float(bernoulli_llr(0, 4, 62, 203)) == 0


@settings(max_examples=25)
@given(
    n=st.integers(2, 14), seed=st.integers(0, 10**6), share=st.sampled_from([0.5, 1.0]), same=st.booleans()
)
def test_the_quick_scan_finds_what_the_scan_by_the_book_finds(n, seed, share, same):
    chance = np.random.default_rng(seed)
    lat, lon = spread(n, chance, 0.2)
    if same:  # several cases at one place, and equal distances
        lat, lon = np.round(lat, 1), np.round(lon, 1)
    lag = chance.integers(0, 8, n)
    expected, _, _ = slow_scan(lat, lon, lag, share=share)
    found = permutation_scan(lat, lon, lag, **{**WITHIN, "share": share, "replicas": 1})
    if expected == 0:
        assert found == []
    else:
        assert found[0].llr == pytest.approx(expected)
        assert found[0].observed == sum(lag[i] < found[0].days for i in found[0].zone)


@pytest.mark.parametrize("same", [False, True])
def test_each_replica_is_judged_as_history_is(same):
    # the replicas' best, drawn again one by one and scanned by the book, give the same p
    chance = np.random.default_rng(3)
    lat, lon = spread(12, chance, 0.2)
    if same:
        lat, lon = np.round(lat, 1), np.round(lon, 1)
    lag = chance.integers(0, 8, 12)
    (first, *_) = permutation_scan(lat, lon, lag, **{**WITHIN, "replicas": 199})
    shuffles = np.random.default_rng(77)
    slow = [slow_scan(lat, lon, shuffles.permutation(lag))[0] for _ in range(199)]
    p = (1 + sum(one >= first.llr - 1e-9 for one in slow)) / 200
    assert first.p == pytest.approx(p, abs=5 * (2 * 0.25 / 199) ** 0.5)


def test_the_same_seed_gives_the_same_p_and_equal_histories_give_one():
    chance = np.random.default_rng(5)
    lat, lon = spread(60, chance)
    lag = chance.integers(0, 30, 60)
    assert permutation_scan(lat, lon, lag, **WITHIN) == permutation_scan(lat, lon, lag, **WITHIN)
    assert permutation_scan(lat, lon, np.zeros(60, dtype=int), **WITHIN) == [], (
        "one day only: no date to compare"
    )


def a_planted_history(chance, n=200, planted=12):
    lat, lon = spread(n + planted, chance)
    lag = np.concatenate((chance.integers(0, 60, n), chance.integers(0, 3, planted)))
    lat[n:], lon[n:] = 30.2 + 0.002 * chance.random(planted), 120.2 + 0.002 * chance.random(planted)
    return lat, lon, lag


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_cluster_is_found_where_it_is(seed):
    lat, lon, lag = a_planted_history(np.random.default_rng(seed))
    best = permutation_scan(lat, lon, lag, **WITHIN)[0]
    assert best.p == 0.01
    planted = set(best.members) & set(range(200, 212))
    assert len(planted) >= 8, "a shorter window may leave out the earliest of them"
    assert len(best.members) - len(planted) <= 3


def test_the_order_of_cases_changes_nothing():
    lat, lon, lag = a_planted_history(np.random.default_rng(9))
    turn = np.random.default_rng(10).permutation(len(lat))
    one, other = (
        permutation_scan(lat, lon, lag, **WITHIN)[0],
        permutation_scan(lat[turn], lon[turn], lag[turn], **WITHIN)[0],
    )
    assert other.llr == pytest.approx(one.llr)
    assert sorted(turn[list(other.members)]) == list(one.members)


def test_two_planted_clusters_are_told_apart():
    chance = np.random.default_rng(11)
    lat, lon, lag = a_planted_history(chance)
    more = 12
    lat = np.append(lat, 30.4 + 0.002 * chance.random(more))
    lon = np.append(lon, 120.4 + 0.002 * chance.random(more))
    lag = np.append(lag, chance.integers(0, 3, more))
    first, second = permutation_scan(lat, lon, lag, **WITHIN)[:2]
    assert not set(first.zone) & set(second.zone)
    assert max(first.p, second.p) <= 0.02


def test_in_noise_the_scan_alarms_no_more_often_than_stated():
    runs, alarms = 120, 0
    for seed in range(runs):
        chance = np.random.default_rng(1000 + seed)
        lat, lon = spread(60, chance)
        found = permutation_scan(lat, lon, chance.integers(0, 30, 60), **{**WITHIN, "seed": seed})
        alarms += bool(found) and found[0].p <= 0.1
    assert alarms <= runs * 0.1 + 5 * (runs * 0.1 * 0.9) ** 0.5
    assert alarms >= 1, "a test of level 0.1 that never speaks in 120 runs would be broken"


@settings(max_examples=60)
@given(c=st.integers(0, 40), more=st.integers(0, 10), mu=st.floats(0.01, 40))
def test_more_cases_are_never_less_of_a_cluster(c, more, mu):
    assert permutation_llr(c, mu, 60) <= permutation_llr(c + more, mu, 60) + 1e-12
    assert bernoulli_llr(min(c, 40), 40, 50, 100) <= bernoulli_llr(min(c + more, 40), 40, 50, 100) + 1e-9


def test_many_cases_on_one_day_do_not_overflow():
    chance = np.random.default_rng(1)
    lat, lon = spread(700, chance, 0.05)
    lag = np.where(np.arange(700) < 400, 0, 20)
    best = permutation_scan(lat, lon, lag, **{**WITHIN, "radius_m": 50_000, "replicas": 19})[0]
    assert 0 < best.p <= 1
    assert best.llr == pytest.approx(float(permutation_llr(best.observed, best.expected, 700)))


def test_a_zone_holds_at_most_its_share_and_its_radius():
    lat, lon = spread(50, np.random.default_rng(2))
    zones = Zones(lat, lon, radius_m=20_000, share=0.2)
    assert zones.longest <= 10
    assert zones.radius.max() <= 20_000
    assert [zones.active(k) for k in range(3)] == [int((zones.sizes > k).sum()) for k in range(3)]


def test_abnormal_events_are_found_among_all():
    chance = np.random.default_rng(4)
    lat, lon = spread(150, chance)
    lag = chance.integers(0, 4, 150)
    centre = distance(lat[0], lon[0], lat, lon)
    abnormal = (centre <= np.sort(centre)[8]) | (chance.random(150) < 0.1)
    best = bernoulli_scan(lat, lon, lag, list(abnormal), **WITHIN)[0]
    assert best.p == 0.01
    assert 0 in best.zone
    calm = bernoulli_scan(lat, lon, lag, list(chance.random(150) < 0.2), **WITHIN)
    assert calm[0].p > 0.01


def test_a_site_busier_than_its_volume_is_found():
    chance = np.random.default_rng(6)
    lat, lon = spread(30, chance)
    volume = chance.integers(1, 10, 30)
    counts = chance.poisson(0.3 * volume[:, None], (30, 20))
    calm = poisson_scan(lat, lon, counts, list(volume), **WITHIN)[0]
    assert calm.p > 0.01
    counts[7, -2:] += 15
    best = poisson_scan(lat, lon, counts, list(volume), **WITHIN)[0]
    assert best.p == 0.01
    assert 7 in best.members
    assert best.days == 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: permutation_scan(a[:1], a[:1], np.array([0]), **WITHIN),
        lambda a: permutation_scan(a[:0], a[:0], np.array([], dtype=int), **WITHIN),
        lambda a: permutation_scan(a, a, np.zeros(3, dtype=int), **{**WITHIN, "radius_m": 0}),
        lambda a: permutation_scan(a, a, np.zeros(3, dtype=int), **{**WITHIN, "share": 1.1}),
        lambda a: permutation_scan(a, a, np.zeros(3, dtype=int), **{**WITHIN, "replicas": 0}),
        lambda a: permutation_scan(a, a, np.zeros(3, dtype=int), **{**WITHIN, "window_days": 1.5}),
        lambda a: bernoulli_scan(a, a, np.zeros(3, dtype=int), [True], **WITHIN),
        lambda a: poisson_scan(a, a, np.zeros((3, 2)), [0, 0, 0], **WITHIN),
        lambda a: poisson_scan(a, a, np.zeros((3, 2)), [1, 1], **WITHIN),
        lambda a: poisson_scan(a, a, np.full((3, 2), -1), [1, 1, 1], **WITHIN),
        lambda a: poisson_scan(a, a, np.full((3, 2), np.nan), [1, 1, 1], **WITHIN),
    ],
)
def test_an_impossible_scan_is_refused_by_its_field(wrong):
    with pytest.raises(InvalidValueError) as caught:
        wrong(np.array([30.0, 30.1, 30.2]))
    assert caught.value.field
    assert caught.value.message("zh")
