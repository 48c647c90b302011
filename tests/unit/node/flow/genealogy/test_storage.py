import random

import pytest

from node.flow.books.storage import open_book
from node.flow.genealogy.edges import Interval
from node.flow.genealogy.graph import Direction, shares
from node.flow.genealogy.storage.reading import PedigreeReader
from tests.support.flow import an_event, declared, lot, made, micros, moved, party, ran, thing
from tests.support.flow_books import FlowBook

UP, DOWN = Direction.UPSTREAM, Direction.DOWNSTREAM


@pytest.fixture
def book(database):
    return FlowBook(database)


def reading(book, read):
    with book.database.read() as connection:
        return read(PedigreeReader(connection, open_book(connection, book.owner.key)))


def traced(book, name, direction=UP, **how):
    return reading(book, lambda one: one.trace(lot(name), direction, **{"max_nodes": 10_000, **how}))


def lots(graph):
    return {node.name.rpartition("/")[2]: node.depth for node in graph.nodes if not node.run}


def the_story(book):
    book.take(
        ran({"A": 3, "B": 1}, {"C": 4}, run="urn:run:1", hours=1),
        ran({"C": 2, "D": 2}, {"E": 4}, run="urn:run:2", hours=2),
    )


def test_what_a_lot_was_made_of_and_what_became_of_it(book):
    the_story(book)
    up = traced(book, "E")
    assert lots(up) == {"E": 0, "C": 1, "D": 1, "A": 2, "B": 2}
    assert (up.truncated, up.frontier, len(up.links)) == (False, (), 6)
    assert lots(traced(book, "A", DOWN)) == {"A": 0, "C": 1, "E": 2}
    assert lots(traced(book, "nobody")) == {"nobody": 0}
    assert str(shares(up.links, lot("A"))[lot("E")]) == "3/8"


def test_a_limit_of_depth_leaves_a_frontier(book):
    the_story(book)
    one = traced(book, "E", depth=1)
    assert (lots(one), one.truncated, one.frontier) == ({"E": 0, "C": 1, "D": 1}, True, (lot("C"),))
    both = traced(book, "E", depth=2)
    assert (both.truncated, both) == (False, traced(book, "E"))


def test_a_cap_on_nodes_keeps_the_nearest_and_leaves_a_frontier(book):
    the_story(book)
    some = traced(book, "E", max_nodes=4)
    assert (lots(some), some.truncated) == ({"E": 0, "C": 1, "D": 1}, True)
    assert some.frontier == (lot("C"),)


def test_events_that_are_void_or_later_drop_out(book):
    the_story(book)
    assert lots(traced(book, "E", as_of=micros(1))) == {"E": 0}
    book.take(declared(ran({"A": 3, "B": 1}, {"C": 4}, run="urn:run:1", hours=1)))
    assert lots(traced(book, "E")) == {"E": 0, "C": 1, "D": 1}


def test_layers_that_are_fully_linked_have_few_nodes_and_no_end_of_paths(book):
    layers = 12
    book.take(*[
        ran({f"L{n}_{i}": 1 for i in range(3)}, {f"L{n + 1}_{i}": 1 for i in range(3)}, run=f"urn:r:{n}", hours=n)
        for n in range(layers)
    ])  # fmt: skip
    assert len(lots(traced(book, f"L{layers}_0"))) == 1 + 3 * layers


def test_a_ring_of_lots_ends(book):
    book.take(ran({"A": 1}, {"B": 1}, run="urn:run:1"), ran({"B": 1}, {"A": 1}, run="urn:run:2", hours=1))
    assert lots(traced(book, "A")) == {"A": 0, "B": 1}


def test_both_ways_of_walking_give_the_same_answer_on_random_graphs(book):
    rnd = random.Random(4)
    names = [f"n{n}" for n in range(60)]
    book.take(*[
        ran(
            dict.fromkeys(rnd.sample(names[:n], min(n, 3)), 1), {names[n]: 1, names[n] + "x": 1},
            run=f"urn:r:{n}", hours=n,
        )
        for n in range(3, 60)
    ])  # fmt: skip
    for start in ("n59", "n40", "n7"):
        whole = traced(book, start)
        assert whole == traced(book, start, depth=100)
        for depth in (1, 2, 5):
            near = {name: d for name, d in lots(whole).items() if d <= depth}
            assert lots(traced(book, start, depth=depth)) == near


def loaded(action, child, hours):
    children = {"childEPCs": [thing(child)]} if child else {}
    return an_event("AggregationEvent", hours=hours, action=action, parentID=thing("T7"), **children)


def test_where_something_was_and_what_was_in_something(book):
    out = loaded("DELETE", None, 5)
    book.take(out, loaded("ADD", "D2", 2), loaded("ADD", "D1", 1))
    assert reading(book, lambda one: one.contents(thing("T7"))) == [
        Interval(thing("D1"), thing("T7"), micros(1), micros(5)),
        Interval(thing("D2"), thing("T7"), micros(2), micros(5)),
    ]
    assert [one.end for one in reading(book, lambda one: one.contained(thing("D1")))] == [micros(5)]
    book.take(declared(out))
    assert [one.end for one in reading(book, lambda one: one.contained(thing("D1")))] == [None]
    assert reading(book, lambda one: one.contained(thing("D9"))) == []


def test_whom_a_lot_went_to_and_came_from(book):
    to = [{"type": "possessing_party", "destination": party("88.2")}]
    book.take(
        made("A", 10),
        moved("shipping", "A", 4, hours=2, destinationList=to),
        moved("receiving", "A", 3, hours=3),
    )
    found = reading(book, lambda one: one.custody([lot("A")]))
    assert [(custody.outward, custody.partner, custody.qty) for _, custody in found] == [
        (True, party("88.2"), 4),
        (False, "", 3),
    ]
