"""What must be quick at a million records goes by an index, on both databases: read from the databases' own plans."""

import pytest

from registry.identifier import Identifier
from registry.record import Draft
from registry.value import Value
from tests.support.plans import plans
from tests.support.registry import HOME, a_registry, someone

WHO = someone()


@pytest.fixture
def registry(database):
    made = a_registry(database)
    for first in range(0, 3_000, 1_000):
        made.register_many(WHO, [a_draft(n) for n in range(first, first + 1_000)])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if database.is_sqlite else "VACUUM ANALYZE")
    return made


def a_draft(number):
    values = (
        Value(1, "URL", b"https://e.example/%d" % number),
        Value(2, "NOTE", b"%05d" % (number * 7 % 3_000)),
    )
    return Draft(identifier=f"88.107.1001/N{number:05}", values=values)


def scans(database, made):
    """The plans that read a table from end to end."""
    word = "SCAN" if database.is_sqlite else "Seq Scan"
    # empty partitions are read whole because there is nothing in them
    rows = [line for plan in made.values() for line in plan.splitlines() if word in line]
    return [line for line in rows if database.is_sqlite or "rows=1 " not in line]


@pytest.mark.parametrize(
    "work",
    [
        lambda r: r.records([Identifier.parse("88.107.1001/N00007")]),
        lambda r: r.records([Identifier.parse(f"88.107.1001/N{n:05}") for n in range(20)]),
        lambda r: r.list(WHO, HOME, after="N01500", limit=20),
        lambda r: r.search(WHO, {"NOTE": "0012*"}, prefix=HOME),
        lambda r: r.search(WHO, {"URL": "https://e.example/17"}),
        lambda r: r.search(
            WHO, {"NOTE": "*123", "URL": "https://e.example/29*"}, prefix=HOME, after="88.107.1001/N1"
        ),
        lambda r: r.history(WHO, Identifier.parse("88.107.1001/N00007")),
        lambda r: r.changes(2_990, 10),
    ],
    ids=[
        "one",
        "many",
        "list",
        "search by beginning",
        "search for one",
        "search by two",
        "history",
        "changes",
    ],
)
def test_it_goes_by_an_index(database, registry, work):
    made = plans(database, lambda: work(registry))
    assert made
    assert scans(database, made) == [], made


def test_counting_reads_no_record(database, registry):
    registry.delete(WHO, "88.107.1001/N00001", reason="x")
    made = plans(database, lambda: registry.count(WHO, HOME))
    if database.is_sqlite:
        assert all("COVERING INDEX" in plan for plan in made.values()), made
    else:
        # all rows of a prefix that fills a small table are read as they come; the deleted ones never are
        (deleted,) = (plan for statement, plan in made.items() if "status" in statement)
        assert "Seq Scan" not in deleted
    assert registry.count(WHO, HOME) == 2_999
