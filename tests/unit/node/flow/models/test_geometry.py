import math
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from node.flow.models.geometry import (
    EARTH_RADIUS_M,
    Corridor,
    area,
    cross_track,
    densified,
    distance,
    frechet,
    likeness,
    planar,
)
from registry.errors import InvalidValueError

DEGREE = math.pi / 180 * EARTH_RADIUS_M


def frechet_by_geos(one, other, densify=None):
    """By others. Where steps are tied GEOS 3.14 may come out too great, never too small."""
    return shapely.frechet_distance(shapely.LineString(one), shapely.LineString(other), densify=densify)


def frechet_by_the_book(one, other):
    """The recursion as it is written, over every pair."""
    best = {}
    for i, p in enumerate(one):
        for j, q in enumerate(other):
            before = [best[k] for k in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if k in best]
            best[i, j] = max(math.dist(p, q), min(before, default=0.0))
    return best[len(one) - 1, len(other) - 1]


@pytest.mark.parametrize(
    ("one", "other", "densify", "expected"),
    [
        ([(0, 0), (2, 1)], [(0, 0), (2, 0)], None, "1"),
        ([(0, 0), (2, 0)], [(0, 1), (1, 2), (2, 1)], None, "2.23606797749979"),
        ([(0, 0), (100, 0)], [(0, 0), (50, 50), (100, 0)], None, "70.7106781186548"),
        ([(0, 0), (100, 0)], [(0, 0), (50, 50), (100, 0)], 0.5, "50"),
        ([(1, 0), (2, 0)], [(-1, 0), (0, 0), (7, 8)], 0.002, "9.43398"),
    ],
)
def test_the_published_likenesses_come_out_by_both_ways(one, other, densify, expected):
    digits = len(expected.replace(".", ""))
    for by in (frechet, frechet_by_geos):
        assert f"{by(one, other, densify):.{digits}g}" == expected
    assert frechet(one, other, densify) == pytest.approx(frechet_by_geos(one, other, densify), rel=1e-12)


coordinates = st.floats(-1e3, 1e3)
lines = st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=8)


@settings(max_examples=80)
@given(one=lines, other=lines)
@example(one=[(0, 0), (0, 2), (0, 0)], other=[(0, 1), (0, 0), (0, 0)])
def test_our_likeness_is_that_of_the_book_and_symmetric(one, other):
    assert frechet(one, other) == pytest.approx(frechet_by_the_book(one, other), abs=1e-9)
    assert frechet(one, other) <= frechet_by_geos(one, other) + 1e-9
    assert frechet(one, other) == pytest.approx(frechet(other, one))
    assert frechet(one, one) == 0


def test_likeness_of_single_points_is_their_distance():
    assert frechet([(0, 0)], [(3, 4)]) == 5
    assert len(densified([(0, 0), (1, 0)], 0.25)) == 5


def test_ways_with_corners_set_differently_are_alike():
    road = [(30.0, 120.0), (30.0, 121.0)]
    points = [(30.0, 120.0 + k / 10) for k in range(11)]
    assert likeness(road, points) == pytest.approx(0, abs=1)
    assert likeness(road, points[::-1]) == pytest.approx(float(distance(30, 120, 30, 121)), rel=0.01)
    assert likeness([(30.0, 120.0)], [(30.01, 120.0)]) == pytest.approx(0.01 * DEGREE, rel=1e-6)
    with pytest.raises(InvalidValueError):
        likeness(road, [])


def test_a_degree_of_the_equator_and_of_a_meridian_are_equally_long():
    assert float(distance(0, 0, 0, 1)) == pytest.approx(DEGREE)
    assert float(distance(0, 0, 1, 0)) == pytest.approx(DEGREE)
    assert float(distance(0, 179.5, 0, -179.5)) == pytest.approx(DEGREE)
    assert float(distance(0, 0, 0, 180)) == pytest.approx(math.pi * EARTH_RADIUS_M)


def test_right_of_the_way_is_positive():
    assert cross_track((-0.01, 1), (0, 0), (0, 2)) == pytest.approx(0.01 * DEGREE)
    assert cross_track((0.01, 1), (0, 0), (0, 2)) == pytest.approx(-0.01 * DEGREE)
    assert cross_track((0, 1), (0, 0), (0, 2)) == pytest.approx(0, abs=1e-6)


