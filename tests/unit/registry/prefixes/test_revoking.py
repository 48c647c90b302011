"""Revoked keys and lists of keys, between real nodes: made, travelling, taking effect."""

from dataclasses import dataclass, replace

import pytest

from registry.delegation import HomeState, Purpose
from registry.errors import ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError, UntrustedError
from registry.identifier import Prefix
from registry.prefixes.joindesk import Standing
from registry.trust.chain import verify_chain
from registry.trust.historical import read_history
from registry.trust.revocation import LastGood, Reason, Revoked, issue_revocation, read_revocation
from registry.trust.statement import read
from tests.support.prefixes import (
    DAY,
    HOUR,
    MovedClock,
    TestNode,
    a_node,
    admin_of,
    joined,
    operator_of,
)

P = Prefix.parse
PARK, PLANT = P("88.107"), P("88.107.1001")


@dataclass
class Letter:
    """What a judge reads of an envelope."""

    stream: str = "flow"
    epoch: int = 1
    seq: int = 1


@pytest.fixture
def member(tmp_path, clock: MovedClock, park: TestNode) -> TestNode:
    """An enterprise below the park, on its own node."""
    node = a_node(tmp_path, "member", clock)
    joined(park, node, "88.107.1001")
    return node


def code(refused: pytest.ExceptionInfo) -> str:
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.rpartition(".")[2]


def renewed(superior: TestNode, guest: TestNode, prefix: Prefix, **asked) -> Standing:
    """Ask for renewal, and take in the answer."""
    token = guest.prefixes.joining.amendment(prefix, nonce=superior.prefixes.challenge(), **asked)
    standing = superior.prefixes.amend(token)
    guest.prefixes.joining.learn(prefix, standing)
    return standing


def the_list(node: TestNode, issuer: str):
    token = node.prefixes.revoking.revocation(None if issuer == "0.NA" else P(issuer))
    return read_revocation(token) if token else None


def kid_of(node: TestNode, prefix: Prefix) -> str:
    home = node.homes.home(prefix)
    assert home is not None
    return home.kid


# --- made and travelling


def test_upkeep_makes_an_empty_list_that_travels_with_the_standing(top: TestNode, park: TestNode):
    top.prefixes.upkeep()
    renewed(top, park, PARK)
    for issuer in ("88", "0.NA"):
        made = the_list(park, issuer)
        assert made is not None
        assert (made.ver, made.revoked) == (1, ())


def test_a_revoked_key_reaches_the_tiers_below(top: TestNode, park: TestNode, member: TestNode):
    kid = kid_of(park, PARK)
    top.prefixes.revoke_key(operator_of("88"), PARK, kid, reason=Reason.CESSATION, at=top.clock.now() - 60)
    with pytest.raises(UnauthenticatedError):
        renewed(top, park, PARK)
    park.prefixes.joining.learn(PARK, top.prefixes.delegated(PARK))
    found = the_list(park, "88").find(kid)
    assert (found.reason, found.revoked_at) == (Reason.CESSATION, park.clock.now() - 60)
    with pytest.raises(UntrustedError) as refused:
        renewed(park, member, PLANT)
    assert code(refused) == "key_revoked"
    assert the_list(member, "88").find(kid) == found, "kept, though the rest was refused"


def test_lists_are_renewed_before_they_end_and_called_stale_when_they_are_not(top: TestNode, park: TestNode):
    top.prefixes.upkeep()
    renewed(top, park, PARK)
    assert park.prefixes.revoking.stale() == ()
    first = the_list(top, "88")
    top.clock.time += 61 * DAY
    top.prefixes.upkeep()
    assert the_list(top, "88").ver == first.ver + 1
    park.clock.time += 40 * DAY
    assert "88" in park.prefixes.revoking.stale()


