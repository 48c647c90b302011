"""The walk ends, whatever it is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import HazlinkError, LoopError, UnavailableError, UntrustedError
from registry.identifier import Identifier, Prefix
from resolver.ports import Endpoint
from resolver.walk import Walk, Zone

A, B = Endpoint("https://a.example"), Endpoint("https://b.example")
BATCH = Identifier.parse("88.107.1001/BATCH-1")


def a_walk(zone=None, *, hops=0, limit=10, identifier=BATCH):
    return Walk(identifier, zone or Zone(None, (A, B)), hops=hops, limit=limit)


def below(prefix, *endpoints):
    return Zone(Prefix.parse(prefix), endpoints or (A,))


def test_the_endpoints_of_a_zone_are_asked_in_order_and_each_once():
    walk = a_walk(Zone(None, (A, B, A)))
    assert walk.next() is A
    walk.fail(UnavailableError("resolver.walk.slow", value="x"))
    assert walk.next() is B
    walk.fail(UnavailableError("resolver.walk.slow", value="y"))
    with pytest.raises(UnavailableError) as refusal:
        walk.next()
    assert refusal.value.params["value"] == "y"


def test_a_lie_is_told_before_a_silence():
    walk = a_walk()
    walk.fail(UntrustedError("resolver.walk.unproven", value="x"))
    walk.fail(UnavailableError("resolver.walk.slow", value="x"))
    with pytest.raises(UntrustedError):
        walk.next()


def test_a_zone_without_endpoints_ends_the_walk():
    walk = a_walk(below("88.107"))
    walk.refer(Zone(Prefix.parse("88.107.1001"), ()))
    with pytest.raises(UnavailableError, match="no address is known"):
        walk.next()


@pytest.mark.parametrize("prefix", ["88.107", "88"])
def test_a_referral_that_does_not_lead_down_is_a_circle(prefix):
    with pytest.raises(LoopError):
        a_walk(below("88.107")).refer(below(prefix))


@pytest.mark.parametrize("prefix", ["88.107.1002", "88.107.100", "88.10", "89"])
def test_a_referral_that_does_not_contain_the_identifier_is_refused(prefix):
    with pytest.raises(UntrustedError):
        a_walk(below("88")).refer(below(prefix))


def test_a_prefix_record_is_looked_for_at_the_superior_and_not_below():
    walk = a_walk(below("88"), identifier=Identifier.parse("0.NA/88.107.1001"))
    walk.refer(below("88.107"))
    with pytest.raises(UntrustedError):
        walk.refer(below("88.107.1001"))


def test_the_hop_limit_counts_what_was_passed_before():
    walk = a_walk(hops=9)
    walk.next()
    walk.refer(below("88"))
    with pytest.raises(LoopError):
        walk.next()


prefixes = st.lists(st.sampled_from(["88", "107", "1001", "5"]), min_size=1, max_size=9).map(".".join)
replies = st.one_of(
    st.just("fail"),
    st.tuples(prefixes, st.lists(st.sampled_from([A, B]), max_size=3)),
)


@given(start=prefixes, script=st.lists(replies, min_size=1, max_size=200), hops=st.integers(0, 12))
def test_it_ends_for_any_graph_of_referrals(start, script, hops):
    identifier = Identifier.parse("88.107.1001.5.88.107.1001.5.88/X")
    walk = a_walk(hops=hops, identifier=identifier)
    asked = 0
    while goes_on(walk, script[asked % len(script)]):
        asked += 1
    assert asked <= max(0, 10 - hops) * 2


def goes_on(walk, reply):
    """One step; False when the walk has ended."""
    try:
        walk.next()
    except HazlinkError:
        return False
    try:
        if reply == "fail":
            raise UnavailableError("resolver.walk.slow", value="x")
        walk.refer(Zone(Prefix.parse(reply[0]), tuple(reply[1])))
    except HazlinkError as error:
        walk.fail(error)
    return True
