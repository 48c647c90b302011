from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.flow.ledger.derive import derive
from node.flow.ledger.lines import NOTE_NAMES, Account, Side
from node.flow.ledger.measures import amount_of, known
from registry.language import text
from tests.support.flow import (
    OWNER,
    an_event,
    counted,
    gone,
    lot,
    made,
    micros,
    moved,
    party,
    place,
    ran,
    some,
    thing,
    waybill,
)

NOW = micros(1_000)


def booked(event, now=NOW):
    return derive(event, OWNER, now)


def said(lines):
    """What lines say, in short: account, batch, quantity, unit."""
    return [(line.account, line.batch, str(line.qty), line.uom) for line in lines]


def notes(event, now=NOW):
    return [note.name for note in booked(event, now).notes]


def test_a_new_batch_comes_from_what_was_produced_into_stock():
    lines = booked(made("A", "21.50", "TNE", hours=2)).lines
    assert said(lines) == [
        (Account.PRODUCED, lot("A"), "-21.50", "TNE"),
        (Account.STOCK, lot("A"), "21.50", "TNE"),
    ]
    stock = lines[1]
    assert (stock.holder, stock.location, stock.kg) == (OWNER, place("store"), Decimal(21500))
    assert (stock.t_event, stock.t_record, stock.reverses) == (micros(2), NOW, None)


@pytest.mark.parametrize(
    ("step", "account"),
    [
        ("destroying", Account.DESTROYED),
        ("dispensing", Account.USED),
        ("sampling", Account.SAMPLED),
        ("decommissioning", Account.RETIRED),
    ],
)
def test_what_goes_says_where_it_went(step, account):
    assert said(booked(gone("A", 3, step=step)).lines) == [
        (Account.STOCK, lot("A"), "-3", "KGM"),
        (account, lot("A"), "3", "KGM"),
    ]


def test_what_is_stolen_on_the_way_leaves_transit_and_not_stock():
    event = gone(
        "A", 3, step="other", disposition="stolen",
        bizTransactionList=[{"type": "bol", "bizTransaction": waybill("W1")}],
    )  # fmt: skip
    assert [line.account for line in booked(event).lines] == [Account.TRANSIT, Account.LOST]


def test_a_dispatch_and_a_receipt_are_legs_under_their_waybill():
    for step, side, rank, accounts in (
        ("shipping", Side.DISPATCH, 2, [Account.STOCK, Account.TRANSIT]),
        ("departing", Side.DISPATCH, 1, [Account.STOCK, Account.TRANSIT]),
        ("receiving", Side.RECEIPT, 2, [Account.TRANSIT, Account.STOCK]),
        ("arriving", Side.RECEIPT, 1, [Account.TRANSIT, Account.STOCK]),
    ):
        found = booked(moved(step, "A", 10))
        (leg,) = found.legs
        assert found.lines == ()
        assert (leg.side, leg.rank, leg.document, leg.batch) == (side, rank, waybill("W1"), lot("A"))
        assert [line.account for line in leg.lines] == accounts


def test_void_shipping_says_exactly_the_opposite_of_the_shipment():
    sent = booked(moved("shipping", "A", "10.25")).legs[0].lines
    back = booked(moved("void_shipping", "A", "10.25")).lines
    where = [(line.account, line.holder, line.location, line.document, line.batch) for line in sent]
    assert sorted(where) == sorted(
        (line.account, line.holder, line.location, line.document, line.batch) for line in back
    )
    assert {line.account: line.qty for line in sent} == {line.account: -line.qty for line in back}
    assert {line.account: line.kg for line in sent} == {line.account: -line.kg for line in back}


def test_without_a_document_nothing_can_tell_two_shipments_apart_so_each_counts():
    found = booked(moved("shipping", "A", 10, bill=None))
    assert found.legs == ()
    assert [line.account for line in found.lines] == [Account.STOCK, Account.TRANSIT]


def test_the_bill_of_lading_is_the_document_before_any_other():
    event = moved(
        "receiving", "A", 9, bill=None,
        bizTransactionList=[
            {"type": "recadv", "bizTransaction": waybill("R1")},
            {"type": "po", "bizTransaction": waybill("P1")},
            {"type": "bol", "bizTransaction": waybill("W9")},
        ],
    )  # fmt: skip
    assert booked(event).legs[0].document == waybill("W9")


def test_the_holder_is_whom_the_event_names_else_the_owner_of_the_book():
    event = moved(
        "receiving", "A", 9, destinationList=[{"type": "possessing_party", "destination": party("88.2")}]
    )
    assert booked(event).legs[0].lines[1].holder == "88.2"
    other = moved(
        "receiving", "A", 9, destinationList=[{"type": "possessing_party", "destination": "urn:x:1"}]
    )
    assert booked(other).legs[0].lines[1].holder == "urn:x:1"
    assert booked(moved("receiving", "A", 9)).legs[0].lines[1].holder == OWNER


def test_a_run_takes_and_gives_and_its_mass_stays_to_be_closed():
    found = booked(ran({"A": 3, "B": "1.5"}, {"C": 4}, run="urn:run:1"))
    run = [line for line in found.lines if line.account is Account.RUN]
    assert {line.document for line in run} == {"urn:run:1"}
    assert sum(line.kg for line in run) == Decimal("0.5"), "half a kilogram is not accounted for"


def test_a_count_says_what_there_is_even_when_that_is_nothing():
    (count,) = booked(counted("A", 0)).counts
    assert (count.batch, count.qty, count.location) == (lot("A"), 0, place("store"))
    assert booked(counted("A", 0)).lines == ()


