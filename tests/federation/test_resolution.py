"""An identifier is resolved across the tiers, verified at every hop."""

import asyncio
from dataclasses import replace

import pytest

from registry.errors import LoopError, NotResponsibleError, UnavailableError, UntrustedError
from registry.record import Status
from registry.trust.statement import Endpoints, StatementKey
from registry.value import PRIVATE, Value
from resolver.answer import Answer, Outcome, Query, Referral, Source
from resolver.config import ResolverConfig
from tests.support.network import Network, url_of
from tests.support.trust import a_signer

TOP, PARK, OWNER, ASKER = "88", "88.107", "88.107.1001", "88.107.1002"
BATCH = "88.107.1001/BATCH-1"


@pytest.fixture
async def network():
    async with Network(TOP, PARK, OWNER, ASKER) as made:
        yield made


async def test_an_enterprise_resolves_its_neighbours_batch_from_the_top_down(network):
    network.put(BATCH, text="环氧乙烷")
    answer = await network.resolve(ASKER, BATCH, with_chain=True)
    assert answer.outcome is Outcome.FOUND
    assert answer.source is Source.CACHED
    assert answer.record.values[0].text == "环氧乙烷"
    assert network.nodes[ASKER].asked == [TOP, PARK, OWNER]
    assert answer.proof.issuer.key == OWNER
    assert len(answer.proof.chain) == 3


async def test_the_second_question_asks_nobody_and_a_sibling_only_the_owner(network):
    network.put(BATCH)
    network.put("88.107.1001/BATCH-2")
    await network.resolve(ASKER, BATCH)
    network.clock.move(10)
    again = await network.resolve(ASKER, "88.107.1001/batch-1")
    assert (again.source, again.age, again.asked) == (Source.CACHED, 10, "88.107.1001/batch-1")
    await network.resolve(ASKER, "88.107.1001/BATCH-2")
    assert network.nodes[ASKER].asked == [TOP, PARK, OWNER, OWNER]


async def test_the_park_walks_down_from_its_own_delegation(network):
    network.put(BATCH)
    assert (await network.resolve(PARK, BATCH)).outcome is Outcome.FOUND
    assert network.nodes[PARK].asked == [OWNER]


async def test_without_recursion_the_park_refers_and_a_stranger_refuses(network):
    referral = await network.resolve(PARK, BATCH, recurse=False)
    assert referral.outcome is Outcome.REFERRAL
    assert referral.referral.prefix.key == OWNER
    stranger = await network.resolve(ASKER, BATCH, recurse=False)
    assert isinstance(stranger.error, NotResponsibleError)


async def test_a_prefix_hosted_by_the_park_is_answered_by_the_park_under_its_own_key():
    async with Network(TOP, PARK, ASKER, hosts={PARK: ["88.107.1003"]}) as network:
        network.put("88.107.1003/DRUM-1", kind="container")
        answer = await network.resolve(ASKER, "88.107.1003/DRUM-1", with_chain=True)
        assert answer.outcome is Outcome.FOUND
        assert answer.proof.issuer.key == "88.107.1003"
        assert network.nodes[ASKER].asked == [TOP, PARK]


async def test_any_depth_of_tiers_is_walked():
    names = ["88", "88.1", "88.1.2", "88.1.2.3", "88.1.2.3.4", "89"]
    async with Network(*names[:-1]) as network:
        network.put("88.1.2.3.4/X")
        answer = await network.resolve("88", "88.1.2.3.4/X")
        assert answer.outcome is Outcome.FOUND
        assert network.nodes["88"].asked == names[1:-1]


async def test_a_thousand_identifiers_are_asked_in_few_questions(network):
    for number in range(300):
        network.put(f"88.107.1001/B-{number}")
    queries = [Query(f"88.107.1001/B-{number}") for number in range(300)]
    answers = await network.nodes[ASKER].resolver.resolve_many([*queries, Query("88.107.1002/NONE")])
    assert [answer.outcome for answer in answers] == [Outcome.FOUND] * 300 + [Outcome.NOT_FOUND]
    # two questions at each tier; which of them is ahead is nobody's business
    assert sorted(network.nodes[ASKER].asked) == sorted([TOP, TOP, PARK, PARK, OWNER, OWNER])


