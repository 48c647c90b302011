from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from node.flow.models.gathering import MODEL, Case, Live, Site, map_clusters, run, run_live, run_volume
from node.flow.models.model import Grade
from registry.errors import InvalidValueError

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def a_case(i, days_ago, lat=30.0, lon=120.0, ratio=0.0):
    return Case(f"88.1.2/C{i}", AT - timedelta(days=days_ago), lat, lon, ratio)


def a_history(seed=1, n=150, planted=10, ratio=0.0):
    chance = np.random.default_rng(seed)
    calm = [
        a_case(i, d, 30 + y, 120 + x)
        for i, (d, x, y) in enumerate(
            zip(chance.random(n) * 80, chance.random(n), chance.random(n), strict=True)
        )
    ]
    tight = [
        a_case(n + i, d * 2, 30.5, 120.5 + 1e-4 * i, ratio) for i, d in enumerate(chance.random(planted))
    ]
    return calm + tight


def test_a_planted_gathering_is_found_with_its_cases_and_how_rare_it_is():
    (finding,) = run(a_history(), at=AT, seed=3).findings
    assert finding.kind == "gathering_cluster"
    assert finding.grade is Grade.YELLOW
    assert finding.evidence["p"] == 0.001
    assert finding.evidence["recurrence_days"] == pytest.approx(1000)
    assert {f"88.1.2/C{150 + i}" for i in range(10)} <= set(finding.evidence["cases"])
    assert all(finding.text(language) for language in ("zh", "en"))
    assert run(a_history(ratio=0.2), at=AT, seed=3).findings[0].grade is Grade.ORANGE


def test_a_calm_history_raises_nothing():
    assert run(a_history(planted=0), at=AT, seed=3).findings == ()


def test_abnormal_cases_together_among_many_are_found():
    chance = np.random.default_rng(2)
    cases = [
        a_case(i, float(chance.random() * 6), 30 + chance.random(), 120 + chance.random()) for i in range(150)
    ]
    here = sorted(cases, key=lambda c: (c.lat - 30.5) ** 2 + (c.lon - 120.5) ** 2)[:8]
    abnormal = {case.subject for case in here} | {case.subject for case in cases[::30]}
    (finding,) = run(cases, {"radius_km": 30, "replicas": 399}, at=AT, seed=1, abnormal=abnormal).findings
    assert finding.kind == "gathering_abnormal"
    assert len({case.subject for case in here} & set(finding.evidence["cases"])) >= 6
    assert run(cases, {"radius_km": 30, "replicas": 399}, at=AT, seed=1, abnormal=set()).findings == ()


