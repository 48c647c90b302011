import numpy as np
import pytest

from node.flow.models.geometry import EARTH_RADIUS_M
from node.flow.models.matching import Network, Road, match, sigma_of
from registry.errors import InvalidValueError

ORIGIN = (30.0, 120.0)


def at(x, y):
    """Metres east and north of the origin as degrees."""
    up = np.degrees(y / EARTH_RADIUS_M)
    return (ORIGIN[0] + up, ORIGIN[1] + np.degrees(x / EARTH_RADIUS_M) / np.cos(np.radians(ORIGIN[0])))


def a_grid(size=4, step=200):
    junctions = {f"{i}.{j}": at(i * step, j * step) for i in range(size) for j in range(size)}
    roads = [
        Road(f"{i}.{j}-{i + a}.{j + b}", f"{i}.{j}", f"{i + a}.{j + b}")
        for i in range(size) for j in range(size) for a, b in ((1, 0), (0, 1)) if i + a < size and j + b < size
    ]  # fmt: skip
    return junctions, roads


def test_noisy_positions_find_the_streets_that_were_driven():
    network = Network(*a_grid())
    chance = np.random.default_rng(2)
    way = [(x, 0) for x in range(20, 381, 40)] + [(400, y) for y in range(20, 381, 40)]
    fixes = [
        at(x + dx, y + dy) for (x, y), (dx, dy) in zip(way, chance.normal(0, 4, (len(way), 2)), strict=True)
    ]
    matched = match(network, fixes)
    driven = ["0.0-1.0"] * 5 + ["1.0-2.0"] * 5 + ["2.0-2.1"] * 5 + ["2.1-2.2"] * 5
    assert [one.road for one in matched] == driven[: len(matched)]
    assert [one.break_ for one in matched] == [True] + [False] * (len(matched) - 1)


def test_the_way_decides_where_the_nearest_road_would_be_wrong():
    # two parallel roads 30 m apart, joined nowhere near: one stray position nearer to the other road stays
    junctions = {"a": at(0, 0), "b": at(1000, 0), "c": at(0, 30), "d": at(1000, 30)}
    network = Network(junctions, [Road("low", "a", "b"), Road("high", "c", "d")])
    fixes = [at(100, 2), at(200, 1), at(300, 17), at(400, 2), at(500, 0)]
    assert [one.road for one in match(network, fixes, sigma_m=10)] == ["low"] * 5


def test_a_one_way_road_is_not_driven_backwards():
    junctions = {"a": at(0, 0), "b": at(1000, 0)}
    fixes = [at(700, 0), at(400, 0), at(100, 0)]
    both = match(Network(junctions, [Road("r", "a", "b")]), fixes)
    assert [one.break_ for one in both] == [True, False, False]
    assert [round(one.metres) for one in both] == [700, 400, 100]
    one_way = match(Network(junctions, [Road("r", "a", "b", one_way=True)]), fixes)
    assert [one.break_ for one in one_way] == [True, True, True]


def test_a_position_far_from_every_road_breaks_the_chain_and_says_so():
    network = Network(*a_grid())
    matched = match(network, [at(100, 0), at(300, 90), at(150, 0)])
    assert [one.road for one in matched] == ["0.0-1.0", None, "0.0-1.0"]
    assert [one.break_ for one in matched] == [True, True, True]


def test_the_order_of_roads_changes_nothing():
    junctions, roads = a_grid()
    fixes = [at(x, 3) for x in range(10, 500, 60)]
    assert match(Network(junctions, roads), fixes) == match(Network(junctions, roads[::-1]), fixes)


def test_sigma_comes_from_the_median():
    assert sigma_of([1, 2, 30]) == pytest.approx(2.9652)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Network({"a": ORIGIN}, []),
        lambda: Network({"a": ORIGIN}, [Road("r", "a", "z")]),
        lambda: Network({"a": ORIGIN, "b": ORIGIN}, [Road("r", "a", "b")]),
        lambda: Network({"a": at(0, 0), "b": at(9, 9)}, [Road("r", "a", "b")] * 2),
        lambda: match(Network(*a_grid()), []),
        lambda: match(Network(*a_grid()), [(float("nan"), 0)]),
        lambda: match(Network(*a_grid()), [ORIGIN], sigma_m=0),
        lambda: sigma_of([]),
        lambda: sigma_of([-1]),
    ],
)
def test_an_impossible_network_or_way_is_refused_by_its_field(wrong):
    with pytest.raises(InvalidValueError) as caught:
        wrong()
    assert caught.value.field


def test_noise_that_steps_back_on_a_one_way_road_breaks_nothing():
    network = Network({"a": at(0, 0), "b": at(1000, 0)}, [Road("r", "a", "b", one_way=True)])
    matched = match(network, [at(100, 0), at(97, 0), at(99, 0), at(200, 0)])
    assert [one.break_ for one in matched] == [True, False, False, False]
    assert match(network, [at(100, 0), at(80, 0)])[1].break_, "twenty metres back are no noise"
