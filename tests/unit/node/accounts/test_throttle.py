from hypothesis import given
from hypothesis import strategies as st

from node.accounts.throttle import Throttle
from registry.errors import RateLimitError
from tests.support.node import TestClock


def a_throttle(clock: TestClock) -> Throttle:
    return Throttle(clock=clock, failures=3, longest_wait_seconds=60)


def wait_of(throttle: Throttle, name: str = "a@88", address: str = "192.0.2.1") -> float:
    try:
        throttle.check(name, address)
    except RateLimitError as error:
        return error.retry_after or 0.0
    return 0.0


def test_a_few_failures_are_forgiven_then_each_costs_twice_the_wait():
    clock = TestClock()
    throttle = a_throttle(clock)
    waits = []
    for _ in range(12):
        throttle.failed("a@88", "192.0.2.1")
        waits.append(wait_of(throttle))
        clock.time += waits[-1]
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_success_forgets_and_so_does_time():
    clock = TestClock()
    throttle = a_throttle(clock)
    for _ in range(4):
        throttle.failed("a@88", "192.0.2.1")
    throttle.succeeded("a@88", "192.0.2.1")
    assert wait_of(throttle) == 0
    for _ in range(4):
        throttle.failed("a@88", "192.0.2.1")
    clock.time += 3601
    assert wait_of(throttle) == 0


def test_a_stranger_elsewhere_does_not_lock_the_owner_out_cheaply():
    throttle = a_throttle(TestClock())
    for _ in range(10):
        throttle.failed("a@88", "203.0.113.9")
    assert wait_of(throttle, address="203.0.113.9") > 0
    assert wait_of(throttle, address="192.0.2.1") == 0


def test_one_address_that_tries_many_names_waits_as_well():
    throttle = a_throttle(TestClock())
    for number in range(18):
        throttle.failed(f"a{number}@88", "203.0.113.9")
    assert wait_of(throttle, name="new@88", address="203.0.113.9") > 0


@given(st.lists(st.sampled_from(["a@88", "b@88"]), max_size=60))
def test_the_wait_never_exceeds_the_limit(names):
    throttle = a_throttle(TestClock())
    for name in names:
        throttle.failed(name, "192.0.2.1")
    with_most = max(wait_of(throttle, name) for name in ("a@88", "b@88"))
    assert 0 <= with_most <= 60


def test_it_forgets_the_oldest_rather_than_grow_for_ever():
    throttle = a_throttle(TestClock())
    for _ in range(4):
        throttle.failed("first@88", "198.51.100.1")
    for number in range(12_000):
        throttle.failed(f"a{number}@88", f"192.0.2.{number}")
    assert wait_of(throttle, "first@88", "198.51.100.1") == 0
