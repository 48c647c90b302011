from hypothesis import given
from hypothesis import strategies as st

from node.flow.genealogy.graph import Direction, Link, depths
from node.flow.genealogy.tracing import FederatedTrace, PartnerAnswer, Status, Step, Tombstone

UP = Direction.UPSTREAM


def a_run(number, inputs, outputs):
    run = f"run{number}"
    return [Link(run, lot, number, True, number) for lot in inputs] + [
        Link(lot, run, number, False, number) for lot in outputs
    ]


class Partners:
    """Nodes that answer from what they know: links by node, and whom each lot came from."""

    def __init__(self, links, origins, silent=()):
        self.links = links
        self.origins = origins
        self.silent = set(silent)
        self.asked = []

    def answer(self, ask):
        mine, found, stopped = self.links[ask.node], set(), set()
        for lot, left in ask.lots.items():
            reached = depths(lot, mine, UP)
            keep = {node for node, depth in reached.items() if left is None or depth <= left}
            found |= {
                link
                for link in mine
                if (link.dst, link.into_run) in keep and (link.src, not link.into_run) in keep
            }
            stopped |= {
                link.dst for link in mine
                if not link.into_run and (link.dst, False) in keep and (link.src, True) not in keep
            }  # fmt: skip
        shown = {link.src for link in found if link.into_run} | set(ask.lots)
        frontier = tuple(
            (lot, self.origins[lot]) for lot in sorted(shown) if self.origins.get(lot, ask.node) != ask.node
        )
        return PartnerAnswer(tuple(sorted(found)), frontier, tuple(sorted(stopped)))

    def run(self, trace):
        while asks := trace.requests():
            self.asked.append([ask.node for ask in asks])
            for ask in asks:
                if ask.node in self.silent:
                    trace.failed(
                        Tombstone(
                            ask.node,
                            "C",
                            "https://c.test",
                            tuple(ask.lots),
                            Step.CONNECT,
                            "refused",
                            (),
                            3,
                            9,
                        )
                    )
                else:
                    trace.answered(ask.node, self.answer(ask))
        return trace.answer()


def three_nodes(**how):
    """raw at n1 -> C sold to n2 -> E sold to n3 -> G."""
    return Partners(
        {
            "n1": a_run(1, ["A", "B"], ["C"]),
            "n2": a_run(2, ["C", "D"], ["E", "F"]),
            "n3": a_run(3, ["E", "F"], ["G"]),
        },
        {"C": "n1", "E": "n2", "F": "n2"},
        **how,
    )


def names(answer):
    return {node.name: node.depth for node in answer.nodes if not node.run}


def a_trace(**how):
    return FederatedTrace("G", "n3", UP, **{"max_nodes": 1_000, **how})


def test_a_trace_over_three_nodes_asks_each_once_with_all_its_lots():
    partners = three_nodes()
    answer = partners.run(a_trace())
    assert (answer.status, answer.tombstones, answer.frontier) == (Status.COMPLETE, (), ())
    assert names(answer) == {"G": 0, "E": 1, "F": 1, "C": 2, "D": 2, "A": 3, "B": 3}
    assert partners.asked == [["n3"], ["n2"], ["n1"]]
    assert answer.completed == ("n1", "n2", "n3")


def test_a_silent_node_is_named_with_the_lots_it_was_asked_for_and_the_answer_is_partial():
    answer = three_nodes(silent=["n2"]).run(a_trace())
    assert answer.status is Status.PARTIAL
    (tombstone,) = answer.tombstones
    assert (tombstone.node, tombstone.lots, tombstone.step) == ("n2", ("E", "F"), Step.CONNECT)
    assert (answer.failed, answer.completed) == (("n2",), ("n3",))
    assert names(answer) == {"G": 0, "E": 1, "F": 1}


def test_when_the_first_node_is_silent_the_answer_is_never_an_empty_success():
    answer = three_nodes(silent=["n3"]).run(a_trace())
    assert (answer.status, names(answer)) == (Status.PARTIAL, {"G": 0})


def test_a_depth_stops_the_walk_and_says_so():
    answer = three_nodes().run(a_trace(depth=2))
    assert answer.status is Status.TRUNCATED
    assert names(answer) == {"G": 0, "E": 1, "F": 1, "C": 2, "D": 2}
    assert three_nodes().run(a_trace(depth=3)).status is Status.COMPLETE


def test_a_cap_on_nodes_or_requests_leaves_the_frontier():
    for how in ({"max_nodes": 3}, {"max_requests": 1}):
        answer = three_nodes().run(a_trace(**how))
        assert (answer.status, answer.frontier) == (Status.TRUNCATED, (("E", "n2"), ("F", "n2")))


def test_while_answers_are_out_nothing_new_is_asked():
    trace = a_trace()
    (ask,) = trace.requests()
    assert (ask.node, dict(ask.lots)) == ("n3", {"G": None})
    assert trace.requests() == []
    assert (trace.answer().status, trace.answer().running) == (Status.RUNNING, ("n3",))


def test_partners_that_name_each_other_for_ever_are_asked_once():
    trace = FederatedTrace("G", "n1", UP, max_nodes=100)
    for node, other in (("n1", "n2"), ("n2", "n1")):
        (ask,) = trace.requests()
        assert ask.node == node
        trace.answered(node, PartnerAnswer((), (("G", other),)))
    assert trace.requests() == []
    assert trace.answer().status is Status.COMPLETE


@given(
    st.lists(
        st.tuples(st.sets(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 2)),
        min_size=1,
        max_size=8,
    ),
    st.one_of(st.none(), st.integers(1, 5)),
)
def test_a_trace_over_nodes_finds_what_one_that_knows_all_would_find(runs, depth):
    links, origins = {"n0": [], "n1": [], "n2": []}, {}
    lots = [f"raw{n}" for n in range(5)]
    for number, (back, node) in enumerate(runs, 1):
        made = f"lot{number}"
        links[f"n{node}"] += a_run(number, [lots[-one] for one in sorted(back)], [made])
        origins[made] = f"n{node}"
        lots.append(made)
    whole = [link for some in links.values() for link in some]
    expected = {node: d for node, d in depths(lots[-1], whole, UP).items() if depth is None or d <= depth}
    trace = FederatedTrace(lots[-1], origins[lots[-1]], UP, max_nodes=1_000, depth=depth)
    answer = Partners(links, origins).run(trace)
    assert {(node.name, node.run): node.depth for node in answer.nodes} == expected
    assert answer.status in ({Status.COMPLETE} if depth is None else {Status.COMPLETE, Status.TRUNCATED})
    cut = len(depths(lots[-1], whole, UP)) > len(expected)
    assert (answer.status is Status.TRUNCATED) == cut
