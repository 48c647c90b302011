"""Own records are answered at the cost of one look-up for many."""

import asyncio

import pytest

from registry.errors import LoopError, MalformedIdentifierError, UnavailableError
from registry.identifier import Prefix
from registry.principal import Grant, Principal, Role
from registry.record import Status
from registry.trust.record_signature import verify_record
from registry.value import FEDERATION, PRIVATE, Scope, TtlType, Value, Visibility
from resolver.answer import Outcome, Query, Source
from tests.support.network import Network

OWN = "88.107.1001"
BATCH = f"{OWN}/BATCH-1"


def somebody(prefix, role=Role.READER):
    return Principal("somebody", frozenset({Grant(Prefix(prefix), role)}))


@pytest.fixture
async def network():
    async with Network("88", "88.107", OWN) as made:
        yield made


def hidden(index, visibility):
    return Value(index, "NOTE", b"hidden", salt=bytes([index % 256]) * 16).seen_as(visibility)


async def test_an_own_record_is_authoritative_and_verifies(network):
    network.put(BATCH, Value(2000, "NAME", b"n", ttl=120), hidden(2001, PRIVATE))
    answer = await network.resolve(OWN, "88.107.1001/batch-1", with_chain=True)
    assert (answer.outcome, answer.source, answer.age, answer.ttl) == (
        Outcome.FOUND,
        Source.AUTHORITATIVE,
        0,
        120,
    )
    assert answer.asked == "88.107.1001/batch-1"
    assert answer.record.identifier.text == BATCH
    assert answer.withheld == (2001,)
    assert answer.proof.restricted_jws is None
    chain = network.nodes["88"].resolver._trust.chain(answer.proof.chain)
    assert chain.sha256 == answer.proof.chain_sha256
    verify_record(
        public_jws=answer.proof.public_jws,
        restricted_jws=None,
        shown=answer.record.values,
        chain=chain,
        identifier=answer.record.identifier,
        now=network.clock.now(),
    )


async def test_nobody_may_keep_an_answer_longer_than_its_kind_allows(network):
    network.put(BATCH)
    assert (await network.resolve(OWN, BATCH)).ttl == 300
    network.put(f"{OWN}/NEW", kind="a kind of tomorrow")
    assert (await network.resolve(OWN, f"{OWN}/NEW")).ttl == 300


async def test_an_absolute_end_counts_from_now(network):
    now = int(network.clock.now())
    network.put(BATCH, Value(2000, "NAME", b"n", ttl=now + 60, ttl_type=TtlType.ABSOLUTE))
    assert (await network.resolve(OWN, BATCH)).ttl == 60
    network.clock.move(61)
    assert (await network.resolve(OWN, BATCH)).ttl == 0


async def test_each_sees_what_is_meant_for_them(network):
    network.put(
        BATCH,
        Value(2000, "NAME", b"n"),
        hidden(2001, FEDERATION),
        hidden(2002, Visibility(Scope.PREFIXES, ("88.5",))),
        hidden(2003, PRIVATE),
    )

    async def seen(principal):
        answer = await network.nodes[OWN].resolver.resolve(Query(BATCH), principal)
        assert (answer.proof.restricted_jws is not None) == (len(answer.record.values) > 1)
        shown = [value.index for value in answer.record.values]
        assert sorted(shown + list(answer.withheld)) == [2000, 2001, 2002, 2003]
        return shown

    assert await seen(somebody(OWN)) == [2000, 2001, 2002, 2003]
    assert await seen(somebody("88.107", Role.OPERATOR)) == [2000, 2001]
    assert await seen(somebody("88.5", Role.NODE)) == [2000, 2001, 2002]


async def test_a_filter_names_only_the_withheld_among_what_was_asked_for(network):
    network.put(BATCH, Value(1, "URL", b"u"), Value(2000, "NAME", b"n"), hidden(2001, PRIVATE))
    answer = await network.resolve(OWN, BATCH, indexes=frozenset({1}))
    assert ([value.index for value in answer.record.values], answer.withheld) == ([1], ())
    answer = await network.resolve(OWN, BATCH, types=("note",))
    assert (answer.record.values, answer.withheld) == ((), (2001,))


async def test_a_withdrawn_record_always_shows_its_tombstone(network):
    network.put(BATCH, Value(1, "URL", b"u"), Value(2000, "NAME", b"n"))
    network.withdraw(BATCH)
    answer = await network.resolve(OWN, BATCH, indexes=frozenset({1}))
    assert answer.outcome is Outcome.WITHDRAWN
    assert [value.index for value in answer.record.values] == [1, 500]
    network.withdraw(BATCH, Status.DELETED)
    answer = await network.resolve(OWN, BATCH)
    assert (answer.outcome, answer.tombstone.reason) == (Outcome.DELETED, "recalled")
    assert [value.index for value in answer.record.values] == [500]


async def test_a_batch_is_one_look_up(network):
    for number in range(100):
        network.put(f"{OWN}/{number}")
    books = network.nodes[OWN].books
    before = books.lookups
    answers = await network.nodes[OWN].resolver.resolve_many([Query(f"{OWN}/{n}") for n in range(100)])
    assert all(answer.outcome is Outcome.FOUND for answer in answers)
    assert books.lookups == before + 1


async def test_single_questions_at_once_share_their_look_ups(network):
    for number in range(200):
        network.put(f"{OWN}/{number}", text=str(number))
    books = network.nodes[OWN].books
    before = books.lookups
    answers = await asyncio.gather(*(network.resolve(OWN, f"{OWN}/{n}") for n in range(200)))
    assert [answer.record.values[0].text for answer in answers] == [str(n) for n in range(200)]
    assert books.lookups - before <= 5


async def test_a_write_that_returned_is_seen_by_the_next_question(network):
    for number in range(50):
        network.put(BATCH, text=str(number))
        answers = await asyncio.gather(*(network.resolve(OWN, BATCH) for _ in range(5)))
        assert {answer.record.values[0].text for answer in answers} == {str(number)}


async def test_a_broken_database_fails_the_answer_and_the_next_one_is_fine(network):
    network.put(BATCH)
    books = network.nodes[OWN].books
    books.broken = True
    assert isinstance((await network.resolve(OWN, BATCH)).error, UnavailableError)
    (answer,) = await network.nodes[OWN].resolver.resolve_many([Query(BATCH)])
    assert isinstance(answer.error, UnavailableError)
    books.broken = False
    assert (await network.resolve(OWN, BATCH)).outcome is Outcome.FOUND


async def test_one_bad_question_does_not_spoil_the_others(network):
    network.put(BATCH)
    answers = await network.nodes[OWN].resolver.resolve_many(
        [Query("88..1/X"), Query(BATCH), Query("88.1/", hops=1), Query(BATCH, hops=10), Query(f"{OWN}/NO")]
    )
    assert [type(answer.error) for answer in answers] == [
        MalformedIdentifierError,
        type(None),
        MalformedIdentifierError,
        LoopError,
        type(None),
    ]
    assert answers[4].outcome is Outcome.NOT_FOUND
    assert answers[4].ttl == 60


async def test_a_missing_copy_of_the_own_prefix_record_is_asked_for_one_tier_up(network):
    network.put("0.NA/88.107.1001", kind="prefix")
    for answer in (
        await network.resolve(OWN, "0.NA/88.107.1001"),
        *(await network.nodes[OWN].resolver.resolve_many([Query("0.NA/88.107.1001")])),
    ):
        assert answer.outcome is Outcome.FOUND
        assert answer.proof.issuer.key == "88.107"
