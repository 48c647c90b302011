from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.flow.events.moments import instant, is_instant, is_offset, milliseconds


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001 — the zone comes below
    st.integers(-14 * 60, 14 * 60),
)
def test_an_instant_is_the_same_in_every_zone(clock, minutes):
    moment = clock.replace(tzinfo=UTC)
    there = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert instant(there.isoformat()) == moment
    assert instant(there.isoformat()).tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("2026-03-02T08:15:30.1236+08:00", "2026-03-02T00:15:30.124Z"),
        ("2026-03-02T08:15:30Z", "2026-03-02T08:15:30.000Z"),
        ("2026-03-02T08:15:30.12349999Z", "2026-03-02T08:15:30.123Z"),
        ("2026-03-02T08:15:30.1225Z", "2026-03-02T08:15:30.123Z"),
        ("2026-12-31T23:59:59.9995Z", "2027-01-01T00:00:00.000Z"),
        ("2026-03-02T08:15:30.1+08:00", "2026-03-02T00:15:30.100Z"),
        ("2026-03-02T08:15:30.12+09:00", "2026-03-01T23:15:30.120Z"),
        ("2026-03-02T08:15:30.123+08:00", "2026-03-02T00:15:30.123Z"),
        ("2026-03-02t08:15:30z", "2026-03-02T08:15:30.000Z"),
    ],
)
def test_milliseconds_round_half_up(written, told):
    assert milliseconds(written) == told


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-02T08:15:30",
        "2026-03-02 08:15:30Z",
        "2026-03-02T08:15Z",
        "2026-03-02T24:00:00Z",
        "2026-03-02T23:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-03-02T08:15:30+8:00",
        "2026-03-02T08:15:30.Z",
        "0001-01-01T00:00:00+08:00",
        "9999-12-31T23:59:59-08:00",
        "٢٠٢٦-03-02T08:15:30Z",
        "2026-03-02T08:15:30Z\n",
        "",
    ],
)
def test_what_is_no_instant_with_a_zone_is_refused(written):
    assert not is_instant(written)
    for reader in (instant, milliseconds):
        with pytest.raises(ValueError):
            reader(written)


def test_the_last_millisecond_is_not_rounded_out_of_the_calendar():
    assert milliseconds("9999-12-31T23:59:59.9999Z") == "9999-12-31T23:59:59.999Z"


@pytest.mark.parametrize(
    ("written", "fits"),
    [("+08:00", True), ("-14:00", True), ("+14:01", False), ("Z", False), ("+8:00", False)],
)
def test_an_offset_goes_to_fourteen_hours(written, fits):
    assert is_offset(written) is fits
