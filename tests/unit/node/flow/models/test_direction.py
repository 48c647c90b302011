from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from node.flow.models.direction import (
    MODEL,
    Baseline,
    Movement,
    Rate,
    Series,
    benjamini_hochberg,
    incremental,
    run,
    share_test,
)
from node.flow.models.rates import Cusum, changes, jump, poisson_tail, rate_change, seasonal
from registry.errors import InvalidValueError

AT = datetime(2026, 6, 1, tzinfo=UTC)
SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}
#: Montgomery and Runger, table 16-6.
X = [
    102,
    94.8,
    98.3,
    98.4,
    102,
    98.5,
    99,
    97.7,
    100,
    98.1,
    101.3,
    98.7,
    101.1,
    98.4,
    97,
    96.7,
    100.3,
    101.4,
    97.2,
    101,
]
HIGH = [2, 0, 0, 0, 2, 0.5, 0, 0, 0, 0, 1.3, 0, 1.1, 0, 0, 0, 0.3, 1.7, 0, 1]
LOW = [0, 3.2, 2.9, 2.5, 0, 0, 0, 0.3, 0, 0, 0, 0, 0, 0, 1, 2.3, 0, 0, 0.8, 0]


def moved(shipper, **counts):
    return [Movement(shipper, destination, count) for destination, count in counts.items()]


def found(movements, baselines, series=(), **parameters):
    return run(movements, baselines, series, parameters or None, period="2026-05", at=AT)


def test_the_published_shares_come_out_to_every_digit():
    test = share_test({"a": 20, "b": 55, "c": 25}, SHARES)
    assert round(test.g, 4) == 41.1805
    assert f"{test.p:.1e}" == "1.1e-09"
    assert round(test.js, 5) == 0.27719
    assert test.g == pytest.approx(stats.power_divergence([20, 55, 25], [50, 30, 20], lambda_=0).statistic)
    assert max(test.deviance, key=lambda d: abs(test.deviance[d])) == "a"
    assert test.deviance["a"] < 0 < test.deviance["b"]
    assert sum(d * d for d in test.deviance.values()) == pytest.approx(test.g), "the cells make up the whole"


def test_the_published_poisson_tail_comes_out():
    assert f"{poisson_tail(9, 3):.5f}" == "0.00380"
    assert poisson_tail(0, 3) == 1


def test_the_published_cusum_comes_out_at_every_step_without_alarm():
    cusum = Cusum(99, 1, 10)
    steps = [cusum.add(x) for x in X]
    assert [round(step.high, 9) for step in steps] == HIGH
    assert [round(step.low, 9) for step in steps] == LOW
    assert not any(step.alarm for step in steps)


def test_a_shift_is_found_and_its_destination_named():
    (finding,) = found(moved("s", a=20, b=55, c=25), {"s": Baseline(SHARES)}).findings
    assert (finding.kind, finding.evidence["destination"]) == ("direction_shift", "a")
    assert "20.0 %" in finding.text("zh")
    assert found(moved("s", a=50, b=30, c=20), {"s": Baseline(SHARES)}).findings == ()


def test_few_shipments_and_a_slight_though_certain_shift_are_let_pass():
    assert found(moved("s", b=9), {"s": Baseline(SHARES)}).findings == ()
    slight = found(moved("s", a=51_000, b=29_500, c=19_500), {"s": Baseline(SHARES)})
    assert slight.findings == ()
    assert share_test({"a": 51_000, "b": 29_500, "c": 19_500}, SHARES).p < 1e-6


def test_a_new_partner_is_found_and_a_known_one_is_not():
    baselines = {"s": Baseline(SHARES)}
    (finding,) = found(moved("s", a=5, b=3, c=2, x=1), baselines).findings
    assert (finding.kind, finding.evidence["destination"]) == ("direction_new", "x")
    assert found(moved("s", x=1), {}).figures["without_baseline"] == ["s"]


def test_a_jump_of_one_destination_is_found():
    baselines = {"s": Baseline({"a": 1.0}, {"a": 3.0})}
    (finding,) = found(moved("s", a=9), baselines).findings
    assert (finding.kind, round(finding.evidence["p"], 5)) == ("direction_jump", 0.00380)
    assert found(moved("s", a=5), baselines).findings == ()


def test_a_series_that_drifts_is_found_in_both_directions():
    base = (10.0, 11.0, 9.0, 10.0)
    (more,) = found([], {}, [Series("s", base + (13.0,) * 6, 10.0, 1.0)]).findings
    (less,) = found([], {}, [Series("s", base + (7.0,) * 6, 10.0, 1.0)]).findings
    assert (more.kind, less.kind) == ("direction_more", "direction_less")
    assert found([], {}, [Series("s", base, 10.0, 1.0)]).findings == ()


def test_a_rate_that_changed_is_found_up_and_down_among_those_that_did_not():
    rates = [
        Rate("up", 30, 30, 70, 30),
        Rate("down", 300, 300, 8, 30),
        *(Rate(f"s{i}", 300, 300, 30, 30) for i in range(8)),
    ]
    result = run([], {}, rates=rates, period="2026-05", at=AT)
    assert {finding.subject for finding in result.findings} == {"up", "down"}
    assert result.findings[0].evidence["expected"] == 30
    with pytest.raises(InvalidValueError):
        run([], {}, rates=rates[:1] * 2, period="2026-05", at=AT)


def test_benjamini_hochberg_agrees_with_scipy():
    chance = np.random.default_rng(1)
    for _ in range(50):
        p = chance.random(20) ** 3
        expected = stats.false_discovery_control(p) <= 0.05
        assert benjamini_hochberg(list(p), 0.05) == list(expected)
    assert benjamini_hochberg([], 0.05) == []