async def test_a_private_value_never_leaves_its_node_and_is_named_as_withheld(network):
    secret = Value(2001, "NOTE", b"secret", salt=b"s" * 16).seen_as(PRIVATE)
    network.put(BATCH, Value(2000, "NAME", b"n"), secret)
    answer = await network.resolve(ASKER, BATCH)
    assert [value.index for value in answer.record.values] == [2000]
    assert answer.withheld == (2001,)


async def test_types_and_indexes_are_chosen_from_what_is_remembered(network):
    network.put(BATCH, Value(1, "URL", b"u"), Value(2, "URL.SDS", b"s"), Value(3, "NAME", b"n"))
    await network.resolve(ASKER, BATCH)
    family = await network.resolve(ASKER, BATCH, types=("url.",))
    assert [value.index for value in family.record.values] == [1, 2]
    both = await network.resolve(ASKER, BATCH, types=("URL",), indexes=frozenset({3}))
    assert [value.index for value in both.record.values] == [1, 3]
    assert len(network.nodes[ASKER].asked) == 3


# --- not found ------------------------------------------------------------------------------------------------


async def test_not_found_is_remembered_for_its_time_and_purged_by_asking_the_owner(network):
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.NOT_FOUND
    network.put(BATCH)
    again = await network.resolve(ASKER, BATCH)
    assert (again.outcome, again.source) == (Outcome.NOT_FOUND, Source.CACHED)
    assert (await network.resolve(ASKER, BATCH, authoritative=True)).outcome is Outcome.FOUND
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FOUND


async def test_not_found_is_asked_again_after_its_time(network):
    await network.resolve(ASKER, BATCH)
    network.put(BATCH)
    network.clock.move(ResolverConfig().negative_ttl_seconds + 1)
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FOUND


# --- silence --------------------------------------------------------------------------------------------------


async def test_a_silent_owner_is_a_failure_and_never_not_found(network):
    network.put(BATCH)
    network.stop(OWNER)
    answer = await network.resolve(ASKER, BATCH)
    assert answer.outcome is Outcome.FAILED
    assert isinstance(answer.error, UnavailableError)


async def test_the_last_answer_is_given_marked_while_the_owner_is_away_and_fresh_when_it_returns(network):
    network.put(BATCH, text="old")
    await network.resolve(ASKER, BATCH)
    network.stop(OWNER)
    network.clock.move(200)  # no longer fresh: half of the 300 s of a batch
    stale = await network.resolve(ASKER, BATCH)
    assert (stale.outcome, stale.source, stale.age) == (Outcome.FOUND, Source.STALE, 200)
    network.put(BATCH, text="new")
    network.start(OWNER)
    network.clock.move(31)
    fresh = await network.resolve(ASKER, BATCH)
    assert (fresh.source, fresh.age, fresh.record.values[0].text) == (Source.CACHED, 0, "new")


async def test_a_batch_is_never_given_older_than_five_minutes(network):
    network.put(BATCH)
    await network.resolve(ASKER, BATCH)
    network.stop(OWNER)
    network.clock.move(299)
    assert (await network.resolve(ASKER, BATCH)).source is Source.STALE
    network.clock.move(2)
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FAILED


async def test_a_substance_may_be_stale_for_longer(network):
    network.put("88.107.1001/CAS-1", kind="substance", ttl=60)
    await network.resolve(ASKER, "88.107.1001/CAS-1")
    network.stop(OWNER)
    network.clock.move(7200)
    assert (await network.resolve(ASKER, "88.107.1001/CAS-1")).source is Source.STALE


async def test_asking_past_the_cache_gives_the_mark_when_the_owner_is_away(network):
    network.put(BATCH)
    first = await network.resolve(ASKER, BATCH, authoritative=True)
    assert first.source is Source.AUTHORITATIVE
    network.stop(OWNER)
    assert (await network.resolve(ASKER, BATCH, authoritative=True)).source is Source.STALE


