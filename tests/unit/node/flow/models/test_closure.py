from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.flow.models.closure import (
    MODEL,
    Chain,
    Day,
    Delivery,
    Network,
    Weighing,
    incremental,
    run,
    two_party,
)
from node.flow.models.model import Grade
from node.flow.models.reconciliation import Balance, Stream
from registry.errors import InvalidValueError

AT = datetime(2026, 6, 1, tzinfo=UTC)


def a_delivery(**changed):
    facts = {
        "subject": "88.107.1001/W1", "sender": "88.107.1001", "receiver": "88.107.1002", "sent": 30.00,
        "received": 29.62, "received_at": AT - timedelta(days=1), "u_sent": 0.06, "u_received": 0.06,
        "allowed_loss": 0.06, "u_loss": 0.03,
    }  # fmt: skip
    return Delivery(**facts | changed)


def a_day(**changed):
    facts = {
        "subject": "88.1.2/S/P", "day": date(2026, 3, 2), "opening": 100.0, "produced": 20.0, "received": 5.0,
        "shipped": 15.0, "used": 10.0, "lost": 1.0, "closing": 99.0,
    }  # fmt: skip
    return Day(**facts | changed)


def kinds(result):
    return [finding.kind for finding in result.findings]


def test_the_published_delivery_is_open_by_statistics_and_not_by_the_ten_percent_rule():
    assert round(two_party(a_delivery()), 3) == 3.556
    (finding,) = run([a_delivery()], at=AT).findings
    assert finding.kind == "closure_shortage"
    assert round(finding.evidence["percent"], 2) == 1.27
    assert "1.27 %" in finding.text("zh")
    assert "88.107.1002 收到" in finding.text("zh")


def test_what_arrives_though_nothing_was_sent_is_a_discrepancy_with_a_number():
    (surplus, discrepancy) = run([a_delivery(sent=0, received=5)], at=AT).findings
    assert {surplus.kind, discrepancy.kind} == {"closure_surplus", "closure_discrepancy"}
    assert discrepancy.evidence["percent"] == 1e6
    assert kinds(run([a_delivery(sent=0, received=0)], at=AT)) == []


def test_a_shortage_of_three_percent_of_a_tank_truck_is_named():
    load = a_delivery(sent=30_000, received=29_100, u_sent=60, u_received=60, allowed_loss=60, u_loss=30)
    (finding,) = run([load], at=AT).findings
    assert (finding.kind, finding.grade) == ("closure_shortage", Grade.ORANGE)
    assert "900.0 kg short" in finding.text("en")


def test_exactly_ten_percent_is_no_significant_discrepancy_and_a_hair_more_is():
    wide = {"u_sent": 50.0, "u_received": 50.0, "allowed_loss": 0.0}
    assert kinds(run([a_delivery(sent=100, received=90, **wide)], at=AT)) == []
    assert kinds(run([a_delivery(sent=100, received=89.99, **wide)], at=AT)) == ["closure_discrepancy"]
    assert kinds(run([a_delivery(sent=100, received=89.99, bulk=False, **wide)], at=AT)) == []


def test_any_difference_of_pieces_and_of_kind_is_a_discrepancy():
    wide = {"u_sent": 50.0, "received": 30.0, "bulk": False}
    assert kinds(run([a_delivery(pieces_sent=80, pieces_received=79, **wide)], at=AT)) == [
        "closure_discrepancy"
    ]
    assert kinds(run([a_delivery(pieces_sent=80, pieces_received=80, **wide)], at=AT)) == []
    assert kinds(run([a_delivery(kind_sent="UN1203", kind_received="UN1230", **wide)], at=AT)) == [
        "closure_discrepancy"
    ]


def test_a_discrepancy_is_reported_after_fifteen_days_unless_reconciled():
    received = datetime(2026, 5, 1, tzinfo=UTC)
    load = a_delivery(sent=100, received=80, received_at=received, u_sent=50)
    assert "closure_unreconciled" not in kinds(run([load], at=received + timedelta(days=15)))
    late = received + timedelta(days=15, seconds=1)
    assert "closure_unreconciled" in kinds(run([load], at=late))
    assert "closure_unreconciled" not in kinds(run([replace(load, reconciled=True)], at=late))


def test_small_losses_of_one_sign_add_up_over_a_chain():
    masses = (1000.0, 998.0, 996.0, 994.0)
    chain = Chain("88.1/B", AT, tuple(Weighing(f"88.1.{i}", m, 0.8) for i, m in enumerate(masses)))
    (finding,) = run([chain], at=AT).findings  # each leg alone: z = 1.77
    assert finding.kind == "closure_chain"
    assert round(finding.evidence["z"], 3) == 5.303
    honest = Chain("88.1/B", AT, tuple(Weighing(f"88.1.{i}", 1000.0, 0.8) for i in range(4)))
    assert run([honest], at=AT).findings == ()


def test_the_leg_on_which_it_vanished_is_named():
    masses = (1000.0, 1000.0, 970.0, 970.0)
    chain = Chain("88.1/B", AT, tuple(Weighing(f"p{i}", m, 0.8) for i, m in enumerate(masses)))
    found = run([chain], at=AT)
    (leg,) = found.of("closure_leg")
    assert (leg.evidence["sender"], leg.evidence["receiver"]) == ("p1", "p2")
    assert found.of("closure_chain")[0].evidence["worst"] == "p1 → p2"


