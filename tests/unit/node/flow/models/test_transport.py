from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.flow.models.geometry import EARTH_RADIUS_M
from node.flow.models.matching import Network, Road
from node.flow.models.transport import MODEL, Followed, Tracker, run
from node.flow.models.transport_rules import hours_of_night
from node.flow.models.trip import Area, Fix, State, Stop, Trip, state_of
from registry.errors import InvalidValueError

START = datetime(2026, 6, 1, 1, 0, tzinfo=UTC)  # nine in the morning at +08:00
END = START + timedelta(days=1)
DEGREE_M = np.pi / 180 * EARTH_RADIUS_M


def a_fix(minute, km, *, north_m=0.0, **more):
    """So many km east along the equator, and metres north of it."""
    return Fix(START + timedelta(minutes=minute), north_m / DEGREE_M, km * 1000 / DEGREE_M, **more)


def a_drive(first=0, last=60, kmh=60, **more):
    return tuple(a_fix(m, kmh * m / 60, **more) for m in range(first, last + 1, 2))


def a_trip(**changed):
    return Trip(**{"subject": "88.107.1001/W1", "route": ((0.0, 0.0), (0.0, 3.0))} | changed)


def found(fixes, trip=None, *, at=None, **parameters):
    at = at or (max(fix.at for fix in fixes) if fixes else START)
    return run([Followed(trip or a_trip(), tuple(fixes))], parameters or None, at=at)


def kinds(*given, **more):
    return [finding.kind for finding in found(*given, **more).findings]


def test_a_quiet_trip_along_its_route_raises_nothing():
    assert kinds(a_drive()) == []


def test_three_positions_off_the_corridor_are_a_deviation_told_once():
    drive = [replace(fix, lat=250 / DEGREE_M) if 10 <= i < 16 else fix for i, fix in enumerate(a_drive())]
    (finding,) = found(drive).findings
    assert finding.kind == "transport_off_route"
    assert finding.evidence["since"] == "2026-06-01T01:20:00Z"
    assert finding.evidence["metres"] == pytest.approx(250, abs=0.1)
    assert finding.at == START + timedelta(minutes=24)
    assert "250 米" in finding.text("zh")
    two = [replace(fix, lat=250 / DEGREE_M) if 10 <= i < 12 else fix for i, fix in enumerate(a_drive())]
    assert kinds(two) == []
    near = [replace(fix, lat=199 / DEGREE_M) for fix in a_drive()]
    assert kinds(near) == []


def test_each_excursion_is_its_own_finding():
    off = [
        replace(f, lat=300 / DEGREE_M) if 5 <= i < 9 or 15 <= i < 19 else f for i, f in enumerate(a_drive())
    ]
    assert kinds(off) == ["transport_off_route"] * 2


def test_a_position_that_cannot_be_is_flagged_and_not_used():
    drive = [*a_drive(), a_fix(31, 31 + 80, north_m=9_000)]
    (finding,) = found(drive).findings
    assert finding.kind == "transport_bad_fix"
    assert finding.evidence["speed"] > 120


def test_a_wrong_first_position_does_not_condemn_the_rest():
    drive = [a_fix(-2, 500), *a_drive(last=20)]
    result = found(drive)
    assert [f.kind for f in result.findings] == ["transport_bad_fix", "transport_jump"]
    tracker = Tracker(a_trip(), MODEL.settings(START.date()))
    for fix in drive:
        tracker.add(fix, now=END)
    assert tracker.used == drive[-1]


def test_two_places_at_one_time_cannot_both_be():
    drive = [*a_drive(last=10), replace(a_fix(10, 12), speed_kmh=1.0)]
    assert kinds(drive) == ["transport_bad_fix"]
    assert kinds([*a_drive(last=10)] * 2) == [], "the same position again is no news"


