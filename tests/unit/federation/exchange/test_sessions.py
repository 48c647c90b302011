import pytest

from registry.errors import (
    ConflictError,
    ForbiddenError,
    MalformedError,
    NotResponsibleError,
    UnauthenticatedError,
)
from registry.identifier import Prefix
from registry.trust.statement import StatementKey
from tests.support.exchange_nodes import a_desk, a_session_form
from tests.support.exchange_wire import WORKS
from tests.support.trust import DAY, NOW, a_chain, a_signer


@pytest.fixture
def park(sqlite_database):
    return a_desk(sqlite_database)


def test_a_node_proves_its_prefix_and_learns_what_is_understood(park):
    opened = park.sessions.open(a_session_form())
    assert opened.token == "token of 88.107.1001 1"
    assert opened.understands["note"] == ["note/1"]
    assert opened.credit == park.receiver.credit
    assert opened.to_form()["expires_in"] == 300
    assert park.sessions.fence(WORKS) == 1
    assert park.chains.newest(WORKS) is not None


def test_a_nonce_is_good_once(park):
    form = a_session_form()
    park.sessions.open(form)
    with pytest.raises(UnauthenticatedError):
        park.sessions.open(form)


@pytest.mark.parametrize(
    "changed",
    [
        {"prefix": "88..1"},
        {"prefix": None},
        {"instance": "short"},
        {"instance": 7},
        {"fence": -1},
        {"fence": "1"},
        {"chain": []},
        {"chain": ["x"] * 9},
        {"chain": "x"},
        {"possession": 1},
    ],
)
def test_a_form_that_cannot_be_read_is_refused(park, changed):
    with pytest.raises(MalformedError):
        park.sessions.open(a_session_form(changed=changed))


def test_fault_02_no_session_without_possession_of_the_key(park):
    with pytest.raises(UnauthenticatedError):
        park.sessions.open(a_session_form(signer=a_signer("thief")))
    with pytest.raises(UnauthenticatedError):
        park.sessions.open(a_session_form(changed={"possession": "a.b.c"}))
    assert park.sessions.fence(WORKS) is None


def test_a_proof_for_another_node_opens_nothing_here(park):
    with pytest.raises(NotResponsibleError):
        park.sessions.open(a_session_form(audience="88"))


def test_a_proof_made_long_ago_opens_nothing(park):
    form = a_session_form()
    park.clock.time += 3600
    with pytest.raises(UnauthenticatedError):
        park.sessions.open(form)


def test_a_chain_about_somebody_else_or_one_that_does_not_hold_opens_nothing(park):
    with pytest.raises(UnauthenticatedError):
        park.sessions.open(a_session_form("88.107.1001", changed={"prefix": "88.107.1002"}))
    wide = a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": {"exp": NOW + 9000 * DAY}})
    with pytest.raises(UnauthenticatedError):
        park.sessions.open(a_session_form(tree=wide))


def test_a_suspended_prefix_gets_no_session(sqlite_database):
    tree = a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": {"state": "suspended"}})
    park = a_desk(sqlite_database, tree=tree)
    with pytest.raises(ForbiddenError):
        park.sessions.open(a_session_form(tree=tree))


def test_whoever_is_not_above_or_below_has_nothing_to_exchange(sqlite_database):
    tree = a_chain("88", "88.107", "88.107.1001")
    park = a_desk(sqlite_database, "88.108", tree=tree)
    with pytest.raises(ForbiddenError):
        park.sessions.open(a_session_form(audience="88.108"))


def test_fault_16_of_two_copies_only_the_one_with_the_greater_fence_talks(database):
    park = a_desk(database)
    park.sessions.open(a_session_form(instance=b"a" * 16, fence=3))
    park.sessions.open(a_session_form(instance=b"a" * 16, fence=3))
    for fence in (1, 3):
        with pytest.raises(ConflictError):
            park.sessions.open(a_session_form(instance=b"b" * 16, fence=fence))
    with pytest.raises(ConflictError):
        park.sessions.open(a_session_form(instance=b"a" * 16, fence=2))
    park.sessions.open(a_session_form(instance=b"b" * 16, fence=4))
    with pytest.raises(ConflictError):
        park.sessions.open(a_session_form(instance=b"a" * 16, fence=3))
    assert park.sessions.fence(WORKS) == 4


def test_after_a_hand_over_with_a_new_key_the_numbers_begin_anew(sqlite_database):
    park = a_desk(sqlite_database)
    park.sessions.open(a_session_form(instance=b"a" * 16, fence=17))
    new = a_signer("new key")
    tree = a_chain(
        "88",
        "88.107",
        "88.107.1001",
        changed={"88.107.1001": {"ver": 2, "keys": (StatementKey.of(new, nbf=NOW - 3600),)}},
    )
    park.sessions.open(a_session_form(tree=tree, signer=new, instance=b"b" * 16, fence=1))
    assert park.sessions.fence(WORKS) == 1
    with pytest.raises(UnauthenticatedError):
        park.sessions.open(a_session_form(instance=b"a" * 16, fence=18))


def test_a_prefix_that_never_came_has_no_fence(park):
    assert park.sessions.fence(Prefix.parse("88.107.9")) is None
