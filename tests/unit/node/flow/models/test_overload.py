from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.flow.models.filling import Compartment, Tank, TankKind, coefficient, density_at, greatest_filling
from node.flow.models.overload import MODEL, Destination, Load, Stored, guard_limit, incremental, over, run
from registry.errors import InvalidValueError

AT = datetime(2026, 6, 1, tzinfo=UTC)
P = MODEL.settings(AT.date())


def a_tank(kind=TankKind.VENTED_FLAMMABLE, **changed):
    facts = {"volume_l": 30_000.0, "density_15": 0.799, "density_50": 0.765, "filling_celsius": 20.0}
    return Tank(kind=kind, **facts | changed)


def a_load(**changed):
    facts = {
        "subject": "88.1.2/W1", "at": AT, "vehicle": "鲁A12345", "product": "methanol", "shipper": "88.1.2",
        "consignee": "88.1.3", "net": 20_000.0,
    }  # fmt: skip
    return Load(**facts | changed)


def kinds(loads, **parameters):
    return [finding.kind for finding in run(loads, parameters or None, at=AT).findings]


def test_the_published_degrees_of_filling_come_out_to_every_digit():
    assert f"{coefficient(0.799, 0.765):.8f}" == "0.00126984"
    four = (TankKind.VENTED_FLAMMABLE, TankKind.VENTED_TOXIC, TankKind.CLOSED, TankKind.CLOSED_TOXIC)
    assert [round(greatest_filling(a_tank(k), P), 2) for k in four] == [96.33, 94.40, 93.44, 91.51]
    assert [round(greatest_filling(a_tank(k), P), 2) for k in (TankKind.PORTABLE, TankKind.PORTABLE_TOXIC)] == [
        93.44, 91.51
    ]  # fmt: skip


def test_a_heated_tank_is_never_filled_beyond_its_limit():
    hot = a_tank(filling_celsius=80.0, heated=True)
    assert greatest_filling(hot, P) == 95.0
    assert greatest_filling(replace(hot, heated=False), P) == 100.0


def test_the_density_meets_both_given_densities():
    assert density_at(a_tank(filling_celsius=15.0)) == pytest.approx(0.799)
    assert density_at(a_tank(filling_celsius=50.0)) == pytest.approx(0.765)


def test_the_guarded_alarm_begins_at_the_published_mass():
    assert round(guard_limit(100, 0.02, 0.999), 2) == 106.59
    assert not over(106.58, 100, 0.02 * 106.58, 0.999)
    assert over(106.60, 100, 0.02 * 106.60, 0.999)
    assert over(100.1, 100, 0, 0.999)
    assert not over(100, 100, 0, 0.999)


def test_net_mass_over_the_approved_load_is_found_only_when_it_is_certain():
    assert kinds([a_load(net=21_000, approved=20_000)]) == ["overload_net"]
    assert kinds([a_load(net=21_000, approved=20_000, u_net=420)]) == []
    assert kinds([a_load(net=21_400, approved=20_000, u_net=420)]) == ["overload_net"]
    assert kinds([a_load(net=20_000, approved=20_000)]) == []


@pytest.mark.parametrize(
    ("axles", "combination", "one_driven", "limit"),
    [
        (2, False, False, 18_000), (3, False, False, 25_000), (3, True, False, 27_000), (4, False, False, 31_000),
        (4, True, False, 36_000), (5, True, False, 43_000), (6, True, False, 49_000), (6, True, True, 46_000),
        (7, True, False, 49_000),
    ],
)  # fmt: skip
def test_gross_mass_is_judged_by_the_table_of_axles(axles, combination, one_driven, limit):
    load = a_load(gross=limit, axles=axles, combination=combination, one_driven_axle=one_driven)
    assert kinds([load]) == []
    (finding,) = run([replace(load, gross=limit + 1)], at=AT).findings
    assert (finding.kind, finding.evidence["limit"]) == ("overload_gross", limit)


def test_too_full_a_tank_and_a_waybill_that_cannot_be_true_are_found():
    tank = a_tank()
    most = density_at(tank) * 30_000 * greatest_filling(tank, P) / 100
    assert kinds([a_load(net=most - 1, waybill=most - 1, tank=tank)]) == []
    assert kinds([a_load(net=most + 1, waybill=most - 1, tank=tank)]) == ["overload_filling"]
    assert kinds([a_load(net=most - 1, waybill=most + 1, tank=tank)]) == ["overload_waybill"]


@pytest.mark.parametrize(
    ("percent", "volume", "baffled", "found"),
    [(20, 8000, False, False), (20.1, 8000, False, True), (79.9, 8000, False, True), (80, 8000, False, False),
     (50, 7500, False, False), (50, 7501, False, True), (50, 8000, True, False)],
)  # fmt: skip
def test_a_large_compartment_without_surge_plates_is_nearly_empty_or_nearly_full(
    percent, volume, baffled, found
):
    tank = a_tank(compartments=(Compartment(volume, volume * percent / 100, baffled),))
    assert kinds([a_load(net=100, tank=tank)]) == (["overload_surge"] if found else [])


def test_licence_storage_and_major_hazard_of_the_destination_are_three_findings():
    unit = (Stored("methanol", Decimal(485), Decimal(500)), Stored("gasoline", Decimal(2), Decimal(200)))
    place = Destination("88.1.3/TANK", 5_000, licensed=24_999, design=24_000, unit=unit)
    found = run([a_load(destination=place)], at=AT)
    assert {f.kind for f in found.findings} == {"overload_licence", "overload_storage", "overload_hazard"}
    assert all(f.text(language) for f in found.findings for language in ("zh", "en"))


