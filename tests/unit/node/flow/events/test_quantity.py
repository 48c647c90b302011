from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.flow.events.quantity import UNITS, Density, Dimension, convert, mass, unit, volume
from registry.errors import InvalidValueError

BENZENE = Density(Decimal("876.5"), Decimal(20))
NUMBERS = st.decimals(0, 10**15, places=6)
MASSES = st.sampled_from(sorted(code for code, one in UNITS.items() if one.dimension is Dimension.MASS))


@pytest.mark.parametrize(
    ("quantity", "source", "target", "made"),
    [
        ("21.50", "TNE", "KGM", "21500"),
        ("1", "LBR", "GRM", "453.59237"),
        ("12345678901234567890.12345678901234", "TNE", "KGM", "12345678901234567890123.45678901234"),
        ("1500", "LTR", "MTQ", "1.5"),
        ("1", "BLL", "LTR", "158.987294928"),
        ("7", None, "H87", "7"),
        ("1", "KGM", "LBR", "2.204622621848775807229738013450270"),
    ],
)
def test_a_quantity_is_converted_exactly(quantity, source, target, made):
    assert convert(Decimal(quantity), source, target) == Decimal(made)


@given(NUMBERS, MASSES)
def test_kilograms_are_exact_and_lead_back(quantity, code):
    assert convert(convert(quantity, code, "KGM"), "KGM", code) == quantity


@given(NUMBERS, NUMBERS, MASSES)
def test_the_sum_of_masses_is_the_mass_of_the_sum(one, other, code):
    with localcontext(prec=60):
        assert mass(one, code) + mass(other, code) == mass(one + other, code)


def test_the_same_unit_keeps_the_digits():
    assert str(convert(Decimal("21.50"), "TNE", "TNE")) == "21.50"


def test_an_unknown_unit_is_refused_with_the_known_ones():
    with pytest.raises(InvalidValueError, match="KGM"):
        unit("ZZZ")


@pytest.mark.parametrize(("code", "target"), [("LTR", "KGM"), ("KGM", "MTQ"), ("H87", "KGM"), (None, "LTR")])
def test_nothing_becomes_what_it_is_not(code, target):
    with pytest.raises(InvalidValueError, match="measure different things"):
        convert(Decimal(1), code, target)


def test_a_volume_becomes_a_mass_only_with_density_and_temperature():
    assert mass(Decimal(1000), "LTR", BENZENE) == Decimal("876.5")
    assert volume(Decimal("876.5"), "KGM", BENZENE) == 1
    assert volume(Decimal(3), "LTR") == Decimal("0.003")
    with pytest.raises(InvalidValueError, match="density"):
        mass(Decimal(1), "LTR")
    with pytest.raises(InvalidValueError):
        volume(Decimal(1), "KGM")
    with pytest.raises(InvalidValueError):
        mass(Decimal(1), None, BENZENE)
    with pytest.raises(TypeError):
        Density(Decimal(1))


@pytest.mark.parametrize("density", ["0", "-1", "30001"])
def test_what_is_no_density_is_refused(density):
    with pytest.raises(InvalidValueError, match="density"):
        Density(Decimal(density), Decimal(20))
