"""The resolver over the real registry, the real picture of prefixes and real joining, on SQLite."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.identifier import Identifier, Prefix
from registry.principal import ANONYMOUS
from registry.trust.chain import MemoryMarks
from resolver.answer import Outcome, Query, Source
from resolver.authority import RegistryAuthority
from resolver.ports import Endpoint
from resolver.ready import Ready
from resolver.service import Resolver
from tests.support.prefixes import MovedClock, a_node, a_top, admin_of, joined, operator_of

PARK, OWNER, HOSTED = "88.107", "88.107.1001", "88.107.1003"


class Neighbours:
    """A peer port over resolvers in this process, found by the URL in the verified statement."""

    def __init__(self):
        self.by_url = {}
        self.asked = []

    async def ask(self, endpoint, queries):
        self.asked.append(endpoint.url)
        return await self.by_url[endpoint.url].resolve_many(queries)


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture
def tree(tmp_path):
    clock = MovedClock()
    top = a_top(tmp_path, clock)
    park, owner = (a_node(tmp_path, name, clock) for name in ("park", "owner"))
    joined(top, park, PARK)
    joined(park, owner, OWNER)
    park.prefixes.host(operator_of(PARK), Prefix(HOSTED))
    return top, park, owner


@pytest.fixture
def resolvers(tree, executor):
    neighbours = Neighbours()

    def resolver_of(node):
        anchor = node.prefixes.anchor()
        return Resolver(
            authority=RegistryAuthority(registry=node.registry, homes=node.homes),
            peer=neighbours,
            anchor=anchor,
            anchor_endpoints=(Endpoint("top"),),
            marks=MemoryMarks(),
            ready=Ready(),
            clock=node.clock,
            executor=executor,
            greatest_staleness=lambda _: 86_400,
            chance=lambda: 0.0,
        )

    made = [resolver_of(node) for node in tree]
    for node, resolver in zip(tree, made, strict=True):
        for home in node.homes.all():
            for url in url_in(node.homes.chain(home.prefix)[0]):
                neighbours.by_url[url] = resolver
    neighbours.by_url["top"] = made[0]
    return made


def url_in(token):
    from registry.trust.statement import read

    return read(token).endpoints.resolve


async def test_every_node_resolves_every_other_through_the_real_tables(tree, resolvers):
    _, park, owner = tree
    owner.register(f"{OWNER}/BATCH-1", "批次", private="secret")
    park.register(f"{HOSTED}/DRUM-1", "桶")
    for resolver in resolvers:
        batch = await resolver.resolve(Query(f"{OWNER}/BATCH-1", with_chain=True))
        assert batch.outcome is Outcome.FOUND, batch.error
        assert batch.withheld == (2,)
        assert (batch.proof.issuer.key, len(batch.proof.chain)) == (OWNER, 3)
        drum = await resolver.resolve(Query(f"{HOSTED}/DRUM-1"))
        assert drum.outcome is Outcome.FOUND, drum.error
        assert drum.proof.issuer.key == HOSTED
        missing = await resolver.resolve(Query(f"{OWNER}/NONE"))
        assert missing.outcome is Outcome.NOT_FOUND, missing.error


async def test_the_record_of_a_prefix_resolves_from_everywhere(tree, resolvers):
    for resolver in resolvers:
        for prefix in (PARK, OWNER, HOSTED):
            answer = await resolver.resolve(Query(f"0.NA/{prefix}", with_chain=True))
            assert answer.outcome is Outcome.FOUND, (prefix, answer.error)
            assert answer.proof.issuer.key == prefix.rpartition(".")[0]


async def test_a_withdrawal_is_told_and_seen(tree, resolvers):
    _, _, owner = tree
    resolver = resolvers[2]
    batch = f"{OWNER}/BATCH-1"
    owner.register(batch)
    await resolver.catch_up()
    events = resolver.watch([], Prefix(OWNER), 0, admin_of(OWNER))
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0.02)
    owner.registry.withdraw(admin_of(OWNER), Identifier.parse(batch), reason="recalled")
    await resolver.catch_up()
    change = await asyncio.wait_for(first, 2)
    assert (change.identifier, change.version) == (batch, 2)
    answer = await resolver.resolve(Query(batch), ANONYMOUS)
    assert (answer.outcome, answer.source) == (Outcome.WITHDRAWN, Source.AUTHORITATIVE)
    assert answer.tombstone.reason == "recalled"


async def test_a_suspended_enterprise_is_refused_by_everybody_above_it(tree, resolvers):
    _, park, owner = tree
    owner.register(f"{OWNER}/BATCH-1")
    assert (await resolvers[0].resolve(Query(f"{OWNER}/BATCH-1"))).outcome is Outcome.FOUND
    park.prefixes.suspend(operator_of(PARK), Prefix(OWNER), reason="check")
    park.clock.time += 400
    for resolver in resolvers[:2]:
        await resolver.catch_up()
        answer = await resolver.resolve(Query(f"{OWNER}/BATCH-1", authoritative=True))
        assert answer.outcome is Outcome.FAILED
        assert answer.error.code == "registry.trust.state_suspended"