def test_a_key_once_revoked_stays_so_whatever_later_lists_say(top: TestNode, park: TestNode):
    kid = kid_of(park, PARK)
    top.prefixes.revoke_key(operator_of("88"), PARK, kid, reason=Reason.CESSATION)
    park.prefixes.joining.learn(PARK, top.prefixes.delegated(PARK))
    signer, _ = top.homes.signer_for(P("88"))
    now = int(park.clock.now())
    ver = the_list(top, "88").ver
    empty = issue_revocation(signer, issuer=P("88"), ver=ver + 1, iat=now, exp=now + DAY, revoked=())
    assert park.prefixes.revoking.take(empty, top.chain("88"))
    assert park.homes.book.find(P("88"), kid) is not None
    with pytest.raises(UntrustedError) as refused:
        park.prefixes.revoking.take(empty.replace(empty[-4:], "AAAA"), top.chain("88"))
    assert code(refused) in ("signature", "jws_alphabet")


def test_fault_05_an_older_list_is_refused_and_passed_over_on_the_way(top: TestNode, park: TestNode):
    top.prefixes.upkeep()
    old = the_list(top, "88")
    top.prefixes.revoke_key(operator_of("88"), PARK, kid_of(park, PARK), reason=Reason.CESSATION)
    standing = top.prefixes.delegated(PARK)
    park.prefixes.joining.learn(PARK, standing)
    with pytest.raises(UntrustedError) as refused:
        park.prefixes.revoking.take(old.token, top.chain("88"))
    assert code(refused) == "list_rolled_back"
    lists = tuple(old.token if read_revocation(t).issuer else t for t in standing.revocations)
    park.prefixes.joining.learn(PARK, replace(standing, revocations=lists))
    assert the_list(park, "88").ver == old.ver + 1


def test_two_lists_of_one_version_are_refused(top: TestNode, park: TestNode):
    top.prefixes.upkeep()
    renewed(top, park, PARK)
    signer, _ = top.homes.signer_for(P("88"))
    now = int(top.clock.now())
    entry = Revoked(kid_of(park, PARK), now, Reason.CESSATION)
    ver = the_list(top, "88").ver
    other = issue_revocation(signer, issuer=P("88"), ver=ver, iat=now, exp=now + DAY, revoked=[entry])
    with pytest.raises(UntrustedError) as refused:
        park.prefixes.revoking.take(other, top.chain("88"))
    assert code(refused) == "list_equivocation"


def test_a_list_of_somebody_outside_the_chain_is_refused(top: TestNode, park: TestNode, member: TestNode):
    top.prefixes.upkeep()
    now = int(top.clock.now())
    signer, _ = member.homes.signer_for(PLANT)
    foreign = issue_revocation(signer, issuer=P("88.200"), ver=1, iat=now, exp=now + DAY, revoked=())
    standing = replace(top.prefixes.delegated(PARK), revocations=(foreign,))
    with pytest.raises(UntrustedError) as refused:
        park.prefixes.joining.learn(PARK, standing)
    assert code(refused) == "list_issuer"


def test_nobody_tells_a_node_about_its_own_lists(top: TestNode, park: TestNode, member: TestNode):
    park.prefixes.upkeep()
    own = the_list(park, "88.107")
    signer, _ = park.homes.signer_for(PARK)
    now = int(park.clock.now())
    forged = issue_revocation(signer, issuer=PARK, ver=999, iat=now, exp=now + DAY, revoked=())
    assert not park.prefixes.revoking.take(forged, park.chain("88.107"))
    assert the_list(park, "88.107") == own


# --- effect


def test_fault_06_a_stolen_key_counts_for_nothing_that_arrives_from_then_on(park: TestNode, member: TestNode):
    kid, chain = kid_of(member, PLANT), member.chain("88.107.1001")
    judge = park.prefixes.revoking.judge()
    judge(chain, kid, Letter())
    park.prefixes.revoke_key(operator_of("88.107"), PLANT, kid)
    for letter in (Letter(), None):
        with pytest.raises(UntrustedError) as refused:
            judge(chain, kid, letter)
        assert code(refused) == "key_revoked"


def test_fault_06_a_rotation_in_peace_loses_nothing_in_flight(park: TestNode, member: TestNode):
    old = kid_of(member, PLANT)
    renewed(park, member, PLANT, rotate=True, last_good=lambda: {"flow": LastGood(1, 1000)})
    assert kid_of(member, PLANT) != old
    chain, judge = member.chain("88.107.1001"), park.prefixes.revoking.judge()
    park.clock.time += 30 * DAY
    for seq in (1, 500, 1000):
        judge(chain, old, Letter(seq=seq))
    for letter in (Letter(seq=1001), Letter(stream="alarm"), Letter(epoch=2)):
        with pytest.raises(UntrustedError):
            judge(chain, old, letter)
    judge(chain, kid_of(member, PLANT), Letter(seq=1001))


