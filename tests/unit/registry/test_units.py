from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.units import UNITS, Fault, Quantity, canonical_unit, parse_quantity, same_unit


def test_a_quantity_is_a_number_a_space_and_a_unit():
    assert parse_quantity("1.6 MPa") == Quantity(Decimal("1.6"), "MPa")
    assert str(parse_quantity("-18 ℃")) == "-18 °C"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1.6", Fault.MISSING),
        ("1.6 ", Fault.MISSING),
        ("1.6MPa", Fault.SPACE),
        (" 1.6 MPa", Fault.SPACE),
        ("1.6 mpa", Fault.UNIT),
        ("20 吨", Fault.UNIT),
        ("1.6  MPa", Fault.UNIT),
        ("1.6 MPa\n", Fault.UNIT),
        ("1,6 MPa", Fault.NUMBER),
        ("1e3 t", Fault.NUMBER),
        ("+5 t", Fault.NUMBER),
        ("05 t", Fault.NUMBER),
        (".5 t", Fault.NUMBER),
        ("5. t", Fault.NUMBER),
        ("٥ t", Fault.NUMBER),
        ("NaN t", Fault.NUMBER),
        ("MPa", Fault.NUMBER),
        ("", Fault.NUMBER),
        ("9" * 40 + " t", Fault.NUMBER),
    ],
)
def test_what_is_no_quantity_is_told_by_its_fault(text, fault):
    assert parse_quantity(text) is fault


def test_spellings_in_use_count_as_the_same_unit():
    assert same_unit("℃", "°C")
    assert same_unit("m³", "m3")
    assert not same_unit("kPa", "MPa")
    assert not same_unit("furlong", "furlong")
    assert canonical_unit("furlong") is None


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9),
    st.sampled_from(sorted(UNITS)),
)
def test_every_plain_decimal_with_a_known_unit_is_read_exactly(number, unit):
    assert parse_quantity(f"{number:f} {unit}") == Quantity(number, unit)


@given(st.text(max_size=40))
def test_any_text_is_either_a_quantity_or_a_fault(text):
    parsed = parse_quantity(text)
    assert isinstance(parsed, Quantity | Fault)
    if isinstance(parsed, Quantity):
        assert parsed.unit in UNITS
