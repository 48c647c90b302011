"""What the doors keep encoded stays true: at the owner, at a neighbour, through changes, silence and withdrawal."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from proto import resolver_pb2 as pb
from registry.principal import ANONYMOUS
from resolver.servicer_hot import HotResolver
from tests.support.network import Network

TOP, PARK, OWNER, ASKER = "88", "88.107", "88.107.1001", "88.107.1002"
BATCH = "88.107.1001/BATCH-1"


class Door:
    """The bytes of the gRPC door at one node."""

    def __init__(self, network: Network, name: str) -> None:
        node = network.nodes[name]
        self.resolver = node.resolver
        self.hot = HotResolver(resolver=node.resolver, ready=node.ready, clock=network.clock)

    async def ask(self, **options: Any) -> tuple[Any, bool]:
        """Return the reply, and whether it was kept ready."""
        request = pb.ResolveRequest(identifier=BATCH, **options).SerializeToString()
        kept = self.hot.hit(request)
        reply = kept if kept is not None else await self.hot.resolve(request, ANONYMOUS)
        return pb.ResolveReply.FromString(reply), kept is not None


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with Network(TOP, PARK, OWNER, ASKER) as made:
        made.put(BATCH, text="first")
        yield made


async def test_at_the_owner_a_change_replaces_what_was_kept(network: Network) -> None:
    door = Door(network, OWNER)
    await door.resolver.catch_up()
    first, _ = await door.ask()
    again, kept = await door.ask()
    network.put(BATCH, text="second")
    await door.resolver.catch_up()
    changed, still_kept = await door.ask()

    assert (again, kept) == (first, True)
    assert (changed.record.version, changed.record.values[0].data) == (2, b"second")
    assert not still_kept


async def test_a_neighbours_kept_answer_ages_and_is_asked_for_again_in_time(network: Network) -> None:
    door = Door(network, ASKER)
    first, _ = await door.ask()
    network.clock.move(20)
    second, kept = await door.ask()
    network.put(BATCH, text="second")
    network.clock.move(first.ttl_seconds)
    third, kept_too_long = await door.ask()

    assert (first.source, second.source) == (pb.SOURCE_CACHED, pb.SOURCE_CACHED)
    assert (second.age_seconds, second.ttl_seconds) == (first.age_seconds + 20, first.ttl_seconds - 20)
    assert second.record == first.record
    assert kept
    assert not kept_too_long
    assert third.record.version == 2


async def test_a_stale_answer_is_never_kept(network: Network) -> None:
    door = Door(network, ASKER)
    first, _ = await door.ask()
    network.stop(OWNER)
    network.clock.move(first.ttl_seconds + 1)
    stale, _ = await door.ask()
    again, kept = await door.ask()

    assert (stale.source, again.source) == (pb.SOURCE_STALE, pb.SOURCE_STALE)
    assert not kept


async def test_a_withdrawal_that_was_heard_of_replaces_what_was_kept(network: Network) -> None:
    door = Door(network, ASKER)
    await door.ask()
    network.withdraw(BATCH)
    told, _ = await door.ask(authoritative=True)
    plain, _ = await door.ask()

    assert told.outcome == pb.OUTCOME_WITHDRAWN
    assert plain.outcome == pb.OUTCOME_WITHDRAWN
    assert plain.tombstone.reason == "recalled"