def test_a_stolen_key_cannot_ask_for_another_one(park: TestNode, member: TestNode):
    token = member.prefixes.joining.amendment(PLANT, nonce=park.prefixes.challenge(), rotate=True)
    park.prefixes.revoke_key(operator_of("88.107"), PLANT, kid_of(member, PLANT))
    with pytest.raises(UnauthenticatedError) as refused:
        park.prefixes.amend(token)
    assert code(refused) == "amendment_signer"


def test_the_holder_of_a_stolen_key_gets_a_new_one_by_invitation(park: TestNode, member: TestNode):
    stolen = kid_of(member, PLANT)
    park.prefixes.revoke_key(operator_of("88.107"), PLANT, stolen)
    home = joined(park, member, "88.107.1001", purpose=Purpose.REKEY)
    assert home.state is HomeState.ACTIVE
    assert home.kid != stolen
    judge = park.prefixes.revoking.judge()
    judge(member.chain("88.107.1001"), home.kid, Letter())
    with pytest.raises(UntrustedError):
        judge(member.chain("88.107.1001"), stolen, Letter())


def test_a_rotation_after_a_theft_revokes_every_key_that_could_sign(park: TestNode, member: TestNode):
    first = kid_of(member, PLANT)
    renewed(park, member, PLANT, rotate=True)
    second = kid_of(member, PLANT)
    renewed(park, member, PLANT, rotate=True, compromised=True)
    against = the_list(park, "88.107")
    assert {entry.kid for entry in against.revoked} == {first, second}
    assert {entry.reason for entry in against.revoked} == {Reason.COMPROMISE}
    assert [key.kid for key in read(member.homes.chain(PLANT)[0]).keys] == [kid_of(member, PLANT)]


def test_a_stolen_key_of_a_tier_above_brings_the_chain_down_until_it_is_signed_anew(
    top: TestNode, park: TestNode, member: TestNode
):
    stolen = kid_of(park, PARK)
    renewed(top, park, PARK, rotate=True, compromised=True)
    with pytest.raises(UntrustedError):
        verify_chain(
            member.homes.chain(PLANT)[:1] + park.homes.chain(PARK),
            anchor=park.prefixes.anchor(),
            now=park.clock.now(),
        )
    park.prefixes.upkeep()
    renewed(park, member, PLANT)
    chain = member.chain("88.107.1001")
    assert chain.leaf.kid != stolen
    member.prefixes.revoking.judge()(chain, kid_of(member, PLANT), Letter())


def test_a_statement_by_a_revoked_key_raises_no_mark(top: TestNode, park: TestNode, member: TestNode):
    chain = member.homes.chain(PLANT)
    top.prefixes.revoke_key(operator_of("88"), PARK, kid_of(park, PARK))
    with pytest.raises(UntrustedError) as refused:
        verify_chain(chain, anchor=top.prefixes.anchor(), now=top.clock.now(), marks=top.marks)
    assert code(refused) == "key_revoked"


def test_only_an_operator_of_the_parent_revokes(park: TestNode, member: TestNode):
    kid = kid_of(member, PLANT)
    with pytest.raises(ForbiddenError):
        park.prefixes.revoke_key(admin_of("88.107.1001"), PLANT, kid)
    with pytest.raises(NotFoundError):
        park.prefixes.revoke_key(operator_of("88.107"), PLANT, "unknown")
    with pytest.raises(ConflictError):
        park.prefixes.drop_key(operator_of("88.107"), PLANT, kid)


# --- the fast-forward cure


