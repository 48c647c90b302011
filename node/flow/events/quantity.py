"""Quantities and their units: codes of UN/ECE Recommendation 20, exact decimal conversion.

Source: UN/ECE Recommendation No. 20, revision 17 (codes); International System of Units, and the international pound
and gallon by definition (factors). A quantity without unit is a count.

A volume becomes a mass only with a recorded density and the temperature it holds at.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact
from enum import Enum

from registry.errors import InvalidValueError

__all__ = ["UNITS", "Density", "Dimension", "Unit", "convert", "mass", "unit", "volume"]


class Dimension(Enum):
    """What a unit measures; the value is the base unit everything is converted to."""

    MASS = "KGM"
    VOLUME = "MTQ"
    COUNT = "H87"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: so many of the base unit, exactly."""

    code: str
    dimension: Dimension
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Density:
    """A density in kg per cubic metre, and the temperature in °C that it holds at; both are always given."""

    kg_per_m3: Decimal
    celsius: Decimal

    def __post_init__(self) -> None:
        if not 0 < self.kg_per_m3 <= _DENSEST:
            raise InvalidValueError("node.flow_events.density", value=self.kg_per_m3)


#: Osmium has 22,590 kg per cubic metre.
_DENSEST = 30_000
#: Wide enough that a number as it may be written, times a factor, is exact; what is not exact is an error.
_EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN, traps=[Inexact])
#: What a division that does not come out is rounded to.
_ROUNDED = Context(prec=34, rounding=ROUND_HALF_EVEN)

_FACTORS = {
    Dimension.MASS: {
        "KGM": "1",
        "TNE": "1000",
        "GRM": "0.001",
        "MGM": "0.000001",
        "MC": "0.000000001",
        "HGM": "0.1",
        "CGM": "0.00001",
        "DG": "0.0001",
        "DJ": "0.01",
        "2U": "1000",
        "DTN": "100",
        "KTN": "1000000",
        "LBR": "0.45359237",
        "ONZ": "0.028349523125",
        "STN": "907.18474",
        "LTN": "1016.0469088",
    },
    Dimension.VOLUME: {
        "MTQ": "1",
        "LTR": "0.001",
        "DMQ": "0.001",
        "MLT": "0.000001",
        "CMQ": "0.000001",
        "MMQ": "0.000000001",
        "4G": "0.000000001",
        "CLT": "0.00001",
        "DLT": "0.0001",
        "A44": "0.01",
        "HLT": "0.1",
        "K6": "1",
        "MAL": "1000",
        "GLL": "0.003785411784",
        "GLI": "0.00454609",
        "BLL": "0.158987294928",
    },
    Dimension.COUNT: {"H87": "1", "C62": "1", "EA": "1"},
}
UNITS = {
    code: Unit(code, dimension, Decimal(factor))
    for dimension, factors in _FACTORS.items()
    for code, factor in factors.items()
}


def unit(code: str | None) -> Unit:
    """Return the unit of a code; no code means a count.

    Raises:
        InvalidValueError: the code is not known here.
    """
    found = UNITS.get("H87" if code is None else code)
    if found is None:
        raise InvalidValueError("node.flow_events.unit", value=code, right=", ".join(UNITS))
    return found


def convert(quantity: Decimal, source: str | None, target: str | None) -> Decimal:
    """Return a quantity in another unit of the same dimension; exact where decimals can say it, else to 34 digits.

    Raises:
        InvalidValueError: a unit is unknown, or the two measure different things.
    """
    given, asked = unit(source), unit(target)
    if given.dimension is not asked.dimension:
        raise InvalidValueError("node.flow_events.unit_dimension", value=given.code, right=asked.code)
    if given.factor == asked.factor:
        return quantity
    return _divide(_EXACT.multiply(quantity, given.factor), asked.factor)


def mass(quantity: Decimal, code: str | None, density: Density | None = None) -> Decimal:
    """Return a quantity in kilograms; a volume only with its density.

    Raises:
        InvalidValueError: the unit is unknown, a count, or a volume without density.
    """
    given = unit(code)
    if given.dimension is Dimension.VOLUME and density is not None:
        return _EXACT.multiply(convert(quantity, code, "MTQ"), density.kg_per_m3)
    return convert(quantity, code, "KGM")


def volume(quantity: Decimal, code: str | None, density: Density | None = None) -> Decimal:
    """Return a quantity in cubic metres; a mass only with its density.

    Raises:
        InvalidValueError: the unit is unknown, a count, or a mass without density.
    """
    given = unit(code)
    if given.dimension is Dimension.MASS and density is not None:
        return _divide(convert(quantity, code, "KGM"), density.kg_per_m3)
    return convert(quantity, code, "MTQ")


def _divide(number: Decimal, by: Decimal) -> Decimal:
    try:
        return _EXACT.divide(number, by)
    except Inexact:
        return _ROUNDED.divide(number, by)