def test_a_day_closes_or_says_by_how_much_it_does_not():
    assert run([a_day()], at=AT).findings == ()
    (finding,) = run([a_day(closing=90.0)], at=AT).findings
    assert (finding.kind, finding.evidence["left"]) == ("closure_day", 9.0)
    assert run([a_day(closing=90.0, uncertainty=3.0)], at=AT).findings == ()


def test_stock_that_changes_overnight_or_falls_below_zero_is_flagged():
    days = [a_day(), a_day(day=date(2026, 3, 3), opening=98.0, closing=97.0)]
    assert kinds(run(days, at=AT)) == ["closure_night"]
    gap = [a_day(), a_day(day=date(2026, 3, 4), opening=98.0, closing=97.0)]
    assert kinds(run(gap, at=AT)) == []
    assert kinds(run([a_day(opening=-2.0, closing=-3.0)], at=AT)) == ["closure_negative"]


def test_a_network_names_the_place_and_the_meter():
    streams = [Stream("in", 100.0, 0.5, "A"), Stream("a", 50.0, 0.5, "B"), Stream("b", 50.0, 0.5, "B"),
               Stream("c", 70.0, 0.5, "C"), Stream("out", 100.0, 0.5, "D")]  # fmt: skip
    balances = [Balance("P", {"in": 1, "a": -1, "b": -1}), Balance("Q", {"a": 1, "c": -1}),
                Balance("R", {"b": 1, "c": 1, "out": -1})]  # fmt: skip
    found = run([Network("88.1/NET", tuple(streams), tuple(balances))], at=AT)
    assert {f.subject for f in found.of("closure_place")} == {"Q", "R"}
    (meter,) = found.of("closure_meter")
    assert (meter.subject, meter.evidence["owner"]) == ("c", "C")
    assert abs(meter.evidence["estimate"] - 50) < 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"sent": float("nan")}, "deliveries.88.107.1001/W1.sent"),
        ({"received": -1.0}, "deliveries.88.107.1001/W1.received"),
        ({"u_sent": 0.0, "u_received": 0.0, "u_loss": 0.0}, "deliveries.88.107.1001/W1.u_sent"),
        ({"u_sent": 1e-320, "u_received": 0.0, "u_loss": 0.0}, "deliveries.88.107.1001/W1.u_sent"),
        ({"sent": "30"}, "deliveries.88.107.1001/W1.sent"),
        ({"received_at": datetime(2026, 1, 1)}, "deliveries.88.107.1001/W1.received_at"),  # noqa: DTZ001 — without a zone on purpose
        ({"subject": ""}, "deliveries.subject"),
        ({"pieces_sent": -1, "pieces_received": 2}, "deliveries.88.107.1001/W1.pieces_sent"),
    ],
)
def test_an_unusable_delivery_is_refused_by_its_field(changed, field):
    with pytest.raises(InvalidValueError) as caught:
        run([a_delivery(**changed)], at=AT)
    assert caught.value.field == field
    assert caught.value.message("zh")


@pytest.mark.parametrize(
    "item",
    [
        Chain("c", AT, ()),
        Chain("c", AT, (Weighing("a", 1.0, 0.1),)),
        Chain("c", AT, (Weighing("a", 1.0, 0.0), Weighing("b", 1.0, 0.1))),
        a_day(used=float("inf")),
        a_day(lost=-1.0),
        Network("n", (), ()),
    ],
)
def test_other_unusable_items_are_refused(item):
    with pytest.raises(InvalidValueError):
        run([item], at=AT)


def test_an_item_given_twice_is_refused():
    with pytest.raises(InvalidValueError):
        run([a_delivery(), a_delivery()], at=AT)
    one_by_one = incremental(None, at=AT)
    one_by_one.add(a_day(), at=AT)
    with pytest.raises(InvalidValueError):
        one_by_one.add(a_day(), at=AT)
    assert one_by_one.findings(at=AT) == ()


def test_unknown_and_impossible_parameters_are_refused():
    for wrong in ({"zlimit": 3}, {"z_limit": 0.5}, {"alpha": float("nan")}):
        with pytest.raises(InvalidValueError):
            run([], wrong, at=AT)
    assert MODEL.title("zh") == "流量闭合模型"


masses = st.floats(0, 1000, allow_nan=False)
deliveries = st.builds(
    a_delivery,
    sent=masses,
    received=masses,
    subject=st.text("abc", min_size=1, max_size=3),
    reconciled=st.booleans(),
)
days = st.builds(
    a_day, subject=st.sampled_from("xy"), day=st.dates(date(2026, 3, 1), date(2026, 3, 5)), closing=masses
)
items = st.lists(
    st.one_of(deliveries, days), max_size=8,
    unique_by=lambda one: (type(one).__name__, one.subject, getattr(one, "day", None)),
)  # fmt: skip


@settings(max_examples=50)
@given(items=items, data=st.data())
def test_history_and_one_by_one_in_any_order_find_the_same(items, data):
    whole = run(items, at=AT).findings
    one_by_one = incremental(None, at=AT)
    for item in data.draw(st.permutations(items)):
        one_by_one.add(item, at=AT)
    assert one_by_one.findings(at=AT) == whole


@settings(max_examples=50)
@given(load=deliveries, more=masses)
def test_the_less_arrives_the_greater_is_z(load, more):
    assert two_party(load) <= two_party(replace(load, sent=load.sent + more))


def test_old_items_can_be_forgotten():
    one_by_one = incremental(None, at=AT)
    one_by_one.add(a_delivery(), at=AT)
    one_by_one.forget(lambda item: item.received_at < AT)
    assert one_by_one.findings(at=AT) == ()
