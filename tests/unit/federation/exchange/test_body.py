import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exchange.body import NAMES, Outside, first_outside, identifiers, places
from registry.identifier import Prefix
from registry.trust.rights import Permission, Right, full_rights

HELD = full_rights(Prefix.parse("88.12"))

LEAVES = st.sampled_from(["88.12/A", "88.123/A", "88.12.5/B", "0.NA/88.12", "x", "", 5, None, True, 1.5])
BODIES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*NAMES, "name", "refers_to", "entries"]), inner, max_size=4)
    ),
    max_leaves=20,
)


def plainly(body, *, named=False):
    """The rule, said once more and recursively."""
    if isinstance(body, dict):
        return [text for name, value in body.items() for text in plainly(value, named=name in NAMES)]
    if isinstance(body, list):
        return [text for value in body for text in plainly(value, named=named)]
    return [body] if named and isinstance(body, str) else []


@given(BODIES)
def test_the_texts_under_the_five_names_are_found_at_any_depth(body):
    assert sorted(identifiers(body)) == sorted(plainly(body))
    assert [place.value for place in places(body)] == plainly(body)


@given(BODIES)
def test_a_body_passes_exactly_when_each_of_its_identifiers_does(body):
    found = first_outside(body, HELD, "register")
    bad = [text for text in plainly(body) if first_outside({"identifier": text}, HELD, "register")]
    assert (found.value if found else None) == (bad[0] if bad else None)


@pytest.mark.parametrize(
    "text",
    [
        "88.12/A",
        "88.12/a/b",
        "88.12.5/A",
        "0.NA/88.12",
        "88.12",
        "88.12.5",
        "0.na/88.12.5",
        "88.12/硫酸",
        "88.12/%2F",
    ],
)
def test_what_lies_below_the_prefix_is_inside(text):
    assert first_outside({"identifier": text}, HELD, "register") is None


@pytest.mark.parametrize(
    "text",
    ["88.123/A", "88.1/A", "88.10", "88", "0.NA/88", "0.NA/88.123", "88.12", "88.12%2FA", "88.12./A", "88.12.", "８８.12/A",
     ".88.12/A", "88..12/A", " 88.12/A", "", "/", "88.12/", "0.NA/0.NA", "88.12/\x00", "88.12/" + "x" * 300, "0.NA/88.12/A"],
)  # fmt: skip
def test_fault_03_what_only_looks_like_the_prefix_is_outside(text):
    held = full_rights(Prefix.parse("88.12")) if text != "88.12" else full_rights(Prefix.parse("88.1"))
    assert first_outside({"entries": [{"identifier": text}]}, held, "register") == Outside(
        "body.entries[0].identifier", text
    )


@pytest.mark.parametrize("place", [0, 500, 999])
def test_fault_03_one_bad_identifier_among_a_thousand_is_found_and_named(place):
    entries = [{"identifier": f"88.12.{number}/B"} for number in range(1000)]
    assert first_outside({"entries": entries}, HELD, "flow") is None
    entries[place]["identifier"] = f"88.123.{place}/B"
    assert first_outside({"entries": entries}, HELD, "flow") == Outside(
        f"body.entries[{place}].identifier", f"88.123.{place}/B"
    )


def test_an_operation_that_was_not_granted_covers_nothing():
    held = (Right(Prefix.parse("88.12"), Permission.HANDLES_UNDER, frozenset({"alarm"})),)
    assert first_outside({"identifier": "88.12/A"}, held, "alarm") is None
    assert first_outside({"identifier": "88.12/A"}, held, "flow") is not None
    assert first_outside({"prefix": "88.12"}, held, "alarm") is not None
    assert first_outside({"identifier": "88.12/A"}, (), "alarm") is not None


def test_control_needs_no_operation_but_keeps_to_the_names():
    held = (Right(Prefix.parse("88.12"), Permission.HANDLES_UNDER, frozenset({"alarm"})),)
    assert first_outside({"identifier": "88.12/A"}, held, None) is None
    assert first_outside({"identifier": "88.13/A"}, held, None) is not None


def test_what_a_handler_found_is_held_to_the_same_rule():
    assert first_outside(None, HELD, "register", ["88.12/A"]) is None
    assert first_outside(None, HELD, "register", ["88.12/A", "88.13/A"]) == Outside("body", "88.13/A")


@pytest.mark.parametrize(
    "body", [None, "88.99/A", ["88.99/A"], 5, {"refers_to": "88.99/A", "counterparty": ["88.98/B"]}]
)
def test_what_points_at_others_objects_is_free(body):
    assert first_outside(body, HELD, "register") is None
