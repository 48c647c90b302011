"""Many rows in one statement: both databases keep exactly what they were given."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from registry.storage.bulk import Bulk, Insert, kind_of

_TABLE = Table(
    "bulk_thing",
    MetaData(),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("small", SmallInteger),
    Column("short", String(16)),
    Column("long", Text),
    Column("raw", LargeBinary),
)
_INSERT = Insert(_TABLE)
_RENAME = Bulk(
    "UPDATE bulk_thing SET long = ? WHERE number = ? AND short = ?",
    "WITH given (long, number) AS (SELECT * FROM unnest(%s::text[], %s::bigint[]))"
    " UPDATE bulk_thing AS kept SET long = given.long FROM given WHERE kept.number = given.number AND short = %s",
    ["text", "bigint"],
)
#: PostgreSQL keeps no NUL in a text, whichever way it comes.
_TEXTS = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('\\"{},% NULL\n')
)
_ROWS = st.lists(
    st.tuples(st.none() | st.integers(-(1 << 15), (1 << 15) - 1), _TEXTS, st.none() | st.binary(max_size=40)),
    max_size=6,
)


def _row(number, small=None, short=None, long=None, raw=None):
    return {"number": number, "small": small, "short": short, "long": long, "raw": raw}


@pytest.fixture
def things(database):
    with database.write() as connection:
        _TABLE.create(connection)
    yield database
    with database.write() as connection:
        _TABLE.drop(connection)


def _all(database):
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(_TABLE).order_by(_TABLE.c.number))]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_ROWS)
def test_rows_come_back_as_they_were_given(things, rows):
    with things.write() as connection:
        connection.execute(_TABLE.delete())
        _INSERT.run(
            connection,
            [_row(n, small, None, text, raw) for n, (small, text, raw) in enumerate(rows)],
        )
    assert _all(things) == [(n, small, None, text, raw) for n, (small, text, raw) in enumerate(rows)]


def test_values_that_are_the_same_for_all_stand_behind_the_row(things):
    with things.write() as connection:
        _INSERT.run(connection, [_row(n, short="a" if n < 2 else "b", long="old") for n in range(3)])
        _RENAME.run(connection, [("new", n) for n in range(3)], "a")
        _RENAME.run(connection, [], "a")
    assert [row[3] for row in _all(things)] == ["new", "new", "old"]


def test_a_number_given_twice_leaves_nothing(things):
    with pytest.raises(IntegrityError), things.write() as connection:
        _INSERT.run(connection, [_row(1), _row(2), _row(1)])
    assert _all(things) == []


def test_what_is_too_long_or_too_large_is_refused_and_not_cut(things):
    if things.is_sqlite:
        return  # SQLite has no such limits, by whatever statement
    for row in (_row(1, short="x" * 17), _row(1, small=1 << 15)):
        with pytest.raises(DBAPIError), things.write() as connection:
            _INSERT.run(connection, [row])
    assert _all(things) == []


def test_what_has_no_kind_is_refused_at_once():
    with pytest.raises(TypeError):
        kind_of(Column("at", DateTime))