def a_site(i, counts, volume=2.0):
    return Site(f"88.1.2/S{i}", 30.0 + 0.2 * (i % 5), 120.0 + 0.2 * (i // 5), volume, tuple(counts))


def test_a_site_far_above_its_volume_is_found():
    chance = np.random.default_rng(3)
    counts = chance.poisson(1, (20, 15))
    calm = [a_site(i, map(int, row)) for i, row in enumerate(counts)]
    assert run_volume(calm, {"replicas": 199, "alpha": 0.01}, at=AT, seed=1).findings == ()
    counts[4, -1] += 15
    busy = [a_site(i, map(int, row)) for i, row in enumerate(counts)]
    (finding,) = run_volume(busy, at=AT, seed=1).findings
    assert (finding.kind, finding.subject, finding.evidence["days"]) == ("gathering_volume", "88.1.2/S4", 1)
    assert run_volume(busy[::-1], at=AT, seed=1).findings == (finding,)


@pytest.mark.parametrize(
    ("sites", "field"),
    [
        ([], "sites"),
        ([a_site(1, [1]), a_site(1, [1])], "sites.subject"),
        ([a_site(1, [1]), a_site(2, [1, 2])], "sites.88.1.2/S2.counts"),
        ([a_site(1, []), a_site(2, [])], "sites.88.1.2/S1.counts"),
        ([a_site(1, [1]), a_site(2, [-1])], "counts[1][0]"),
        ([a_site(1, [1]), a_site(2, [1], -2.0)], "volume[1]"),
        ([a_site(1, [1]), Site("x", 99, 0, 1.0, (1,))], "sites.x.lat"),
    ],
)
def test_an_unusable_site_is_refused_by_its_field(sites, field):
    with pytest.raises(InvalidValueError) as caught:
        run_volume(sites, at=AT)
    assert caught.value.field == field


def test_the_order_of_cases_changes_nothing():
    cases = a_history()
    assert run(cases[::-1], at=AT, seed=3).findings == run(cases, at=AT, seed=3).findings


def test_cases_after_the_instant_and_before_the_period_are_counted_not_used():
    cases = [*a_history(), a_case("future", -1), a_case("old", 200)]
    result = run(cases, at=AT, seed=3)
    assert (result.figures["cases"], result.figures["future"], result.figures["old"]) == (160, 1, 1)
    assert result.findings == run(a_history(), at=AT, seed=3).findings


def test_few_cases_are_no_trouble():
    assert run([], at=AT).findings == ()
    assert run([a_case(1, 0)], at=AT).findings == ()
    assert run_live([], at=AT).findings == ()


@pytest.mark.parametrize(
    ("case", "field"),
    [
        (Case("", AT, 30, 120), "cases[0].subject"),
        (Case("c", datetime(2026, 1, 1), 30, 120), "cases[0].at"),  # noqa: DTZ001 — without a zone on purpose
        (Case("c", AT, float("nan"), 120), "cases[0].lat"),
        (Case("c", AT, 30, 181), "cases[0].lon"),
        (Case("c", AT, 30, 120, -0.1), "cases[0].ratio"),
    ],
)
def test_an_unusable_case_is_refused_by_its_field_in_every_form(case, field):
    for form in (lambda: run([case], at=AT), lambda: run_live([case], at=AT), lambda: Live(at=AT).add(case),
                 lambda: map_clusters([case], None, at=AT)):  # fmt: skip
        with pytest.raises(InvalidValueError) as caught:
            form()
        assert caught.value.field == field


def test_a_case_given_twice_is_refused():
    for form in (run, run_live):
        with pytest.raises(InvalidValueError):
            form([a_case(1, 0), a_case(1, 0)], at=AT)


def test_goods_that_reach_the_limit_together_are_told_when_the_last_one_comes():
    live = Live(at=AT)
    assert live.add(a_case(1, 0.5, ratio=0.6)) == ()
    assert live.add(a_case(2, 0.4, lat=30.5, ratio=0.6)) == (), "fifty kilometres away"
    (finding,) = live.add(a_case(3, 0.1, lat=30.001, ratio=0.4))
    assert (finding.kind, finding.grade) == ("gathering_ratio", Grade.RED)
    assert finding.evidence["cases"] == ["88.1.2/C1", "88.1.2/C3"]
    assert Live(at=AT).add(a_case(1, 0, ratio=5.0)) == (), (
        "one load alone is judged by the store's own limits"
    )


def test_more_cases_than_the_same_place_is_used_to_are_told():
    quiet = [a_case(i, 30 + i) for i in range(3)]
    rush = [a_case(10 + i, 0.1 * i) for i in range(5)]
    assert "gathering_count" in {f.kind for f in run_live(quiet + rush, at=AT).findings}
    busy = [a_case(100 + i, 1.2 + 0.25 * i) for i in range(100)]
    assert run_live(busy + quiet + rush, at=AT).findings == ()
    assert run_live(quiet[:0] + rush, at=AT).findings == (), "no past is known: nothing to compare with"


cases = st.lists(
    st.builds(
        a_case, st.integers(0, 99), st.floats(0, 40), st.sampled_from([30.0, 30.005, 30.02]),
        ratio=st.sampled_from([0.0, 0.3, 0.6]),
    ),
    max_size=14, unique_by=lambda case: case.subject,
)  # fmt: skip


@settings(max_examples=60)
@given(cases=cases, data=st.data())
def test_history_and_live_in_any_order_find_the_same(cases, data):
    whole = run_live(cases, at=AT).findings
    live = Live(at=AT)
    for case in data.draw(st.permutations(cases)):
        live.add(case)
    assert live.findings == whole


def test_what_was_forgotten_may_come_again():
    live = Live(at=AT)
    live.add(a_case(1, 50, ratio=0.6))
    live.add(a_case(2, 50, ratio=0.6))
    assert live.findings
    live.forget(AT - timedelta(days=40))
    assert live.findings == ()
    live.add(a_case(1, 0))


def test_in_noise_the_live_form_speaks_no_more_often_than_stated():
    # a steady Poisson stream at one place: P(alarm per case) is bounded by alpha times the spread of the estimate
    chance, told, total = np.random.default_rng(8), 0, 0
    for run_ in range(6):
        times = np.cumsum(chance.exponential(1 / 8, 480))  # eight a day for sixty days
        stream = [
            replace(a_case(f"{run_}.{i}", 0), at=AT + timedelta(days=float(t))) for i, t in enumerate(times)
        ]
        found = run_live(stream, {"alpha": 0.001}, at=AT).findings
        assert all(f.at > AT + timedelta(days=29) for f in found), "before, there is no past to compare with"
        told, total = told + len(found), total + int((times > 29).sum())
    assert told <= 0.03 * total


def test_what_is_drawn_are_names():
    cases = [a_case(i, 0.1 * i, 30 + 1e-3 * i) for i in range(4)] + [a_case(9, 0, 31.0)]
    assert map_clusters(cases, None, at=AT) == [tuple(f"88.1.2/C{i}" for i in range(4))]
    assert map_clusters([], None, at=AT) == []
    assert MODEL.title("zh") == "时空聚集模型"


def test_the_expected_number_is_the_past_of_the_same_circle():
    past = [
        a_case("first", 40),
        a_case("edge", 28.5),
        a_case("gone", 29.5),
        *(a_case(i, 2 + i) for i in range(13)),
    ]
    rush = [a_case(f"r{i}", 0.1 * i, lon=120.0 + 1e-4 * i) for i in range(6)]
    away = [a_case(f"a{i}", 5, lat=30.0 + 1.01 / 111.2) for i in range(20)]  # beyond the circle
    last = [one for one in run_live(past + rush + away, at=AT).findings if one.subject == "88.1.2/Cr0"]
    (finding,) = [one for one in last if one.kind == "gathering_count"]
    assert finding.evidence["count"] == 6
    assert finding.evidence["expected"] == 0.5, "14 in 28 days; the first two are older"
    assert finding.evidence["p"] == pytest.approx(stats.poisson.sf(5, 0.5))
    more = [a_case(f"m{i}", 2.5 + i) for i in range(14)]
    found = run_live(past + more + rush, {"alpha": 0.01}, at=AT).of("gathering_count")
    assert found[-1].evidence["expected"] == 1.0


def test_a_gathering_that_is_a_major_hazard_together_is_graver():
    cases = a_history(planted=8)
    (finding,) = run(cases, at=AT, seed=3).findings
    assert 0 < finding.evidence["radius_km"] <= 10
    heavy = set(finding.evidence["cases"][:4])
    (same,) = run(
        [replace(c, ratio=0.25) if c.subject in heavy else c for c in cases], at=AT, seed=3
    ).findings
    assert (same.evidence["ratio"], same.grade) == (1.0, Grade.ORANGE), "reaching 1 counts"
