"""The change table empties caches and feeds those who watch."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from registry.errors import (
    ForbiddenError,
    MalformedIdentifierError,
    NotResponsibleError,
    UnauthenticatedError,
)
from registry.identifier import Prefix
from registry.principal import ANONYMOUS, Grant, Principal, Role
from registry.record import Status
from resolver.answer import Outcome
from resolver.config import ResolverConfig
from resolver.ready import Fragment
from tests.support.network import Network

OWN, PARK = "88.107.1001", "88.107"
BATCH = f"{OWN}/BATCH-1"
READER = Principal("reader", frozenset({Grant(Prefix(OWN), Role.READER)}))


@pytest.fixture
async def network():
    config = ResolverConfig(changes_kept=5, changes_page=3)
    async with Network("88", PARK, OWN, config=config) as made:
        yield made


@asynccontextmanager
async def following(network, name=OWN):
    task = asyncio.create_task(network.nodes[name].resolver.follow_changes())
    await asyncio.sleep(0.02)
    try:
        yield network.nodes[name].resolver
    finally:
        task.cancel()


async def take(events, count):
    return [await asyncio.wait_for(anext(events), 2) for _ in range(count)]


async def test_a_change_is_told_to_who_watches_and_to_nobody_else(network):
    network.put(BATCH)
    async with following(network) as resolver:
        events = resolver.watch([BATCH.lower()])
        first = asyncio.create_task(take(events, 2))
        await asyncio.sleep(0.02)
        network.put(f"{OWN}/OTHER")
        network.put(BATCH)
        network.withdraw(BATCH)
        resolver.wake()
        changes = await first
    assert [(c.identifier, c.version, c.status) for c in changes] == [
        (BATCH, 2, Status.ACTIVE),
        (BATCH, 3, Status.WITHDRAWN),
    ]


async def test_who_comes_back_misses_nothing_however_long_ago_it_was(network):
    for number in range(20):
        network.put(f"{OWN}/{number}")
    async with following(network) as resolver:
        events = resolver.watch([], Prefix(OWN), 2, READER)
        old = await take(events, 18)
        for number in range(7):
            network.put(f"{OWN}/{number}")
        await resolver.catch_up()
        new = await take(events, 7)
    assert [change.position for change in old + new] == list(range(3, 28))


async def test_a_poll_finds_what_nobody_announced(network):
    async with following(network) as resolver:
        events = resolver.watch([BATCH])
        first = asyncio.create_task(take(events, 1))
        await asyncio.sleep(0.02)
        network.put(BATCH)
        network.clock.move(0.5)
        assert (await first)[0].version == 1


@pytest.mark.parametrize(
    ("identifiers", "prefix", "principal", "error"),
    [
        (["88..1/X"], None, ANONYMOUS, MalformedIdentifierError),
        (["88.9/X"], None, ANONYMOUS, NotResponsibleError),
        ([], "88.107.1001", ANONYMOUS, UnauthenticatedError),
        ([], "88.107", READER, ForbiddenError),
    ],
)
async def test_only_what_is_homed_and_may_be_listed_is_watched(
    network, identifiers, prefix, principal, error
):
    resolver = network.nodes[OWN].resolver
    with pytest.raises(error):
        await anext(resolver.watch(identifiers, prefix and Prefix(prefix), 0, principal))


async def test_a_change_drops_the_encoded_answers(network):
    node = network.nodes[OWN]
    network.put(BATCH)
    await node.resolver.catch_up()
    fragment = Fragment(b"x", authoritative=True, since=0, ttl_ends=1e9, until=1e9)
    node.ready.put("grpc", BATCH, fragment, mark=node.ready.mark())
    await node.resolver.catch_up()
    assert node.ready.get("grpc", BATCH) is fragment
    network.put(BATCH)
    await node.resolver.catch_up()
    assert node.ready.get("grpc", BATCH) is None


async def test_a_changed_delegation_empties_what_hangs_on_it(network):
    node = network.nodes[PARK]
    network.put(BATCH)
    await node.resolver.catch_up()
    assert (await network.resolve(PARK, BATCH)).outcome is Outcome.FOUND
    fragment = Fragment(b"x", authoritative=True, since=0, ttl_ends=1e9, until=1e9)
    node.ready.put("grpc", "88.107/X", fragment, mark=node.ready.mark())
    network.delegate(OWN, state="suspended", ver=2, perms=())
    network.put(f"0.NA/{OWN}", kind="prefix")
    await node.resolver.catch_up()
    assert len(node.ready) == 0
    answer = await network.resolve(PARK, BATCH)
    assert answer.error.code == "registry.trust.state_suspended"


async def test_a_table_that_went_back_empties_everything(network):
    node = network.nodes[OWN]
    for number in range(3):
        network.put(f"{OWN}/{number}")
    await node.resolver.catch_up()
    fragment = Fragment(b"x", authoritative=True, since=0, ttl_ends=1e9, until=1e9)
    node.ready.put("grpc", BATCH, fragment, mark=node.ready.mark())
    del node.books.log[1:]
    await node.resolver.catch_up()
    assert len(node.ready) == 0
    network.put(BATCH)
    await node.resolver.catch_up()
    assert node.resolver._changes.position == 2