def test_silence_is_told_by_the_next_position_or_by_time():
    gap = [fix for i, fix in enumerate(a_drive()) if not 10 <= i < 16]
    (finding,) = found(gap).findings
    assert (finding.kind, finding.evidence["since"]) == ("transport_silence", "2026-06-01T01:18:00Z")
    on_the_way = a_trip(marks={State.LOADED: START, State.DEPARTED: START})
    assert kinds(a_drive(), on_the_way, at=START + timedelta(minutes=70)) == []
    assert kinds(a_drive(), on_the_way, at=START + timedelta(minutes=71)) == ["transport_silence"]
    assert kinds([], on_the_way, at=START + timedelta(minutes=11)) == ["transport_silence"], "never heard of"
    arrived = a_trip(marks={**on_the_way.marks, State.ARRIVED: START + timedelta(hours=1)})
    assert kinds(a_drive(), arrived, at=END) == []
    assert kinds(a_drive(last=40), arrived, at=END) == ["transport_silence"], "silent until it arrived"
    assert kinds([*a_drive(), a_fix(600, 61)], arrived, at=END) == []
    waiting = a_trip(marks={State.LOADED: START})
    assert kinds([a_fix(0, 0), a_fix(60, 0)], waiting, at=END, dwell_minutes=1000) == []


def test_a_halt_is_told_unless_it_is_where_one_may_stand():
    halt = [*a_drive(last=20), *(a_fix(m, 20.01) for m in range(22, 40, 2))]
    (finding,) = found(halt).findings
    assert (finding.kind, round(finding.evidence["minutes"])) == ("transport_dwell", 10)
    here = Stop("service area", 0.0, 20_000 / DEGREE_M, 200.0)
    assert kinds(halt, a_trip(stops=(here,))) == []
    short = [*a_drive(last=20), a_fix(28, 20.01), a_fix(30, 22)]
    assert kinds(short) == []


def test_entering_a_forbidden_area_is_told_once_for_each_entry():
    east = [10_500 / DEGREE_M, 15_500 / DEGREE_M]
    ring = ((-0.01, east[0]), (-0.01, east[1]), (0.01, east[1]), (0.01, east[0]))
    (finding,) = found(a_drive(), a_trip(forbidden=(Area("old town", ring),))).findings
    assert (finding.kind, finding.evidence["since"]) == ("transport_forbidden", "2026-06-01T01:12:00Z")


def test_speed_is_judged_by_the_kind_of_road():
    fast = a_drive(kmh=75)
    assert kinds(fast) == []
    assert kinds([replace(fix, motorway=False) for fix in fast]) == ["transport_speed"]
    assert kinds([replace(fix, speed_kmh=85.0) for fix in fast]) == ["transport_speed"]
    once = [replace(fix, speed_kmh=85.0) if i == 5 else fix for i, fix in enumerate(fast)]
    assert kinds(once) == []


def long_drive(hours, rest_after=None, rest=25):
    fixes, km = [], 0.0
    for m in range(0, int(hours * 60) + 1, 5):
        resting = rest_after is not None and rest_after * 60 < m <= rest_after * 60 + rest
        km += 0 if resting or m == 0 else 3.5
        fixes.append(a_fix(m, km))
    return fixes


def test_more_than_four_hours_without_rest_are_too_many():
    stops = {"dwell_minutes": 600}
    assert kinds(long_drive(4), **stops) == []
    (finding,) = found(long_drive(4.5), **stops).findings
    assert finding.kind == "transport_hours"
    assert finding.evidence["hours"] == pytest.approx(4 + 5 / 60)
    assert kinds(long_drive(6, rest_after=3), **stops) == []
    assert kinds(long_drive(6, rest_after=3, rest=15), **stops) == ["transport_hours"], "15 min are no rest"


def test_two_hours_of_the_night_are_the_limit_since_the_law():
    evening = timedelta(hours=12)  # nine in the evening at +08:00
    late = [replace(fix, at=fix.at + evening) for fix in long_drive(3.5)]
    assert kinds(late) == ["transport_night"]
    assert kinds(late[:37]) == []  # three hours, two of them in the night
    before = [replace(fix, at=fix.at - timedelta(days=60)) for fix in late]
    departed = a_trip(marks={State.LOADED: before[0].at, State.DEPARTED: before[0].at})
    assert kinds(before, departed) == [], "in April the night had no limit of its own"
    # a trip that began before the law is judged by the rule of its day, whenever it is looked at
    later = run([Followed(departed, tuple(before))], at=END)
    assert "transport_night" not in {finding.kind for finding in later.findings}


