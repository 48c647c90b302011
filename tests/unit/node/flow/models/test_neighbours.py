import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.flow.models.geometry import distance
from node.flow.models.neighbours import display_clusters, knox, knox_of, near_pairs
from registry.errors import InvalidValueError


def test_the_published_case_of_burkitts_lymphoma_comes_out():
    test = knox_of(3429, 52, 13, 188)
    assert test.pairs == 17578
    assert f"{test.expected:.4f}" == "10.1438"
    assert f"{test.p:.4f}" == "0.1462"


spots = st.lists(
    st.tuples(st.floats(-89, 89), st.floats(-180, 180), st.floats(0, 30)), min_size=2, max_size=25
)
close_spots = st.lists(
    st.tuples(st.floats(30, 30.1), st.sampled_from([179.99, -179.99, 180.0]), st.integers(0, 9)),
    min_size=2,
    max_size=25,
)


@settings(max_examples=60)
@given(given_=st.one_of(spots, close_spots), limit=st.sampled_from([10.0, 3_000.0, 2e6, 2.1e7]))
def test_the_grid_finds_every_pair(given_, limit):
    lat, lon, days = (np.array(column, dtype=float) for column in zip(*given_, strict=True))
    i, j = np.triu_indices(len(lat), 1)
    near = distance(lat[i], lon[i], lat[j], lon[j]) <= limit
    assert near_pairs(lat, lon, limit).tolist() == np.column_stack((i, j))[near].tolist()
    close = np.abs(days[i] - days[j]) <= 2
    test = knox(lat, lon, days, limit_m=limit, limit_days=2)
    assert (test.near, test.close, test.both) == (near.sum(), close.sum(), (near & close).sum())


def test_near_cases_that_are_close_in_time_are_found_by_shuffling():
    chance = np.random.default_rng(1)
    lat, lon = 30 + chance.random(60), 120 + chance.random(60)
    days = chance.random(60) * 100
    calm = knox(lat, lon, days, limit_m=5_000, limit_days=3, replicas=99, seed=1)
    assert calm.p_shuffled > 0.05
    lat[:10], lon[:10], days[:10] = 30.5, 120.5, 50 + chance.random(10)
    assert knox(lat, lon, days, limit_m=5_000, limit_days=3, replicas=99, seed=1).p_shuffled == 0.01


def clusters_of(lat, lon, days, **more):
    return display_clusters(lat, lon, days, **{"limit_m": 500, "limit_days": 2, "least": 3} | more)


def test_cases_together_in_space_and_time_are_drawn_as_one_cluster():
    lat = np.array([30.0, 30.001, 30.002, 30.003, 31.0, 30.0, 30.001])
    days = np.array([0.0, 1.0, 1.5, 3.0, 1.0, 20.0, 20.0])
    assert clusters_of(lat, np.full(7, 120.0), days) == [(0, 1, 2, 3)]
    assert clusters_of(lat, np.full(7, 120.0), days, least=2) == [(0, 1, 2, 3), (5, 6)]
    assert clusters_of(lat, np.full(7, 120.0), days, least=1) == [(0, 1, 2, 3), (4,), (5, 6)]


def by_the_book(lat, lon, days, *, limit_m, limit_days, least):
    """DBSCAN: the cores of each cluster."""
    n = len(lat)
    near = [[j for j in range(n) if float(distance(lat[i], lon[i], lat[j], lon[j])) <= limit_m
             and abs(days[i] - days[j]) <= limit_days] for i in range(n)]  # fmt: skip
    cores, seen, found = {i for i in range(n) if len(near[i]) >= least}, set(), set()
    for core in cores:
        if core in seen:
            continue
        group, stack = set(), [core]
        while stack:
            one = stack.pop()
            if one not in group:
                group.add(one)
                stack += [j for j in near[one] if j in cores]
        seen |= group
        found.add(frozenset(group))
    return cores, found, near


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 25), least=st.integers(1, 4))
def test_clusters_are_those_of_dbscan_in_any_order(seed, n, least):
    chance = np.random.default_rng(seed)
    lat, lon, days = 30 + 0.02 * chance.random(n), 120 + 0.02 * chance.random(n), chance.random(n) * 6
    found = clusters_of(lat, lon, days, least=least)
    cores, groups, near = by_the_book(lat, lon, days, limit_m=500, limit_days=2, least=least)
    assert {frozenset(set(one) & cores) for one in found} == groups
    for one in found:
        assert all(i in cores or set(near[i]) & set(one) & cores for i in one)
    assert {i for one in found for i in one} == {i for i in range(n) if cores & set(near[i])}
    turn = chance.permutation(n)
    again = clusters_of(lat[turn], lon[turn], days[turn], least=least)
    assert {frozenset(int(turn[i]) for i in one) for one in again} == {frozenset(one) for one in found}


def test_nothing_makes_no_cluster_and_impossible_limits_are_refused():
    none = np.array([])
    assert clusters_of(none, none, none) == []
    one = np.array([30.0])
    for wrong in (
        lambda: near_pairs(one, one, 0),
        lambda: knox(one, one, one, limit_m=1, limit_days=1),
        lambda: clusters_of(one, one, one, limit_days=-1),
        lambda: clusters_of(one, one, one, least=0),
        lambda: knox_of(-1, 1, 1, 5),
    ):
        with pytest.raises(InvalidValueError):
            wrong()
