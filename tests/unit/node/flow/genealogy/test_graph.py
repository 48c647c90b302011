from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from node.flow.genealogy.graph import Direction, Link, depths, shares


def a_run(number, inputs, outputs, uom="TNE"):
    run = f"run{number}"
    into = [Link(run, lot, number, True, number, Decimal(str(qty)), uom) for lot, qty in inputs.items()]
    out = [Link(lot, run, number, False, number, Decimal(str(qty)), uom) for lot, qty in outputs.items()]
    return into + out


STORY = a_run(1, {"A": 3, "B": 1}, {"C": 4}) + a_run(2, {"C": 2, "D": 2}, {"E": 4})


def test_the_share_of_a_lot_goes_through_the_runs():
    found = shares(STORY, "A")
    assert (found["C"], found["E"]) == (Fraction(3, 4), Fraction(3, 8))
    assert (found["A"], found["B"], found["D"]) == (1, 0, 0)
    assert "run1" not in found


def test_where_units_differ_or_quantities_are_missing_no_share_is_said():
    litres = [Link("run1", "A", 1, True, 1, Decimal(3), "LTR"), *a_run(1, {"B": 1}, {"C": 4})]
    assert "C" not in shares(litres, "A")
    unknown = [Link("run1", "A", 1, True, 1), *a_run(1, {"B": 1}, {"C": 4})]
    assert "C" not in shares(unknown, "A")
    alone = [Link("run1", "A", 1, True, 1), Link("C", "run1", 1, False, 1)]
    assert shares(alone, "A")["C"] == 1, "what is made of one thing is all of it, whatever its quantity"


def test_a_ring_has_no_shares_and_ends():
    ring = a_run(1, {"A": 1, "C": 1}, {"B": 2}) + a_run(2, {"B": 1}, {"C": 1})
    assert set(shares(ring, "A")) == {"A"}
    assert depths("A", ring, Direction.DOWNSTREAM)["C", False] == 2


def test_depth_is_the_least_number_of_steps_from_lot_to_lot():
    found = depths("E", STORY, Direction.UPSTREAM)
    assert found == {
        ("E", False): 0, ("run2", True): 1, ("C", False): 1, ("D", False): 1,
        ("run1", True): 2, ("A", False): 2, ("B", False): 2,
    }  # fmt: skip
    assert depths("D", STORY, Direction.DOWNSTREAM) == {("D", False): 0, ("run2", True): 1, ("E", False): 1}


@given(
    st.lists(
        st.dictionaries(st.integers(0, 4), st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=6
    )
)
def test_the_shares_of_all_raw_materials_of_a_lot_are_the_whole(recipes):
    links = []
    lots = [f"raw{n}" for n in range(5)]
    for number, recipe in enumerate(recipes, 1):
        inputs = {lots[-1 - back]: qty for back, qty in recipe.items()}
        lots.append(f"made{number}")
        links += a_run(number, inputs, {lots[-1]: sum(inputs.values())})
    used = {link.src for link in links if link.into_run}
    raw = sorted(used & {f"raw{n}" for n in range(5)})
    for made in lots[5:]:
        assert sum(shares(links, one).get(made, 0) for one in raw) == 1