async def test_what_is_known_to_be_withdrawn_is_never_given_stale(network):
    network.put(BATCH)
    network.withdraw(BATCH)
    seen = await network.resolve(ASKER, BATCH)
    assert (seen.outcome, seen.tombstone.reason) == (Outcome.WITHDRAWN, "recalled")
    network.stop(OWNER)
    network.clock.move(200)
    answer = await network.resolve(ASKER, BATCH)
    assert answer.outcome is Outcome.FAILED
    assert "withdrawn" in str(answer.error)


async def test_a_slow_owner_does_not_hold_up_who_has_a_stale_answer(network):
    network.put(BATCH)
    await network.resolve(ASKER, BATCH)
    network.clock.move(200)
    gate = network.hold(OWNER)
    asked = asyncio.create_task(network.resolve(ASKER, BATCH))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not asked.done()
    network.clock.move(1.8)
    assert (await asked).source is Source.STALE
    gate.set()


async def test_a_silent_top_does_not_matter_once_the_way_is_known(network):
    network.put(BATCH)
    await network.resolve(ASKER, BATCH)
    network.stop(TOP)
    network.stop(PARK)
    network.clock.move(3600)  # the delegation should be asked for again, but cannot
    network.put(BATCH, text="new")
    answer = await network.resolve(ASKER, BATCH)
    assert (answer.outcome, answer.record.values[0].text) == (Outcome.FOUND, "new")


async def test_a_partition_fails_one_pair_only(network):
    network.put(BATCH)
    network.partition(ASKER, OWNER)
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FAILED
    assert (await network.resolve(PARK, BATCH)).outcome is Outcome.FOUND
    network.heal(ASKER, OWNER)
    network.clock.move(31)
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FOUND


async def test_a_failing_endpoint_is_left_alone_for_longer_each_time(network):
    network.stop(TOP)
    for _ in range(20):
        await network.resolve(ASKER, BATCH)
        network.clock.move(0.5)
    assert len(network.nodes[ASKER].asked) == 4  # at 0, 1, 3 and 7 seconds


# --- one question at a time -----------------------------------------------------------------------------------


async def test_many_who_ask_the_same_at_once_cost_one_question(network):
    network.put(BATCH)
    answers = await asyncio.gather(*(network.resolve(ASKER, BATCH) for _ in range(50)))
    assert {answer.outcome for answer in answers} == {Outcome.FOUND}
    assert network.nodes[ASKER].asked == [TOP, PARK, OWNER]


async def test_who_gives_up_waiting_does_not_take_the_answer_from_the_others(network):
    network.put(BATCH)
    gate = network.hold(OWNER)
    first = asyncio.create_task(network.resolve(ASKER, BATCH))
    second = asyncio.create_task(network.resolve(ASKER, BATCH))
    await asyncio.sleep(0.02)
    first.cancel()
    gate.set()
    assert (await second).outcome is Outcome.FOUND


async def test_a_popular_answer_is_fetched_again_before_it_ends(network):
    network.put(BATCH, text="old")
    await network.resolve(ASKER, BATCH)
    network.put(BATCH, text="new")
    network.clock.move(144)  # the last tenth of 150 s begins at 135 s, moved to 142.5 s by chance
    assert (await network.resolve(ASKER, BATCH)).record.values[0].text == "old"
    while len(network.nodes[ASKER].asked) < 4:
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.05)
    answer = await network.resolve(ASKER, BATCH)
    assert (answer.record.values[0].text, answer.age) == ("new", 0)


# --- lies -----------------------------------------------------------------------------------------------------


async def refused(network, identifier=BATCH, at=ASKER):
    answer = await network.resolve(at, identifier)
    assert answer.outcome is Outcome.FAILED
    assert isinstance(answer.error, UntrustedError), answer.error
    return answer.error.code


async def test_a_changed_value_is_refused(network):
    network.put(BATCH)

    def change(_, answer):
        values = tuple(replace(value, data=b"harmless") for value in answer.record.values)
        return replace(answer, record=replace(answer.record, values=values))

    network.tamper(OWNER, change)
    assert await refused(network) == "registry.trust.value_bad"


