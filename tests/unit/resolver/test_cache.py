"""What is remembered, for how long, and what is never taken back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UnavailableError, UntrustedError
from registry.identifier import Identifier, Prefix
from registry.record import Record, Status
from resolver.answer import Proof
from resolver.cache import Bounded, Caches, Kept
from resolver.config import ResolverConfig

KEY = "88.107.1001/BATCH-1"
SILENT = UnavailableError("resolver.walk.slow", value=KEY)


def a_kept(version=1, status=Status.ACTIVE, *, fresh=100.0, stale=300.0):
    record = Record(Identifier.parse(KEY), "batch", version, status, (), 0)
    proof = Proof(f"jws-{version}-{status}", None, "", (), Prefix("88.107.1001"))
    return Kept(record, (), proof, None, True, 0.0, fresh, stale, fresh * 0.9)


@pytest.fixture
def caches():
    return Caches(ResolverConfig())


def test_the_least_recently_used_goes_first_when_the_room_is_full():
    bounded = Bounded(10, len)
    for name in "abc":
        bounded.put(name, name * 3)
    bounded.get("a")
    bounded.put("d", "ddd")
    assert list(bounded) == ["c", "a", "d"]
    bounded.put("huge", "x" * 11)
    assert bounded.get("huge") is None
    assert len(bounded) == 3


def test_a_failure_is_remembered_for_twice_as_long_each_time_up_to_a_limit(caches):
    now, waits = 0.0, []
    for _ in range(7):
        caches.fail("x", SILENT, now)
        until = caches.failure("x", now).until
        waits.append(until - now)
        now = until
        assert caches.failure("x", now) is None
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    caches.recover("x")
    caches.fail("x", SILENT, now)
    assert caches.failure("x", now).until == now + 1


def test_a_node_that_asks_to_be_left_alone_is_but_not_for_ever(caches):
    caches.fail("x", UnavailableError("resolver.walk.slow", retry_after=12, value="x"), 0.0)
    assert caches.failure("x", 0.0).until == 12
    caches.fail("y", UnavailableError("resolver.walk.slow", retry_after=1e9, value="x"), 0.0)
    assert caches.failure("y", 0.0).until == 30


def test_not_found_ends_in_time_and_when_the_record_appears(caches):
    caches.keep_missing(KEY, 10, 0.0)
    assert caches.missing(KEY, 9.9).until == 10
    assert caches.missing(KEY, 10.0) is None
    caches.keep_missing(KEY, 10, 0.0)
    caches.keep(KEY, a_kept(), 0.0)
    assert caches.missing(KEY, 1.0) is None
    caches.keep_missing("other", 10_000_000, 0.0)
    assert caches.missing("other", 0.0).until == 3_600


@pytest.mark.parametrize("status", [Status.WITHDRAWN, Status.DELETED])
def test_only_an_active_record_may_be_stale(status):
    assert a_kept().may_be_stale(300)
    assert not a_kept().may_be_stale(301)
    assert not a_kept(status=status).may_be_stale(1)


def test_an_answer_that_may_not_be_kept_still_raises_the_mark(caches):
    caches.keep(KEY, a_kept(5, fresh=0.0), 0.0)
    assert len(caches.positive) == 0
    assert caches.last_seen(KEY).version == 5


def test_forgetting_an_answer_does_not_lower_the_mark(caches):
    caches.keep(KEY, a_kept(5), 0.0)
    caches.clear()
    caches.drop(KEY)
    with pytest.raises(UntrustedError, match="version 4"):
        caches.keep(KEY, a_kept(4), 0.0)
    with pytest.raises(UntrustedError, match="tombstone"):
        caches.keep_missing(KEY, 10, 0.0)


def test_the_answers_below_a_prefix_are_forgotten_label_by_label(caches):
    for key in ("88.1/X", "88.1.5/X", "88.10/X"):
        caches.keep(key, a_kept(), 0.0)
    caches.drop_below(Prefix("88.1"))
    assert list(caches.positive) == ["88.10/X"]


def test_news_is_told_apart_from_the_same_again(caches):
    assert not caches.keep(KEY, a_kept(1), 0.0)
    assert not caches.keep(KEY, a_kept(1), 0.0)
    assert caches.keep(KEY, a_kept(2), 0.0)
    other = a_kept(2)
    other.proof = replace(other.proof, public_jws="signed anew")
    assert caches.keep(KEY, other, 0.0)


states = st.tuples(st.integers(1, 5), st.sampled_from(list(Status)))


@given(st.lists(st.one_of(states, st.none()), max_size=30))
def test_what_is_accepted_never_goes_back(shown):
    caches = Caches(ResolverConfig())
    seen = None
    for state in shown:
        try:
            if state is None:
                caches.keep_missing(KEY, 10, 0.0)
            else:
                caches.keep(KEY, a_kept(*state), 0.0)
        except UntrustedError:
            assert seen is not None
            assert state is None or state[0] < seen[0] or (state[0] == seen[0] and state != seen)
            continue
        if state is None:
            assert seen is None
        else:
            assert seen is None or state[0] > seen[0] or state == seen
            seen = state
