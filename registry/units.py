"""Quantities with units: `<number> <unit>`, for example `1.6 MPa`.

The number is a plain decimal (no sign but `-`, no thousands separator, no exponent) and is read exactly. A few units
have more than one spelling in use; they count as the same (`℃` and `°C`, `m³` and `m3`). Nothing is converted: a
template names the units it takes, because a figure that changed on its way is worse than one that was refused.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

__all__ = ["UNITS", "Fault", "Quantity", "canonical_unit", "parse_quantity", "same_unit"]

#: Units a plant's instruments and papers use, in the spelling the templates use.
UNITS = frozenset({
    "Pa", "kPa", "MPa", "bar", "°C", "K", "m", "mm", "cm", "km", "m2", "m3", "L", "mL", "t", "kg", "g", "mg",
    "s", "min", "h", "d", "W", "kW", "MW", "V", "mV", "A", "mA", "Hz", "m3/h", "m3/d", "L/min", "L/h", "kg/h",
    "t/h", "mg/m3", "g/m3", "kg/m3", "g/L", "%", "%LEL", "%VOL", "%RH", "ppm", "ppb", "m/s", "mm/s", "r/min",
    "°", "pH", "N", "kN", "N·m", "J", "kJ", "MJ", "lx", "dB", "1",
})  # fmt: skip

_VARIANTS = {
    "℃": "°C", "m³": "m3", "㎥": "m3", "m²": "m2", "㎡": "m2", "l": "L", "ml": "mL", "Nm3/h": "m3/h",
    "m³/h": "m3/h", "m³/d": "m3/d", "mg/m³": "mg/m3", "g/m³": "g/m3", "kg/m³": "kg/m3", "rpm": "r/min",
    "％": "%", "％LEL": "%LEL", "％VOL": "%VOL", "％RH": "%RH", "PH": "pH",
}  # fmt: skip

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,12})?")
_LOOSE = re.compile(r"\s*([-+]?[0-9][0-9.,]*(?:[eE][-+]?[0-9]+)?)\s*(.*)", re.DOTALL)


class Fault(Enum):
    """What is wrong with a text that should be a quantity; the value names the catalogue text."""

    NUMBER = "quantity_number"
    MISSING = "unit_missing"
    SPACE = "quantity_space"
    UNIT = "unit_wrong"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit, the unit in its canonical spelling."""

    number: Decimal
    unit: str

    def __str__(self) -> str:
        return f"{self.number} {self.unit}"


def canonical_unit(spelling: str) -> str | None:
    """Return the canonical spelling of a unit, or None when it is unknown."""
    unit = _VARIANTS.get(spelling, spelling)
    return unit if unit in UNITS else None


def same_unit(one: str, other: str) -> bool:
    """Say whether two spellings mean the same known unit."""
    unit = canonical_unit(one)
    return unit is not None and unit == canonical_unit(other)


def parse_quantity(text: str) -> Quantity | Fault:
    """Read `<number> <unit>`; return the fault, not raise it, so that a validator can ask cheaply."""
    number, space, unit = text.partition(" ")
    if space and _NUMBER.fullmatch(number):
        known = canonical_unit(unit)
        if not unit.strip():
            return Fault.MISSING
        return Fault.UNIT if known is None else Quantity(Decimal(number), known)
    loose = _LOOSE.fullmatch(text)
    if loose is None or not _NUMBER.fullmatch(loose[1]):
        return Fault.NUMBER
    if not loose[2]:
        return Fault.MISSING
    return Fault.SPACE if canonical_unit(loose[2].strip()) else Fault.UNIT
