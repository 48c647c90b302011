from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.flow.models.reconciliation import Balance, Stream, reconcile, sidak
from registry.errors import InvalidValueError

#: VDI 2048: measured value, 1.96 sigma; reconciled value, 1.96 sigma.
VDI = {
    "FDKEL": (46.241, 2.5, 44.696, 1.611), "FDKELL": (45.668, 2.5, 44.123, 1.611),
    "SPL": (44.575, 0.535, 44.643, 0.425), "SPLL": (44.319, 0.532, 44.386, 0.424),
    "mV": (0.525, 0.105, 0.524, 0.105), "HK": (69.978, 0.854, 70.005, 0.615),
    "A7": (10.364, 0.168, 10.364, 0.133), "A6": (3.744, 0.058, 3.744, 0.057),
    "A5": (4.391, 0.058, 4.391, 0.057), "HDNK": (18.498, 0.205, 18.499, 0.137),
}  # fmt: skip
STREAMS = [Stream(n, y, w / 1.96) for n, (y, w, _, _) in VDI.items()]
BALANCES = [
    Balance("1", {"FDKEL": 1, "FDKELL": 1, "SPL": -1, "SPLL": -1, "mV": 0.4}),
    Balance("2", {"SPL": 1, "SPLL": 1, "mV": -1, "HK": -1, "A7": -1, "A6": -1, "A5": -1}),
    Balance("3", {"A7": 1, "A6": 1, "A5": 1, "HDNK": -1}),
]
CORRELATED = {("SPL", "SPLL"): 0.39951, ("FDKEL", "FDKELL"): 0.2}


def chain_of(values, u=1.0):
    """Streams in a row through places that neither make nor use anything."""
    names = [f"s{i}" for i in range(len(values))]
    places = [Balance(f"n{a}", {a: 1, b: -1}) for a, b in pairwise(names)]
    return [Stream(n, v, u) for n, v in zip(names, values, strict=True)], places


def test_the_case_of_vdi_2048_comes_out_to_every_digit():
    r = reconcile(STREAMS, BALANCES, CORRELATED)
    for name, (_, _, x, w) in VDI.items():
        assert round(r.values[name], 3) == x, name
        assert round(1.96 * r.uncertainties[name], 3) == w, name
    assert [round(r.residuals[n], 3) for n in "123"] == [3.225, -0.108, 0.001]
    assert [round(r.nodal[n], 3) for n in "123"] == [1.590, 0.169, 0.007]
    assert (round(r.g, 4), round(r.limit, 4), r.freedom) == (2.5370, 7.8147, 3)
    assert r.closes
    assert r.gross == ()


def test_the_order_of_streams_and_balances_changes_nothing():
    one = reconcile(STREAMS, BALANCES, CORRELATED)
    other = reconcile(STREAMS[::-1], BALANCES[::-1], CORRELATED)
    assert one == other


def test_other_names_change_nothing_but_names():
    renamed = {n: f"z{i:02}" for i, n in enumerate(sorted(VDI, reverse=True))}
    r = reconcile(STREAMS, BALANCES, CORRELATED)
    s = reconcile(
        [Stream(renamed[x.name], x.value, x.uncertainty) for x in STREAMS],
        [Balance(b.name, {renamed[n]: c for n, c in b.terms.items()}) for b in BALANCES],
        {(renamed[a], renamed[b]): c for (a, b), c in CORRELATED.items()},
    )
    assert s.g == pytest.approx(r.g)
    for name, value in r.values.items():
        assert s.values[renamed[name]] == pytest.approx(value)


def test_a_gross_error_is_named_and_the_rest_closes():
    streams, places = chain_of([100, 100, 112, 100, 100])
    r = reconcile(streams, places)
    assert not r.closes
    assert r.resolved
    (gross,) = r.gross
    assert gross.streams == ("s2",)
    assert gross.estimate == pytest.approx(100)
    assert max(r.measurement, key=lambda n: r.measurement[n] or 0) == "s2"
    assert r.nodal["ns1"] > r.nodal_limit
    assert r.nodal["ns2"] > r.nodal_limit
    assert r.nodal["ns0"] < r.nodal_limit


def test_two_gross_errors_are_named_one_after_another():
    streams, places = chain_of([100, 100, 130, 100, 100, 80, 100, 100])
    assert [one.streams for one in reconcile(streams, places).gross] == [("s2",), ("s5",)]


def test_streams_that_no_balance_can_tell_apart_are_named_together():
    streams, places = chain_of([100, 120])
    (gross,) = reconcile(streams, places).gross
    assert gross.streams == ("s0", "s1")


def test_an_unmeasured_stream_is_projected_out_and_computed_when_the_balances_determine_it():
    streams = [Stream("a", 10.0, 0.1), Stream("b", None), Stream("c", 4.0, 0.1), Stream("d", 6.1, 0.1)]
    balances = [Balance("1", {"a": 1, "b": -1}), Balance("2", {"b": 1, "c": -1, "d": -1})]
    r = reconcile(streams, balances)
    assert r.freedom == 1
    assert r.values["b"] == pytest.approx(r.values["a"])
    assert r.values["a"] == pytest.approx(r.values["c"] + r.values["d"])
    assert r.nodal == {}, "each balance has an unmeasured stream"
    assert r.measurement["a"] is not None