def test_a_place_is_measured_from_the_nearest_leg_or_corner():
    corridor = Corridor([(0, 0), (0, 0), (0, 1), (1, 1)])
    assert corridor.length == pytest.approx(2 * DEGREE)
    assert corridor.project(0.001, 0.5) == pytest.approx((0.001 * DEGREE, 0.5 * DEGREE), rel=1e-4)
    assert corridor.project(0.5, 1.002)[0] == pytest.approx(0.002 * DEGREE, rel=1e-3)
    assert corridor.project(-0.003, 1.004) == pytest.approx(
        (0.005 * DEGREE, DEGREE), rel=1e-4
    )  # beside the corner
    assert corridor.project(0, -0.01) == pytest.approx((0.01 * DEGREE, 0))  # behind the start
    assert corridor.project(1.01, 1) == pytest.approx((0.01 * DEGREE, 2 * DEGREE))  # beyond the end
    assert corridor.project(0, 0.25)[0] == pytest.approx(0, abs=1e-6)


def test_a_corridor_may_cross_the_date_line():
    assert Corridor([(0, 179.9), (0, -179.9)]).project(0.001, 180.0)[0] == pytest.approx(0.001 * DEGREE)


places = st.tuples(st.floats(20, 50), st.floats(75, 130))


@settings(max_examples=80)
@given(route=st.lists(places, min_size=2, max_size=5), share=st.floats(0, 1), data=st.data())
def test_a_place_on_the_route_is_on_the_route(route, share, data):
    legs = [(a, b) for a, b in pairwise(route) if float(distance(*a, *b)) > 1]
    assume(legs)
    a, b = data.draw(st.sampled_from(legs))
    corridor = Corridor(route)
    for corner in (a, b):
        assert corridor.project(*corner)[0] == pytest.approx(0, abs=0.01)
    # a step of the great circle itself
    d = float(distance(*a, *b)) / EARTH_RADIUS_M
    p, q = (np.array([math.cos(math.radians(x)) * math.cos(math.radians(y)),
                      math.cos(math.radians(x)) * math.sin(math.radians(y)), math.sin(math.radians(x))])
            for x, y in (a, b))  # fmt: skip
    v = (math.sin((1 - share) * d) * p + math.sin(share * d) * q) / math.sin(d)
    away, along = corridor.project(math.degrees(math.asin(v[2])), math.degrees(math.atan2(v[1], v[0])))
    assert away == pytest.approx(0, abs=0.1)
    assert -0.01 <= along <= corridor.length + 0.01


def test_the_plane_keeps_short_distances():
    origin = (30.0, 120.0)
    points = [(30.001, 120.002), (29.999, 119.998)]
    flat = planar(points, origin)
    assert np.hypot(*(flat[0] - flat[1])) == pytest.approx(float(distance(*points[0], *points[1])), rel=1e-4)


def test_an_area_is_a_ring_with_a_surface():
    assert area([(0, 0), (0, 1), (1, 1), (1, 0)], "area").area == 1
    for ring in ([(0, 0), (0, 1)], [(0, 0), (1, 1), (0, 1), (1, 0)], [(0, 0), (0, 1), (0, 2)]):
        with pytest.raises(InvalidValueError):
            area(ring, "area")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Corridor([]),
        lambda: Corridor([(0, 0)]),
        lambda: Corridor([(0, 0), (0, 0)]),
        lambda: Corridor([(0, 0), (91, 0)]),
        lambda: Corridor([(0, 0), (0, float("nan"))]),
        lambda: frechet([], [(0, 0)]),
        lambda: frechet([(0, float("nan"))], [(0, 0)]),
        lambda: frechet([(0, 0, 0)], [(0, 0)]),
        lambda: densified([(0, 0), (1, 1)], 0),
    ],
)
def test_an_impossible_shape_is_refused_by_its_field(wrong):
    with pytest.raises(InvalidValueError) as caught:
        wrong()
    assert caught.value.field