async def test_a_value_left_out_is_refused(network):
    network.put(BATCH, Value(2000, "NAME", b"n"), Value(2001, "HAZARD", b"toxic"))
    network.tamper(OWNER, lambda _, a: replace(a, record=replace(a.record, values=a.record.values[:1])))
    assert await refused(network) == "resolver.walk.left_out"


async def test_a_withdrawal_hidden_behind_the_old_answer_shows(network):
    network.put(BATCH)
    old = await network.resolve(OWNER, BATCH, with_chain=True)
    network.withdraw(BATCH)
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.WITHDRAWN
    network.clock.move(3600)
    network.tamper(OWNER, lambda _, answer: old)
    assert await refused(network) == "resolver.walk.replayed"


async def test_a_record_that_was_seen_cannot_vanish(network):
    network.put(BATCH)
    await network.resolve(ASKER, BATCH)
    network.clock.move(3600)
    network.tamper(OWNER, lambda query, _: Answer(query.identifier, Outcome.NOT_FOUND, ttl=60))
    assert await refused(network) == "resolver.walk.vanished"


async def test_a_deleted_record_answers_with_its_tombstone(network):
    network.put(BATCH)
    network.withdraw(BATCH, Status.DELETED)
    answer = await network.resolve(ASKER, BATCH)
    assert (answer.outcome, answer.tombstone.state) == (Outcome.DELETED, "deleted")
    assert [value.index for value in answer.record.values] == [500]


async def test_a_withdrawn_record_shown_as_active_is_refused(network):
    network.put(BATCH)
    network.withdraw(BATCH)

    def change(_, answer):
        record = replace(answer.record, status=Status.ACTIVE)
        return replace(answer, record=record, outcome=Outcome.FOUND)

    network.tamper(OWNER, change)
    assert await refused(network) == "registry.trust.record_frame"


async def test_the_record_of_another_identifier_is_refused(network):
    network.put(BATCH)
    network.put("88.107.1001/BATCH-2")
    other = await network.resolve(OWNER, "88.107.1001/BATCH-2", with_chain=True)
    network.tamper(OWNER, lambda query, _: other.asked_as(query.identifier))
    assert await refused(network) == "registry.trust.record_subject"


async def test_a_record_signed_by_a_neighbour_is_refused(network):
    network.put(BATCH, signer=ASKER)
    forged = network.nodes[ASKER].books.kept[BATCH]
    network.nodes[OWNER].books.put(forged)
    network.nodes[OWNER].books.chains[ASKER] = network.nodes[ASKER].books.chains[ASKER]
    assert (await network.resolve(PARK, BATCH)).error.code == "resolver.walk.signed_above"


async def test_a_superior_cannot_answer_with_its_own_signature_for_what_it_delegated(network):
    network.put(BATCH, signer=PARK)
    own = network.nodes[PARK].books.kept[BATCH]
    network.nodes[OWNER].books.put(own)
    network.nodes[OWNER].books.chains[PARK] = network.nodes[PARK].books.chains[PARK]
    assert await refused(network) == "resolver.walk.signed_above"


async def test_an_answer_without_proof_is_refused(network):
    network.put(BATCH)
    network.tamper(OWNER, proof=None)
    assert await refused(network) == "resolver.walk.unproven"


async def test_if_one_endpoint_lies_or_is_silent_the_next_is_asked():
    statements = {OWNER: {"endpoints": Endpoints(resolve=(url_of("gone"), url_of("liar"), url_of(OWNER)))}}
    async with Network(TOP, PARK, OWNER, ASKER, statements=statements) as network:
        network.put(BATCH)
        liar = network.add_node("liar", books=network.nodes[OWNER].books)
        liar.tamper = lambda _, answer: replace(answer, proof=None)
        assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FOUND
        assert network.nodes[ASKER].asked == [TOP, PARK, "gone", "liar", OWNER]


