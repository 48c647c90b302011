from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from node.flow.genealogy.edges import ALL, Interval, Mark, edges, intervals
from tests.support.flow import an_event, lot, moved, party, place, ran, some, thing, waybill


def test_a_run_has_an_edge_for_each_input_and_each_output():
    found = edges(ran({"A": 3, "B": 1}, {"C": 4}, run="urn:run:1")).edges
    assert [(edge.dst, edge.src, edge.into_run, edge.qty) for edge in found] == [
        ("urn:run:1", lot("A"), True, 3),
        ("urn:run:1", lot("B"), True, 1),
        (lot("C"), "urn:run:1", False, 4),
    ]


def test_a_run_without_an_id_is_called_by_its_event():
    event = ran({"A": 3}, {"C": 3}, eventID="urn:e:1")
    assert edges(event).edges[0].dst == "urn:e:1"


def test_a_lot_is_never_its_own_ingredient():
    found = edges(ran({"A": 3}, {"A": 2, "B": 1}, run="urn:run:1"))
    assert found.loops == (lot("A"),)
    assert [edge.dst for edge in found.edges] == ["urn:run:1", lot("B")]


def test_the_same_lot_twice_is_one_edge_with_the_sum_where_there_is_one():
    kilograms = an_event(
        "TransformationEvent",
        inputQuantityList=[some("A", 1), some("A", 2)],
        outputQuantityList=[some("B", 3)],
    )
    assert edges(kilograms).edges[0].qty == 3
    mixed = an_event(
        "TransformationEvent", inputQuantityList=[some("A", 1), some("A", 2, "LTR")],
        outputQuantityList=[some("B", 3)],
    )  # fmt: skip
    assert (edges(mixed).edges[0].qty, edges(mixed).edges[0].uom) == (None, None)


def loaded(action, *, hours=0, children=("D1",), parent="T7", kind="AggregationEvent"):
    members = {"childEPCs": [thing(child) for child in children]} if children else {}
    return an_event(kind, hours=hours, action=action, parentID=thing(parent), **members)


def test_loading_and_unloading_are_marks_and_observing_is_none():
    assert edges(loaded("ADD")).marks == (Mark(thing("D1"), thing("T7"), True, None, None),)
    assert edges(loaded("DELETE")).marks == (Mark(thing("D1"), thing("T7"), False, None, None),)
    assert edges(loaded("DELETE", children=())).marks == (Mark(ALL, thing("T7"), False, None, None),)
    assert edges(loaded("OBSERVE")).marks == ()
    placed = an_event("AssociationEvent", action="ADD", parentID=place("a"), childEPCs=[thing("S1")])
    assert edges(placed).marks[0].parent == place("a")


def test_a_shipment_is_custody_of_whom_it_goes_to_and_no_edge():
    to = [{"type": "possessing_party", "destination": party("88.2")}]
    found = edges(moved("shipping", "A", 10, destinationList=to))
    assert found.edges == ()
    (custody,) = found.custody
    assert custody == (lot("A"), True, party("88.2"), waybill("W1"), Decimal(10), "KGM")
    (back,) = edges(moved("receiving", "A", 9)).custody
    assert (back.outward, back.partner) == (False, "")


def test_containment_holds_from_the_adding_until_just_before_the_taking_out():
    first, second = Mark("d", "t", True, None, None), Mark("d", "t", False, None, None)
    assert intervals([(9, "b", second), (5, "a", first)]) == [Interval("d", "t", 5, 9)]
    assert intervals([(5, "a", first)]) == [Interval("d", "t", 5, None)]
    assert intervals([(9, "b", second)]) == []


def test_emptying_a_parent_takes_out_all_that_is_in_it_then():
    marks = [
        (1, "a", Mark("d", "t", True, None, None)),
        (2, "b", Mark("e", "t", True, None, None)),
        (2, "c", Mark("e", "u", True, None, None)),
        (3, "d", Mark(ALL, "t", False, None, None)),
        (4, "e", Mark("f", "t", True, None, None)),
    ]
    assert intervals(marks) == [
        Interval("d", "t", 1, 3),
        Interval("e", "t", 2, 3),
        Interval("e", "u", 2, None),
        Interval("f", "t", 4, None),
    ]


marks = st.lists(
    st.builds(
        lambda when, child, parent, added: (when, f"{when}{child}{parent}{added}", Mark(child, parent, added, None, None)),
        st.integers(0, 9), st.sampled_from("de"), st.sampled_from("tu"), st.booleans(),
    ),
    max_size=12,
)  # fmt: skip


@given(marks, st.randoms())
def test_the_order_in_which_marks_become_known_does_not_matter(some_marks, random):
    shuffled = list(some_marks)
    random.shuffle(shuffled)
    found = intervals(some_marks)
    assert intervals(shuffled) == found
    assert all(one.end is None or one.start < one.end for one in found)