def test_the_night_passes_midnight():
    p = MODEL.settings(START.date())
    nine = datetime(2026, 6, 1, 13, 0, tzinfo=UTC)
    assert hours_of_night(nine, nine + timedelta(hours=24), p) == pytest.approx(7)
    assert hours_of_night(nine, nine + timedelta(hours=2), p) == pytest.approx(1)
    small = datetime(2026, 6, 1, 20, 0, tzinfo=UTC)  # four in the morning
    assert hours_of_night(small, small + timedelta(hours=3), p) == pytest.approx(1)
    assert hours_of_night(small, small, p) == 0


def test_arriving_late_is_foreseen_and_then_told():
    trip = a_trip(due=START + timedelta(hours=2))  # 333 km in two hours is too much
    assert "transport_late" in kinds(a_drive(), trip)
    assert "transport_late" not in kinds(a_drive(), a_trip(due=START + timedelta(hours=6)))
    assert "transport_overdue" in kinds([], trip, at=START + timedelta(minutes=136))
    assert "transport_overdue" not in kinds([], trip, at=START + timedelta(minutes=135))
    there = replace(
        trip, marks={State.LOADED: START, State.DEPARTED: START, State.ARRIVED: START + timedelta(hours=1)}
    )
    assert "transport_overdue" not in kinds([], there, at=END)


def test_a_position_of_the_future_is_not_used():
    (finding,) = found([a_fix(60, 1)], at=START).findings
    assert finding.kind == "transport_future"


def test_the_whole_way_is_compared_with_the_route_and_laid_on_its_roads():
    marks = {State.LOADED: START, State.DEPARTED: START, State.ARRIVED: START + timedelta(hours=1)}
    trip = a_trip(marks=marks, route=((0.0, 0.0), (0.0, 60_000 / DEGREE_M)))
    junctions = {str(km): (0.0, km * 1000 / DEGREE_M) for km in range(0, 61, 20)}
    roads = [Road(f"G{km}", str(km), str(km + 20)) for km in range(0, 60, 20)]
    one = Followed(trip, (*a_drive(), a_fix(31, 111, north_m=9_000)), Network(junctions, roads))
    figures = run([one], at=END).figures
    assert figures["roads"] == {trip.subject: ["G0", "G20", "G40"]}
    assert figures["likeness_m"][trip.subject] < 1, "the position that cannot be is no part of the way"
    detour = [replace(fix, lat=2_000 / DEGREE_M) if 10 <= i < 16 else fix for i, fix in enumerate(a_drive())]
    assert found(detour, trip, at=END).figures["likeness_m"][trip.subject] == pytest.approx(2_000, rel=0.1)
    assert found(a_drive(), a_trip()).figures["likeness_m"] == {}, "still on its way"


