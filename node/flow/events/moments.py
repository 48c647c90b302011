"""Instants written as RFC 3339: always with a zone, to the digits given.

A clock time without a zone is no instant, and a leap second (`:60`) has no place on the time scale that hashes and
ledgers compute with: both are refused.
"""

import re
from datetime import UTC, datetime, timedelta

__all__ = ["instant", "is_instant", "is_offset", "milliseconds"]

_WRITTEN = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,12})?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_OFFSET = re.compile(r"[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00)", re.ASCII)
_MILLISECOND = timedelta(milliseconds=1)
#: Behind it there is nothing to round up to.
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)


def is_offset(written: str) -> bool:
    """Whether it is an offset as EPCIS 2.0 writes it: `+08:00`, from -14:00 to +14:00."""
    return _OFFSET.fullmatch(written) is not None


def is_instant(written: str) -> bool:
    """Whether it is an RFC 3339 instant that `instant` can read."""
    try:
        instant(written)
    except ValueError:
        return False
    return True


def instant(written: str) -> datetime:
    """Return the instant in UTC; what stands behind the microsecond is cut, never rounded up.

    Raises:
        ValueError: it is no RFC 3339 instant with a zone, or before year 1 or past year 9999 in UTC.
    """
    if _WRITTEN.fullmatch(written) is None:
        raise ValueError(written)
    try:
        return datetime.fromisoformat(written.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError(written) from None


def milliseconds(written: str) -> str:
    """Return the instant as the event hash writes it: UTC, three decimals, `Z`; a fourth decimal of 5 goes up.

    Raises:
        ValueError: it is no RFC 3339 instant with a zone.
    """
    moment = instant(written)
    point = written.find(".")
    decimals = written[point + 1 : point + 5] if point > 0 else ""
    if decimals.isdecimal() and decimals[3:] >= "5" and moment < _LAST:
        moment += _MILLISECOND
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
