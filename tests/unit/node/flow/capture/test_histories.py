"""Live equals rebuilt, and both equal what the rules say, after any history: late, repeated, out of order, corrected."""

import itertools

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.support.flow import (
    OWNER,
    an_event,
    counted,
    declared,
    gone,
    lot,
    made,
    moved,
    ran,
    thing,
)
from tests.support.flow_books import FlowBook, should_stand

_owners = itertools.count()

# few of each, so that events meet
hours = st.integers(0, 3)
names = st.sampled_from("AB")
quantities = st.decimals("0.1", 50, places=1)
where = st.sampled_from(["store", "store", "yard"])
bills = st.sampled_from(["W1", "W1", "W2"])


def loaded(when, child, action):
    return an_event(
        "AggregationEvent", hours=when, action=action, parentID=thing("T7"), childEPCs=[thing(child)]
    )


events = st.one_of(
    st.builds(lambda n, q, h, w: made(n, q, hours=h, loc=w), names, quantities, hours, where),
    st.builds(lambda n, q, h, w: made(n, q, "LTR", hours=h, loc=w), names, quantities, hours, where),
    st.builds(lambda n, q, h, w: gone(n, q, hours=h, loc=w), names, quantities, hours, where),
    st.builds(lambda n, q, h, w: counted(n, q, hours=h, loc=w), names, quantities, hours, where),
    st.builds(lambda n, q, h, w: counted(n, q, "LTR", hours=h, loc=w), names, quantities, hours, where),
    st.builds(
        lambda step, n, q, h, w, b: moved(step, n, q, hours=h, loc=w, bill=b),
        st.sampled_from(["shipping", "departing", "receiving", "arriving", "void_shipping"]),
        names, quantities, hours, where, bills,
    ),
    st.builds(
        lambda i, o, h, r: ran(i, o, hours=h, run=r),
        st.dictionaries(names, quantities, min_size=1, max_size=2),
        st.dictionaries(names, quantities, min_size=1, max_size=2),
        hours, st.sampled_from([None, "urn:run:1", "urn:run:2"]),
    ),
    st.builds(loaded, hours, names, st.sampled_from(["ADD", "DELETE"])),
)  # fmt: skip


class Histories(RuleBasedStateMachine):
    """Documents of events in any order, sent again, declared in error before and after they come."""

    database = None

    def __init__(self):
        super().__init__()
        self.book = FlowBook(self.database, f"{OWNER}.{next(_owners)}")
        self.stand = {}
        self.void = set()

    def told(self, event):
        if event.hash not in self.void:
            self.stand.setdefault(event.hash, event)

    @rule(document=st.lists(events, min_size=3, max_size=10))
    def come(self, document):
        self.book.take(*document)
        for event in document:
            self.told(event)

    @rule(pick=st.randoms(use_true_random=False))
    def come_again_with_a_new_one(self, pick):
        if self.stand:
            new = made("A", pick.randint(1, 9), hours=pick.randint(0, 3))
            self.book.take(pick.choice(list(self.stand.values())), new)
            self.told(new)

    @rule(pick=st.randoms(use_true_random=False))
    def be_declared_in_error(self, pick):
        if self.stand:
            event = pick.choice(list(self.stand.values()))
            self.book.take(declared(event))
            del self.stand[event.hash]
            self.void.add(event.hash)

    @rule(event=events)
    def be_declared_ahead(self, event):
        if event.hash not in self.stand and event.hash not in self.void:
            self.book.take(declared(event))
            self.void.add(event.hash)
            self.book.take(event, made("B", 1, hours=3))
            self.told(made("B", 1, hours=3))

    @rule(before=events, after=events)
    def be_declared_in_the_same_document(self, before, after):
        if before.hash not in self.stand and before.hash not in self.void and before.hash != after.hash:
            self.book.take(before, declared(before), after)
            self.void.add(before.hash)
            self.told(after)

    @invariant()
    def the_balances_are_what_the_rules_say_of_what_stands(self):
        if self.stand:
            assert self.book.balances() == should_stand(self.stand.values(), self.book.owner.key)

    def teardown(self):
        live = self.book.everything()
        if live:
            self.book.rebuild()
            assert self.book.everything() == live


def test_what_is_live_equals_what_is_rebuilt_after_any_history(database):
    class Here(Histories):
        pass

    Here.database = database
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=30, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_order_of_events_changes_no_balance(database):
    story = [
        made("A", 100, hours=1),
        moved("departing", "A", 10, hours=3),
        moved("shipping", "A", 10, hours=2),
        counted("A", 85, hours=5),
        counted("A", 80, hours=5),
        moved("receiving", "A", 9, hours=6, loc="yard"),
        moved("arriving", "A", 10, hours=5, loc="yard"),
        gone("A", 3, hours=4),
        ran({"A": 20}, {"B": 19}, hours=7),
    ]
    expected = should_stand(story)
    for number, order in enumerate(itertools.islice(itertools.permutations(story), 0, None, 30_011)):
        book = FlowBook(database, f"{OWNER}.o{number}")
        for event in order:
            book.take(event)
        found = {(*key[:1], *key[2:]): qty for key, qty in book.balances().items()}
        assert found == {(*key[:1], *key[2:]): qty for key, qty in expected.items()}
    assert any(key[4] == lot("B") for key in expected)