def test_in_noise_shippers_are_accused_no_more_often_than_stated():
    chance, runs, alarms = np.random.default_rng(7), 200, 0
    for _ in range(runs):
        movements = [
            Movement(f"s{i}", d, int(n))
            for i in range(5)
            for d, n in zip("abc", chance.multinomial(200, [0.5, 0.3, 0.2]), strict=True)
        ]
        baselines = {f"s{i}": Baseline(SHARES) for i in range(5)}
        alarms += bool(found(movements, baselines, js_limit=0.0).findings)
    assert alarms <= runs * 0.05 + 5 * (runs * 0.05 * 0.95) ** 0.5


def test_a_change_of_rate_is_tested_exactly():
    assert rate_change(30, 30, 30, 30) == pytest.approx(1)
    assert rate_change(30, 30, 60, 30) == pytest.approx(stats.binomtest(60, 90, 0.5).pvalue)
    assert rate_change(0, 30, 0, 30) == 1


def test_a_value_beyond_mean_and_z_deviations_is_a_jump():
    assert jump([3, 4, 5, 4, 3, 4, 5], 7, 3)
    assert not jump([3, 4, 5, 4, 3, 4, 5], 6, 3)


def test_a_season_is_learned_and_continued():
    t = np.arange(70)
    level = np.exp(2 + 0.7 * np.sin(2 * np.pi * t / 7))
    expected, dispersion = seasonal(list(level), 7)
    assert expected[:-1] == pytest.approx(level, rel=1e-6)
    assert expected[-1] == pytest.approx(np.exp(2), rel=1e-6)
    assert dispersion < 1e-9
    chance = np.random.default_rng(3)
    poisson = [seasonal(list(chance.poisson(level)), 7)[1] for _ in range(40)]
    assert np.mean(poisson) == pytest.approx(
        1, abs=0.14
    )  # five standard deviations: (2 / 66 / 40) ** 0.5 = 0.027


def test_a_planted_change_of_history_is_found_where_it_is():
    chance = np.random.default_rng(5)
    counts = [*chance.poisson(3, 60), *chance.poisson(12, 40)]
    (where,) = changes(counts)
    assert abs(where - 60) <= 1
    assert changes([4] * 50) == []
    assert changes([0] * 20) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: share_test({"a": 1.5}, SHARES),
        lambda: share_test({"a": -1}, SHARES),
        lambda: share_test({"a": 1}, {"a": 0.5, "b": 0.4}),
        lambda: share_test({"a": 1}, {"a": float("nan"), "b": 1.0}),
        lambda: share_test({"a": 1}, {"a": 1.5, "b": -0.5}),
        lambda: found([Movement("", "a")], {}),
        lambda: found([Movement("s", "a", -1)], {}),
        lambda: found([], {}, [Series("s", (), 1.0, 1.0)]),
        lambda: found([], {}, [Series("s", (1.0,), 1.0, 0.0)]),
        lambda: found([], {}, [Series("s", (float("nan"),), 1.0, 1.0)]),
        lambda: found([], {}, [Series("s", (1.0,), 1.0, 1.0)] * 2),
        lambda: benjamini_hochberg([1.1], 0.05),
        lambda: Cusum(1, -1, 1),
        lambda: Cusum(1, 1, 0),
        lambda: Cusum(1, 1, 1).add(float("inf")),
        lambda: poisson_tail(1, -1),
        lambda: jump([1], 2, 3),
        lambda: rate_change(1, 0, 1, 1),
        lambda: seasonal([1.0] * 13, 7),
        lambda: seasonal([0.0] * 14, 7),
        lambda: changes([]),
        lambda: changes([1, -1]),
    ],
)
def test_unusable_input_is_refused_by_its_field(wrong):
    with pytest.raises(InvalidValueError) as caught:
        wrong()
    assert caught.value.field
    assert caught.value.message("zh")


def test_a_share_that_was_never_seen_and_never_usual_says_nothing():
    assert share_test({"x": 5}, SHARES) is None
    assert share_test({"a": 5}, {"a": 1.0}) is None
    assert MODEL.title("en") == "abnormal change of direction"


movements = st.lists(
    st.builds(Movement, st.sampled_from(["s", "t", "u"]), st.sampled_from("abcx"), st.integers(0, 30)),
    max_size=12,
)


@settings(max_examples=60)
@given(movements=movements, data=st.data())
def test_history_and_one_by_one_in_any_order_find_the_same(movements, data):
    baselines = {"s": Baseline(SHARES, {"a": 5.0}), "t": Baseline(SHARES)}
    whole = found(movements, baselines).findings
    one_by_one = incremental(baselines, period="2026-05", at=AT)
    for movement in data.draw(st.permutations(movements)):
        one_by_one.add(movement, at=AT)
    assert one_by_one.findings(at=AT) == whole


@settings(max_examples=60)
@given(counts=st.lists(st.integers(0, 50), min_size=3, max_size=3))
def test_other_names_of_destinations_change_nothing(counts):
    one = share_test(dict(zip("abc", counts, strict=True)), SHARES)
    other = share_test(dict(zip("zyx", counts, strict=True)), dict(zip("zyx", SHARES.values(), strict=True)))
    if one is None:
        assert other is None
        return
    assert other.g == pytest.approx(one.g, abs=1e-9)
    assert other.js == pytest.approx(one.js, abs=1e-9)


@settings(max_examples=60)
@given(count=st.integers(0, 50), more=st.integers(0, 50), mean=st.floats(0, 50))
def test_more_of_it_is_never_likelier(count, more, mean):
    assert poisson_tail(count + more, mean) <= poisson_tail(count, mean)
