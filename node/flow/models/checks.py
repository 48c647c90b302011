"""Inputs are looked at before they are used: a wrong one is refused with its field, never a silent number."""

import math
from collections.abc import Iterable, Sized
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidValueError

__all__ = ["Floats", "distinct", "instant", "name", "number", "numbers", "place", "some", "whole"]

Floats = NDArray[np.float64]


def number(
    value: Any,
    field: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> float:
    """Return a finite number within its bounds.

    Args:
        value: what was given; text and truth values are no numbers.
        field: where it stands, for the refusal.
        least: smallest number allowed.
        above: the number must be greater than this one.
        most: greatest number allowed.

    Raises:
        InvalidValueError: it is none, or out of bounds.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | Decimal | np.number):
        raise InvalidValueError("node.flow_models.not_number", field=field, value=repr(value)[:60])
    try:
        known = float(value)
    except (OverflowError, TypeError, ValueError):
        known = math.nan
    if not math.isfinite(known):
        raise InvalidValueError("node.flow_models.not_number", field=field, value=repr(value)[:60])
    if least is not None and known < least:
        raise InvalidValueError("node.flow_models.too_small", field=field, value=known, limit=least)
    if above is not None and known <= above:
        raise InvalidValueError("node.flow_models.not_above", field=field, value=known, limit=above)
    if most is not None and known > most:
        raise InvalidValueError("node.flow_models.too_large", field=field, value=known, limit=most)
    return known


def whole(value: Any, field: str, *, least: int = 0) -> int:
    """Return a whole number of at least `least`.

    Raises:
        InvalidValueError: it is none.
    """
    known = number(value, field, least=least)
    if known != int(known):
        raise InvalidValueError("node.flow_models.not_whole", field=field, value=known)
    return int(known)


def numbers(
    values: Iterable[Any], field: str, *, least: float | None = None, above: float | None = None
) -> Floats:
    """Return finite numbers as an array; a refusal names the place, `field[3]`.

    Raises:
        InvalidValueError: one of them is not usable.
    """
    return np.array(
        [number(one, f"{field}[{i}]", least=least, above=above) for i, one in enumerate(values)],
        dtype=np.float64,
    )


def instant(value: Any, field: str) -> datetime:
    """Return a point in time with its zone.

    Raises:
        InvalidValueError: it is none, or has no zone.
    """
    if not isinstance(value, datetime) or value.tzinfo is None or value.utcoffset() is None:
        raise InvalidValueError("node.flow_models.not_instant", field=field, value=str(value)[:60])
    return value


def name(value: Any, field: str) -> str:
    """Return a text that is not empty.

    Raises:
        InvalidValueError: it is none.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError("node.flow_models.not_name", field=field, value=repr(value)[:60])
    return value


def place(lat: Any, lon: Any, field: str) -> tuple[float, float]:
    """Return a latitude and longitude in degrees.

    Raises:
        InvalidValueError: they are none.
    """
    return (
        number(lat, f"{field}.lat", least=-90.0, most=90.0),
        number(lon, f"{field}.lon", least=-180.0, most=180.0),
    )


def some(values: Sized, field: str, least: int = 1) -> None:
    """Require at least so many.

    Raises:
        InvalidValueError: there are fewer.
    """
    if len(values) < least:
        raise InvalidValueError("node.flow_models.too_few", field=field, value=len(values), limit=least)


def distinct(values: Iterable[str], field: str) -> None:
    """Require that no name comes twice.

    Raises:
        InvalidValueError: one does.
    """
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise InvalidValueError("node.flow_models.twice", field=field, value=value)
        seen.add(value)