def test_the_major_hazard_sum_is_exact_at_one():
    tenth = Decimal("0.1")
    unit = tuple(Stored(f"s{i}", tenth, Decimal(1)) for i in range(9))
    place = Destination("88.1.3/U", unit=(*unit, Stored("methanol", Decimal(0), Decimal(1))))
    assert kinds([a_load(net=100.0, destination=place)]) == ["overload_hazard"], (
        "ten tenths are 1, and 1 counts"
    )
    assert kinds([a_load(net=99.9, destination=place)]) == []
    filed = replace(place, filed=Decimal(2))
    assert kinds([a_load(net=100.0, destination=filed)]) == []
    assert kinds([a_load(net=1_100.1, destination=filed)]) == ["overload_hazard"]


def test_the_product_must_be_among_the_substances_of_the_unit():
    place = Destination("88.1.3/U", unit=(Stored("ammonia", Decimal(1), Decimal(10)),))
    with pytest.raises(InvalidValueError) as caught:
        kinds([a_load(destination=place)])
    assert caught.value.field == "loads.88.1.2/W1.destination.unit"


def test_one_consignment_in_parts_is_found_within_the_window_and_once():
    parts = [
        a_load(subject=f"88.1.2/W{i}", at=AT + timedelta(hours=h), net=4_000, split_threshold=8_000)
        for i, h in enumerate((0, 5, 23, 60))
    ]
    (finding,) = run(parts, at=AT).findings
    assert (finding.evidence["count"], finding.evidence["total"]) == (3, 12_000)
    assert run(parts[:2], at=AT).findings == ()  # exactly the threshold
    assert (
        run([replace(one, at=AT + timedelta(hours=25 * i)) for i, one in enumerate(parts)], at=AT).findings
        == ()
    )
    apart = [replace(one, consignee=f"88.1.{i}") for i, one in enumerate(parts)]
    assert run(apart, at=AT).findings == ()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"net": -1}, "loads.88.1.2/W1.net"),
        ({"net": float("nan")}, "loads.88.1.2/W1.net"),
        ({"axles": 1, "gross": 1.0}, "loads.88.1.2/W1.axles"),
        ({"axles": 2.5, "gross": 1.0}, "loads.88.1.2/W1.axles"),
        ({"tank": a_tank(volume_l=0)}, "loads.88.1.2/W1.tank.volume_l"),
        ({"tank": a_tank(density_15=0.7)}, "loads.88.1.2/W1.tank.density_50"),
        ({"tank": a_tank(density_50=0.0)}, "loads.88.1.2/W1.tank.density_50"),
        (
            {"tank": a_tank(compartments=(Compartment(10, 11),))},
            "loads.88.1.2/W1.tank.compartments[0].filled_l",
        ),
        ({"destination": Destination("x", stock=-1)}, "loads.88.1.2/W1.destination.stock"),
        (
            {"destination": Destination("x", unit=(Stored("methanol", Decimal(1), Decimal(0)),))},
            "loads.88.1.2/W1.destination.unit.methanol.critical",
        ),
    ],
)
def test_an_unusable_load_is_refused_by_its_field(changed, field):
    with pytest.raises(InvalidValueError) as caught:
        run([a_load(**changed)], at=AT)
    assert caught.value.field == field
    assert caught.value.message("zh")


loads = st.lists(
    st.builds(
        a_load, subject=st.text("abc", min_size=1, max_size=3), net=st.floats(0, 60_000), approved=st.floats(0, 40_000),
        at=st.integers(0, 100).map(lambda h: AT + timedelta(hours=h)), split_threshold=st.just(8_000.0),
        consignee=st.sampled_from("pq"), tank=st.sampled_from([None, a_tank()]),
    ),
    max_size=8, unique_by=lambda load: load.subject,
)  # fmt: skip


@settings(max_examples=50)
@given(loads=loads, data=st.data())
def test_history_and_one_by_one_in_any_order_find_the_same(loads, data):
    whole = run(loads, at=AT).findings
    one_by_one = incremental(None, at=AT)
    for load in data.draw(st.permutations(loads)):
        one_by_one.add(load, at=AT)
    assert one_by_one.findings(at=AT) == whole


@settings(max_examples=50)
@given(net=st.floats(0, 60_000), more=st.floats(0, 10_000), u=st.floats(0, 500))
def test_a_heavier_load_never_clears_a_finding(net, more, u):
    unit = (Stored("methanol", Decimal(490), Decimal(500)),)
    place = Destination("88.1.3/U", 1_000, 30_000, 25_000, unit)
    tank = a_tank(volume_l=40_000.0)
    light = a_load(net=net, u_net=u, approved=25_000, tank=tank, destination=place)
    assert set(kinds([light])) <= set(kinds([replace(light, net=net + more)]))


@settings(max_examples=50)
@given(warm=st.floats(-30, 60), more=st.floats(0, 40))
def test_the_warmer_it_is_filled_the_fuller_a_tank_may_be(warm, more):
    cold, hot = a_tank(filling_celsius=warm), a_tank(filling_celsius=warm + more)
    assert greatest_filling(cold, P) <= greatest_filling(hot, P)


def test_filling_a_destination_exactly_to_its_limits_is_allowed():
    place = Destination("88.1.3/TANK", 5_000, licensed=25_000, design=25_000)
    assert kinds([a_load(destination=place)]) == []
    assert sorted(kinds([a_load(net=20_000.1, destination=place)])) == [
        "overload_licence",
        "overload_storage",
    ]