async def test_a_referral_that_leads_up_or_elsewhere_is_refused(network):
    network.put(BATCH)
    up = network.nodes[PARK].books.chains[PARK]
    circle = replace(
        await network.resolve(PARK, BATCH, recurse=False),
        referral=Referral(network.record(BATCH).identifier.prefix.parent, up),
    )
    network.tamper(OWNER, lambda *_: circle)
    answer = await network.resolve(ASKER, BATCH)
    assert isinstance(answer.error, LoopError)
    elsewhere = await network.resolve(PARK, "88.107.1002/X", recurse=False)
    network.tamper(PARK, lambda query, _: elsewhere.asked_as(query.identifier))
    network.clock.move(3600)
    assert await refused(network, "88.107.1001/BATCH-9") == "resolver.walk.not_covered"


async def test_an_endpoint_that_lags_behind_is_passed_over_for_one_that_does_not():
    statements = {OWNER: {"endpoints": Endpoints(resolve=(url_of("lagging"), url_of(OWNER)))}}
    async with Network(TOP, PARK, OWNER, ASKER, statements=statements) as network:
        network.put(BATCH)
        first = await network.resolve(OWNER, BATCH, with_chain=True)
        lagging = network.add_node("lagging", books=network.nodes[OWNER].books)
        network.withdraw(BATCH)
        assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.WITHDRAWN
        for lie in (first, Answer(BATCH, Outcome.NOT_FOUND, ttl=60)):
            lagging.tamper = lambda *_, lie=lie: lie
            network.clock.move(3600)
            assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.WITHDRAWN


async def test_not_found_from_somebodys_cache_is_not_believed(network):
    network.tamper(OWNER, source=Source.CACHED)
    assert await refused(network) == "resolver.walk.hearsay"


async def test_a_private_value_that_another_node_shows_is_not_taken(network):
    secret = Value(2001, "NOTE", b"secret", salt=b"s" * 16).seen_as(PRIVATE)
    whole = network.put(BATCH, Value(2000, "NAME", b"n"), secret)
    network.tamper(OWNER, lambda _, a: replace(a, record=replace(a.record, values=whole.values), withheld=()))
    answer = await network.resolve(ASKER, BATCH)
    assert [value.index for value in answer.record.values] == [2000]
    assert answer.withheld == (2001,)


# --- delegations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["suspended", "revoked"])
async def test_a_prefix_that_is_suspended_or_revoked_is_refused(network, state):
    network.put(BATCH)
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FOUND
    network.delegate(OWNER, state=state, ver=2, perms=())
    network.clock.move(400)
    assert await refused(network) == f"registry.trust.state_{state}"


async def test_an_older_delegation_does_not_come_back(network):
    network.put(BATCH)
    old = network.nodes[PARK].books.delegated[OWNER]
    network.delegate(OWNER, ver=2)
    await network.resolve(ASKER, BATCH)
    network.nodes[PARK].books.delegated[OWNER] = old
    network.nodes[OWNER].books.chains[OWNER] = old
    network.clock.move(400)
    assert await refused(network) == "registry.trust.rolled_back"


async def test_a_forged_delegation_is_refused(network):
    network.put(BATCH)
    network.delegate(OWNER, signer=a_signer("mallory"))
    assert await refused(network) == "registry.trust.kid_unknown"


async def test_a_delegation_wider_than_its_superiors_is_refused(network):
    network.put(BATCH)
    network.delegate(PARK, algs=("Ed25519",))
    assert await refused(network) == "registry.trust.wider_algs"


@pytest.mark.parametrize("later", [20, 200])
async def test_answers_under_a_delegation_that_was_taken_back_are_not_given_fresh_or_stale(later):
    async with Network(TOP, PARK, OWNER, ASKER, config=ResolverConfig(delegation_seconds=10)) as network:
        for name in (BATCH, "88.107.1001/BATCH-2"):
            network.put(name)
            await network.resolve(ASKER, name)
        network.delegate(OWNER, state="revoked", ver=2, perms=())
        network.clock.move(later)
        await network.resolve(ASKER, "88.107.1001/BATCH-3")
        network.stop(TOP)
        network.stop(PARK)
        assert (await network.resolve(ASKER, "88.107.1001/BATCH-2")).outcome is Outcome.FAILED


