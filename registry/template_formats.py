"""The formats a template may ask of a text, each with its fault told in words.

A format is a function from text to `None` (good) or a `Fault`: the name of a text in the `template` catalogue and the
facts that fill it. The JSON Schema validator only asks whether it is good; the fault is worked out again when not.

Rules: CAS numbers (check digit mod 10), unified social credit codes (GB 32100-2015, mod 31), tank containers
(ISO 6346, mod 11) by python-stdnum; dates as ISO 8601 calendar dates; web addresses are http or https with a host.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from stdnum import casrn, iso6346
from stdnum.cn import ric, uscc
from stdnum.exceptions import InvalidChecksum, ValidationError

from registry.errors import MalformedIdentifierError
from registry.identifier import Identifier
from registry.units import Fault as QuantityFault
from registry.units import canonical_unit, parse_quantity

__all__ = ["FORMATS", "Check", "Fault", "quantity_check", "resident_number_in"]

_RESIDENT_NUMBER_LENGTH = 18


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong: a text of the `template` catalogue and what fills it."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[str], Fault | None]


def check_cas(text: str) -> Fault | None:
    """Check a CAS number such as 67-64-1."""
    try:
        good: bool = casrn.validate(text) == text
    except InvalidChecksum:
        right = text[:-1] + str(casrn.calc_check_digit(casrn.compact(text)[:-1]))
        return Fault("cas_check", {"right": right})
    except ValidationError:
        return Fault("cas_form")
    return None if good else Fault("cas_form")


def check_uscc(text: str) -> Fault | None:
    """Check a unified social credit code of 18 characters."""
    try:
        good: bool = uscc.validate(text) == text
    except InvalidChecksum:
        return Fault("uscc_check", {"right": uscc.calc_check_digit(text[:-1].upper())})
    except ValidationError:
        return Fault("uscc_form")
    return None if good else Fault("uscc_form")


def check_iso6346(text: str) -> Fault | None:
    """Check the number of a tank container such as CSQU3054383."""
    try:
        good: bool = iso6346.validate(text) == text
    except InvalidChecksum:
        return Fault("iso6346_check", {"right": iso6346.calc_check_digit(text[:-1])})
    except ValidationError:
        return Fault("iso6346_form")
    return None if good else Fault("iso6346_form")


def check_date(text: str) -> Fault | None:
    """Check a calendar date such as 2026-11-22."""
    try:
        good = date.fromisoformat(text).isoformat() == text
    except ValueError:
        good = False
    return None if good else Fault("date")


def check_web_address(text: str) -> Fault | None:
    """Check an http or https address with a host, without a login inside and without white space."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        good = False
    if good and not any(c.isspace() or c < " " for c in text):
        return None
    return Fault("web_address")


def check_identifier(text: str) -> Fault | None:
    """Check an identifier such as 88.107.1001/BATCH-1; whether it is registered is not asked."""
    try:
        Identifier.parse_new(text)
    except MalformedIdentifierError:
        return Fault("identifier")
    return None


def check_unit(text: str) -> Fault | None:
    """Check a unit of measurement by itself."""
    return Fault("unit_unknown") if canonical_unit(text) is None else None


def check_quantity(text: str) -> Fault | None:
    """Check a quantity in any known unit."""
    parsed = parse_quantity(text)
    if isinstance(parsed, QuantityFault):
        return Fault("quantity_any" if parsed is not QuantityFault.UNIT else "unit_unknown_in")
    return None


def quantity_check(units: Sequence[str], *, minimum: str | None, maximum: str | None) -> Check:
    """Return the check for a quantity in one of `units`, between `minimum` and `maximum` inclusive."""
    allowed = frozenset(units)
    low = None if minimum is None else Decimal(minimum)
    high = None if maximum is None else Decimal(maximum)
    told = " / ".join(units)
    example = units[0]

    def check(text: str) -> Fault | None:
        parsed = parse_quantity(text)
        if isinstance(parsed, QuantityFault):
            return Fault(parsed.value, {"units": told, "example": example})
        if parsed.unit not in allowed:
            return Fault("unit_wrong", {"units": told, "example": example})
        if low is not None and parsed.number < low:
            return Fault("too_small", {"limit": f"{minimum} {parsed.unit}"})
        if high is not None and parsed.number > high:
            return Fault("too_large", {"limit": f"{maximum} {parsed.unit}"})
        return None

    return check


#: format name in a template → its check; quantities with a fixed unit get one of their own.
FORMATS: Mapping[str, Check] = {
    "cas": check_cas,
    "uscc": check_uscc,
    "iso6346": check_iso6346,
    "date": check_date,
    "web-address": check_web_address,
    "identifier": check_identifier,
    "unit": check_unit,
    "quantity": check_quantity,
}


def resident_number_in(text: str) -> bool:
    """Say whether a valid resident identity number (GB 11643, 18 characters) stands inside `text`."""
    return any(
        ric.is_valid(text[start : start + _RESIDENT_NUMBER_LENGTH])
        for start in range(len(text) - _RESIDENT_NUMBER_LENGTH + 1)
        if text[start : start + _RESIDENT_NUMBER_LENGTH - 1].isdigit()
    )