def test_between_two_places_of_storage_stock_moves_and_an_observation_moves_nothing():
    there = {"destinationList": [{"type": "location", "destination": place("b")}]}
    event = moved("storing", "A", 5, sourceList=[{"type": "location", "source": place("a")}], **there)
    assert [(line.location, line.qty) for line in booked(event).lines] == [(place("a"), -5), (place("b"), 5)]
    assert booked(moved("storing", "A", 5, **there)).lines == ()
    same = moved("storing", "A", 5, sourceList=[{"type": "location", "source": place("b")}], **there)
    assert (booked(same).lines, notes(same)) == ((), ["same_place"])


def test_ownership_has_a_book_of_its_own():
    event = an_event(
        "TransactionEvent", action="ADD", quantityList=[some("A", 7)],
        bizTransactionList=[{"type": "po", "bizTransaction": waybill("P1")}],
        sourceList=[{"type": "owning_party", "source": party("88.1")}],
        destinationList=[{"type": "owning_party", "destination": party("88.2")}],
    )  # fmt: skip
    assert [(line.account, line.holder, line.qty) for line in booked(event).lines] == [
        (Account.OWNED, "88.1", -7),
        (Account.OWNED, "88.2", 7),
    ]


def test_instances_beside_quantities_are_their_vessels_and_not_counted_again():
    both = moved("shipping", "A", 10, epcList=[thing("T7")])
    assert [leg.batch for leg in booked(both).legs] == [lot("A")]
    drums = an_event(action="ADD", bizStep="commissioning", epcList=[thing("D1"), thing("D2")])
    assert [line.batch for line in booked(drums).lines[1::2]] == [thing("D1"), thing("D2")]
    assert {(line.qty, line.uom) for line in booked(drums).lines[1::2]} == {(1, "H87")}


def sensed(*reports):
    return [{"sensorReport": [dict(zip(("type", "value", "uom"), one, strict=True)) for one in reports]}]


def test_a_volume_has_a_mass_only_with_one_density_and_its_temperature():
    density, temperature = ("Density", Decimal(799), "KMQ"), ("gs1:Temperature", Decimal(15), "CEL")
    weighed = made("A", 2, "MTQ", sensorElementList=sensed(density, temperature))
    assert booked(weighed).lines[1].kg == Decimal(1598)
    for reports in ([density], [temperature], [density, temperature, ("Density", Decimal(1), "KMQ")]):
        event = made("A", 2, "MTQ", sensorElementList=sensed(*reports))
        assert booked(event).lines[1].kg is None
        assert notes(event) == ["mass_unknown"]


@pytest.mark.parametrize(
    ("event", "note", "lines"),
    [
        (made("A", 1, "ZZZ"), "unknown_unit", 2),
        (made("A", -1), "negative_quantity", 0),
        (made("A", "1." + "0" * 31 + "1"), "quantity_too_long", 0),
        (an_event(action="ADD", quantityList=[{"epcClass": lot("A")}]), "no_quantity", 0),
        (made("A", 1, hours=1_001), "future_time", 2),
        (an_event(action="ADD", quantityList=[some("A", 1, prefix="88.9.9")]), "foreign_identifier", 2),
        (ran({"A": 1}, {"A": 1}), "own_ingredient", 4),
    ],
)
def test_what_is_wrong_is_noted_and_never_repaired(event, note, lines):
    found = booked(event)
    assert [one.name for one in found.notes] == [note]
    assert len(found.lines) == lines


def test_a_clock_that_is_a_little_ahead_is_not_the_future():
    assert notes(made("A", 1, hours=1), micros(1) - 200_000_000) == []
    assert notes(made("A", 1, hours=1), micros(1) - 301_000_000) == ["future_time"]


def test_every_note_has_its_text_in_both_languages():
    facts = dict.fromkeys(("batch", "unit", "quantity", "time", "prefix", "location"), "x")
    for name in NOTE_NAMES:
        assert text(f"node.flow_ledger.{name}", "zh", **facts) != text(
            f"node.flow_ledger.{name}", "en", **facts
        )


quantities = st.decimals(min_value="0.001", max_value=10**9, allow_nan=False, allow_infinity=False, places=3)
lots = st.dictionaries(st.sampled_from("ABCDE"), quantities, min_size=1, max_size=4)


@given(inputs=lots, outputs=lots, step=st.sampled_from(["shipping", "receiving", "destroying", "x"]))
def test_the_lines_of_every_event_sum_to_zero_per_batch(inputs, outputs, step):
    listed = [some(name, qty) for name, qty in inputs.items()]
    for event in (
        ran(inputs, outputs),
        an_event(action="ADD", quantityList=listed, bizStep=step),
        an_event(action="DELETE", quantityList=listed, bizStep=step),
    ):
        found = booked(event)
        sums = defaultdict(Decimal)
        weights = defaultdict(Decimal)
        for line in (*found.lines, *(line for leg in found.legs for line in leg.lines)):
            sums[line.batch] += line.qty
            weights[line.batch] += line.kg
        assert sums
        assert not any(sums.values())
        assert not any(weights.values())


def test_units_are_converted_exactly():
    assert amount_of(Decimal("21.50"), "TNE") == (Decimal("21500.00"), "KGM")
    assert amount_of(Decimal(1), "LBR") == (Decimal("0.45359237"), "KGM")
    assert amount_of(Decimal(100), "LTR") == (Decimal("0.1"), "MTQ")
    assert amount_of(Decimal(5), "EA") == (Decimal(5), "H87")
    assert amount_of(Decimal(5), "QQ") == (Decimal(5), "QQ")
    assert known("XDR")
    assert not known("QQ")