def test_fault_05_versions_a_thief_ran_up_are_forgotten_when_all_keys_were_replaced(
    top: TestNode, park: TestNode, member: TestNode
):
    watcher, chain = top, member.chain("88.107.1001")
    at = watcher.clock.now()
    verify_chain(chain.tokens, anchor=chain.anchor, now=at, marks=watcher.marks)
    watcher.marks.raise_to("88.107", "88.107.1001", 2**53 - 1, "thief")
    with pytest.raises(UntrustedError) as refused:
        verify_chain(chain.tokens, anchor=chain.anchor, now=at, marks=watcher.marks)
    assert code(refused) == "rolled_back"

    renewed(top, park, PARK, rotate=True)
    park.prefixes.upkeep()
    renewed(park, member, PLANT)
    again = member.homes.chain(PLANT)
    with pytest.raises(UntrustedError):  # the old key may still sign: the versions stay
        verify_chain(again, anchor=chain.anchor, now=at, marks=watcher.marks)

    renewed(top, park, PARK, rotate=True, compromised=True)
    park.prefixes.upkeep()
    renewed(park, member, PLANT)
    cured = verify_chain(member.homes.chain(PLANT), anchor=chain.anchor, now=at, marks=watcher.marks)
    assert cured.leaf.ver < 2**53 - 1
    with pytest.raises(UntrustedError):
        verify_chain(chain.tokens, anchor=chain.anchor, now=at, marks=watcher.marks)


# --- every key a prefix had


def keys_of(node: TestNode, prefix: Prefix):
    token = node.prefixes.revoking.history(prefix)
    assert token is not None
    return read_history(token).keys


def test_every_key_ever_used_stays_in_the_signed_list(park: TestNode, member: TestNode):
    used = [kid_of(member, PLANT)]
    for compromised in (False, True, False):
        park.clock.time += DAY
        renewed(park, member, PLANT, rotate=True, compromised=compromised)
        member.prefixes.upkeep()
        used.append(kid_of(member, PLANT))
    for node in (park, member):
        keys = {key.kid: key for key in keys_of(node, PLANT)}
        assert set(keys) == set(used)
        assert keys[used[-1]].exp is None
        assert all(keys[kid].exp is not None for kid in used[:-1])
        assert keys[used[1]].revoked is not None
        assert keys[used[2]].revoked is None


def test_a_key_that_left_its_statement_can_still_be_revoked(park: TestNode, member: TestNode):
    first = kid_of(member, PLANT)
    renewed(park, member, PLANT, rotate=True, compromised=True)
    park.prefixes.revoke_key(operator_of("88.107"), PLANT, first, at=park.clock.now() - DAY)
    entry = the_list(park, "88.107").find(first)
    assert entry.revoked_at == park.clock.now() - DAY


def test_lists_signed_by_a_key_that_was_stolen_are_signed_anew(
    top: TestNode, park: TestNode, member: TestNode
):
    top.prefixes.upkeep()
    park.prefixes.upkeep()
    stolen = kid_of(park, PARK)
    renewed(top, park, PARK, rotate=True, compromised=True)
    park.prefixes.upkeep()
    assert the_list(park, "88.107").kid == kid_of(park, PARK) != stolen
    assert read_history(park.prefixes.revoking.history(PLANT)).kid == kid_of(park, PARK)
    standing = renewed(park, member, PLANT)
    assert len(standing.revocations) == 3


def test_evidence_gets_each_list_with_the_chain_of_its_issuer(
    top: TestNode, park: TestNode, member: TestNode
):
    for node in (top, park):
        node.prefixes.upkeep()
    renewed(top, park, PARK)
    renewed(park, member, PLANT)
    revocations, histories = member.prefixes.revoking.lists(PLANT)
    assert [read_revocation(row.token).issuer_name for row in revocations] == ["88.107", "88", "0.NA"]
    assert [len(row.chain) for row in revocations] == [2, 1, 0]
    assert [read_history(row.token).subject.key for row in histories] == ["88.107.1001", "88.107", "88"]
    assert [len(row.chain) for row in histories] == [2, 1, 0]


def test_a_superior_is_asked_at_least_once_an_hour(top: TestNode, park: TestNode):
    assert park.prefixes.joining.due() == []
    park.clock.time += HOUR
    assert [home.prefix for home in park.prefixes.joining.due()] == [PARK]
    renewed(top, park, PARK)
    assert park.prefixes.joining.due() == []


def test_lists_survive_a_restart(park: TestNode, member: TestNode):
    kid = kid_of(member, PLANT)
    park.prefixes.revoke_key(operator_of("88.107"), PLANT, kid)
    again = park.reopened()
    again.homes.refresh()
    assert again.homes.book.find(PARK, kid) is not None