def test_the_state_follows_the_marks_and_contradictions_are_told():
    marks = {State.LOADED: START, State.DEPARTED: START + timedelta(hours=1), State.ARRIVED: END}
    trip = a_trip(marks=marks)
    assert state_of(trip, START - timedelta(hours=1)) == (State.PLANNED, ())
    assert state_of(trip, START) == (State.LOADED, ())
    assert state_of(trip, START + timedelta(hours=2)) == (State.DEPARTED, ())
    assert state_of(trip, END) == (State.ARRIVED, ())
    assert state_of(a_trip(marks={State.RECEIVED: START}), END)[1] == (
        "received, – departed",
        "received, – arrived",
    )
    turned = a_trip(marks={State.DEPARTED: END, State.ARRIVED: START})
    assert state_of(turned, END)[1] == ("arrived < departed",)
    assert "transport_steps" in kinds([], turned, at=END)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (Followed(a_trip(), (Fix(datetime(2026, 1, 1), 0, 0),)), "trips.88.107.1001/W1.fixes[0].at"),  # noqa: DTZ001 — without a zone on purpose
        (Followed(a_trip(), (a_fix(0, 0), Fix(START, 91, 0))), "trips.88.107.1001/W1.fixes[1].lat"),
        (Followed(a_trip(), (Fix(START, 0, float("nan")),)), "trips.88.107.1001/W1.fixes[0].lon"),
        (Followed(a_trip(), (Fix(START, 0, 0, -1.0),)), "trips.88.107.1001/W1.fixes[0].speed_kmh"),
        (Followed(a_trip(route=((0.0, 0.0),))), "trips.88.107.1001/W1.route"),
        (Followed(a_trip(stops=(Stop("s", 0, 0, 0),))), "trips.88.107.1001/W1.stops[0].radius_m"),
        (Followed(a_trip(forbidden=(Area("z", ((0, 0),)),))), "trips.88.107.1001/W1.forbidden.z"),
        (Followed(a_trip(subject=" ")), "trips.subject"),
        (Followed(a_trip(due="now")), "trips.88.107.1001/W1.due"),
    ],
)
def test_an_unusable_trip_is_refused_by_its_field(item, field):
    with pytest.raises(InvalidValueError) as caught:
        run([item], at=END)
    assert caught.value.field == field


def test_a_trip_given_twice_is_refused():
    with pytest.raises(InvalidValueError):
        run([Followed(a_trip()), Followed(a_trip())], at=END)


def test_one_position_and_none_are_no_trouble():
    assert kinds([a_fix(0, 0)]) == []
    assert kinds([]) == []


RING = ((-0.05, 0.1), (-0.05, 0.2), (0.05, 0.2), (0.05, 0.1))
FULL = a_trip(
    forbidden=(Area("z", RING),), stops=(Stop("s", 0.0, 0.3, 500.0),), due=START + timedelta(hours=3),
    marks={State.LOADED: START, State.DEPARTED: START},
)  # fmt: skip
wild = st.lists(
    st.builds(
        lambda minute, km, north, speed, road: a_fix(minute, km, north_m=north, speed_kmh=speed, motorway=road),
        st.integers(0, 400), st.floats(0, 60), st.sampled_from([0.0, 150.0, 260.0]),
        st.sampled_from([None, None, 50.0, 90.0]), st.sampled_from([None, True, False]),
    ),
    max_size=14,
)  # fmt: skip


@settings(max_examples=80)
@given(fixes=wild, data=st.data())
def test_history_and_live_in_any_order_find_the_same(fixes, data):
    at = START + timedelta(hours=8)
    whole = run([Followed(FULL, tuple(fixes))], at=at).findings
    assert run([Followed(FULL, tuple(fixes[::-1]))], at=at).findings == whole
    tracker = Tracker(FULL, MODEL.settings(START.date()))
    for fix in data.draw(st.permutations(fixes)):
        tracker.add(fix, now=at)
    assert tracker.findings(at) == whole


@settings(max_examples=40)
@given(fixes=wild)
def test_another_name_of_the_trip_changes_only_the_name(fixes):
    at = START + timedelta(hours=8)
    one = run([Followed(FULL, tuple(fixes))], at=at).findings
    other = run([Followed(replace(FULL, subject="zz"), tuple(fixes))], at=at).findings
    assert [(f.kind, f.at, f.evidence) for f in one] == [(f.kind, f.at, f.evidence) for f in other]
    assert all(f.text(language) for f in one for language in ("zh", "en"))


def test_the_mean_speed_counts_from_where_the_trip_was_first_seen():
    drive = [a_fix(m, 100 + m) for m in range(0, 61, 2)]  # 60 km/h, 233 km from the end
    assert kinds(drive, a_trip(due=START + timedelta(hours=3))) == ["transport_late"]
    assert kinds(drive, a_trip(due=START + timedelta(hours=4))) == []
    (finding,) = found(drive, a_trip(due=START + timedelta(hours=3))).findings
    assert finding.evidence["speed"] == pytest.approx(60, rel=1e-3)
    assert finding.evidence["left_km"] == pytest.approx(3 * DEGREE_M / 1000 - 110, rel=1e-3)
