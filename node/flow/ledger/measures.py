"""Units by UN/ECE codes (Recommendation 20 and, for packages, 21), converted exactly.

Three dimensions are added up: mass in kilograms, volume in cubic metres, pieces. A volume is never turned into a mass
without a density recorded together with its temperature. A code that is not here is carried as it is, under its own
name, and flagged; nothing is guessed.
"""

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import NamedTuple

from node.flow.events.quantity import UNITS

__all__ = ["EXACT", "PIECE", "Amount", "amount_of", "known"]

#: Sums and products are exact: no figure that a capture takes fills these digits.
EXACT = Context(prec=200, Emax=MAX_EMAX, Emin=MIN_EMIN)
PIECE = "H87"

#: Kinds of packages (Recommendation 21) stand in Recommendation 20 behind an X: each counts as itself.
_PACKAGE = re.compile(r"X[A-Z0-9]{2}")
_BASE = {code: (unit.dimension.value, unit.factor) for code, unit in UNITS.items()}


class Amount(NamedTuple):
    """A quantity in the unit in which its dimension is added up."""

    qty: Decimal
    uom: str


def known(uom: str) -> bool:
    """Say whether the unit is one that is added up."""
    return uom in _BASE or _PACKAGE.fullmatch(uom) is not None


def amount_of(qty: Decimal, uom: str) -> Amount:
    """Return the quantity in kilograms, cubic metres or pieces; an unknown unit stays what it is."""
    base = _BASE.get(uom)
    if base is None:
        return Amount(qty, uom)
    return Amount(qty if base[0] == uom else EXACT.multiply(qty, base[1]), base[0])