async def test_a_tier_above_renews_and_nobody_below_is_cut_off():
    """The owner still shows its old chain; what was fetched before stays good, also when it is stale."""
    async with Network(TOP, PARK, OWNER, ASKER, config=ResolverConfig(delegation_seconds=10)) as network:
        for name in (BATCH, "88.107.1001/BATCH-2"):
            network.put(name)
        await network.resolve(ASKER, BATCH)
        old = network.nodes[OWNER].books.chains[OWNER]
        network.delegate(PARK, ver=2)
        network.nodes[OWNER].books.chains[OWNER] = old
        network.clock.move(20)
        answer = await network.resolve(ASKER, "88.107.1001/BATCH-2", with_chain=True)
        assert answer.outcome is Outcome.FOUND
        assert answer.proof.chain == network.nodes[PARK].books.delegated[OWNER]
        assert (await network.resolve(ASKER, BATCH)).source is Source.CACHED
        network.stop(OWNER)
        network.clock.move(180)
        assert (await network.resolve(ASKER, BATCH)).source is Source.STALE


async def test_a_key_that_was_taken_back_signs_nothing_new_and_nothing_old():
    async with Network(TOP, PARK, OWNER, ASKER, config=ResolverConfig(delegation_seconds=10)) as network:
        network.put(BATCH)
        await network.resolve(ASKER, BATCH)
        old = network.nodes[OWNER].books.chains[OWNER]
        network.delegate(OWNER, ver=2, keys=(StatementKey.of(a_signer("new key"), nbf=0),))
        network.nodes[OWNER].books.chains[OWNER] = old
        network.clock.move(20)
        network.put("88.107.1001/BATCH-2")
        # it shows the statement that allowed the key, which is remembered as one that held
        assert await refused(network, "88.107.1001/BATCH-2") == "registry.trust.kid_unknown"
        assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FAILED


async def test_new_endpoints_are_found(network):
    network.put(BATCH)
    await network.resolve(ASKER, BATCH)
    network.add_node("moved", books=network.nodes[OWNER].books)
    network.stop(OWNER)
    network.delegate(OWNER, ver=2, endpoints=Endpoints(resolve=(url_of("moved"),)))
    network.clock.move(400)
    assert (await network.resolve(ASKER, BATCH)).outcome is Outcome.FOUND


async def test_new_endpoints_are_found_soon_when_nobody_answers_at_the_old_ones(network):
    network.put(BATCH)
    network.put("88.107.1001/BATCH-2")
    await network.resolve(ASKER, BATCH)
    network.add_node("moved", books=network.nodes[OWNER].books)
    network.stop(OWNER)
    network.delegate(OWNER, ver=2, endpoints=Endpoints(resolve=(url_of("moved"),)))
    network.clock.move(11)
    asker = network.nodes[ASKER]
    before = len(asker.asked)
    assert (await network.resolve(ASKER, "88.107.1001/BATCH-2")).outcome is Outcome.FOUND
    assert asker.asked[before:] == [OWNER, PARK, "moved"]


async def test_the_superior_of_one_who_is_away_is_asked_about_him_once_in_a_while_only(network):
    network.put(BATCH)
    await network.resolve(ASKER, BATCH)
    network.stop(OWNER)
    asker = network.nodes[ASKER]
    asked = []
    for number in range(30):
        network.clock.move(1)
        before = len(asker.asked)
        answer = await network.resolve(ASKER, f"88.107.1001/OTHER-{number}")
        assert isinstance(answer.error, UnavailableError)
        asked += [name for name in asker.asked[before:] if name != OWNER]
    assert set(asked) == {PARK}
    assert 1 <= len(asked) <= 3


async def test_a_question_that_passed_ten_tiers_is_refused(network):
    answer = await network.resolve(ASKER, BATCH, hops=10)
    assert isinstance(answer.error, LoopError)


async def test_a_prefix_that_merely_begins_alike_is_not_covered():
    async with Network("88", "88.1", "88.10") as network:
        network.put("88.10/X")
        wrong = await network.resolve("88", "88.1/X", recurse=False)
        network.tamper("88", lambda query, _: wrong.asked_as(query.identifier))
        assert await refused(network, "88.10/X", at="88.1") == "resolver.walk.not_covered"