def test_an_unmeasured_stream_that_nothing_determines_stays_open():
    streams = [Stream("a", 1.0, 0.1), Stream("b", 1.1, 0.1), Stream("x", None), Stream("y", None)]
    balances = [Balance("1", {"a": 1, "b": -1}), Balance("2", {"a": 1, "x": -1, "y": -1})]
    r = reconcile(streams, balances)
    assert r.values["x"] is None
    assert r.values["y"] is None


def test_a_measured_stream_that_nothing_checks_has_no_statistic():
    streams = [Stream("a", 1.0, 0.1), Stream("b", 1.1, 0.1), Stream("c", 7.0, 0.1), Stream("x", None)]
    balances = [Balance("1", {"a": 1, "b": -1}), Balance("2", {"c": 1, "x": -1})]
    r = reconcile(streams, balances)
    assert r.measurement["c"] is None
    assert r.values["x"] == pytest.approx(7.0)


def test_a_balance_that_follows_from_others_counts_once():
    streams, places = chain_of([10, 11, 12])
    whole = Balance("whole", {"s0": 1, "s2": -1})
    one, other = reconcile(streams, places), reconcile(streams, [*places, whole])
    assert other.freedom == one.freedom == 2
    assert other.g == pytest.approx(one.g)


@pytest.mark.parametrize(
    ("streams", "balances", "correlations"),
    [
        ([], [], None),
        (STREAMS, [], None),
        ([Stream("a", 1.0, 0.1)], [Balance("1", {"b": 1})], None),
        ([Stream("a", 1.0, 0.0)], [Balance("1", {"a": 1})], None),
        ([Stream("a", 1.0, None)], [Balance("1", {"a": 1})], None),
        ([Stream("a", float("nan"), 0.1)], [Balance("1", {"a": 1})], None),
        ([Stream("a", 1.0, 0.1), Stream("a", 1.0, 0.1)], [Balance("1", {"a": 1})], None),
        ([Stream("a", None)], [Balance("1", {"a": 1})], None),
        ([Stream("a", 1.0, 0.1), Stream("x", None)], [Balance("1", {"a": 1, "x": -1})], None),
        ([Stream("a", 1.0, 0.1)], [Balance("1", {"a": 0})], None),
        (STREAMS, BALANCES, {("SPL", "SPLL"): 1.0}),
        (STREAMS, BALANCES, {("SPL", "XXX"): 0.1}),
    ],
)
def test_a_network_that_cannot_be_reconciled_is_refused(streams, balances, correlations):
    with pytest.raises(InvalidValueError) as caught:
        reconcile(streams, balances, correlations)
    assert caught.value.field
    assert caught.value.message("zh")


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(1, 1e4), min_size=6, max_size=6),
    u=st.lists(st.floats(0.01, 100), min_size=6, max_size=6),
    missing=st.sets(st.integers(0, 5), max_size=2),
)
def test_mass_is_conserved_by_the_reconciled_streams(values, u, missing):
    names = ["f", "a", "b", "c", "d", "e"]
    streams = [
        Stream(n, None if i in missing else v, None if i in missing else s)
        for i, (n, v, s) in enumerate(zip(names, values, u, strict=True))
    ]
    balances = [
        Balance("1", {"f": 1, "a": -1, "b": -1}), Balance("2", {"a": 1, "c": -1}),
        Balance("3", {"b": 1, "c": 1, "d": -1, "e": -1}),
    ]  # fmt: skip
    r = reconcile(streams, balances)
    for balance in balances:
        terms = [(c, r.values[n]) for n, c in balance.terms.items()]
        if all(value is not None for _, value in terms):
            assert sum(c * value for c, value in terms) == pytest.approx(0, abs=1e-6 * max(values))


def test_in_noise_a_network_is_called_open_no_more_often_than_stated():
    chance, alarms, runs = np.random.default_rng(20260301), 0, 400
    for _ in range(runs):
        streams, places = chain_of(100 + chance.normal(size=6))
        alarms += not reconcile(streams, places, alpha=0.05).closes
    assert alarms <= 20 + 5 * (runs * 0.05 * 0.95) ** 0.5  # five standard deviations above 20


def test_tests_share_their_error_probability():
    assert sidak(0.05, 1) == pytest.approx(0.05)
    assert 1 - (1 - sidak(0.05, 10)) ** 10 == pytest.approx(0.05)


def test_the_statistics_of_two_meters_in_a_row_are_those_of_their_difference():
    streams, places = chain_of([100, 102])
    r = reconcile(streams, places)
    assert r.g == pytest.approx(2)
    assert r.values == {"s0": pytest.approx(101), "s1": pytest.approx(101)}
    assert r.measurement == {"s0": pytest.approx(2**0.5), "s1": pytest.approx(2**0.5)}
    assert r.nodal == {"ns0": pytest.approx(2**0.5)}
    assert r.uncertainties == {"s0": pytest.approx(0.5**0.5), "s1": pytest.approx(0.5**0.5)}
