"""What is known against keys, and the fast-forward cure, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.errors import UntrustedError
from registry.identifier import Prefix
from registry.storage.prefixes import PrefixStore, StoredMarks
from registry.trust.chain import verify_chain
from registry.trust.marks import Act
from registry.trust.revocation import LastGood, Reason, Revoked, issue_revocation, read_revocation
from registry.trust.statement import StatementKey, read
from tests.support.trust import DAY, NOW, a_chain, a_signer, a_statement

PARK = Prefix("88.107")
KID = a_signer("88.107.1001").kid


@pytest.fixture
def store(database):
    return PrefixStore(database)


def a_list(*entries, ver=1):
    token = issue_revocation(
        a_signer("88.107"), issuer=PARK, ver=ver, iat=NOW, exp=NOW + DAY, revoked=entries
    )
    return read_revocation(token)


def act(*keys, kid="k", listed=()):
    return Act(kid=kid, iat=NOW, keys=frozenset(keys), listed=frozenset((*keys, *listed)))


def test_what_lists_say_is_merged_and_never_taken_out(store):
    first = Revoked(KID, NOW, Reason.SUPERSEDED, {"flow": LastGood(2, 9), "alarm": LastGood(1, 1)})
    with store.write() as unit:
        assert unit.trust.put_revocation(a_list(first))
        assert not unit.trust.put_revocation(a_list(first))
    with store.write() as unit:
        later = Revoked(KID, NOW + 5, Reason.SUPERSEDED, {"flow": LastGood(1, 30)})
        assert unit.trust.put_revocation(a_list(later, ver=7))
    with store.write() as unit:
        assert unit.trust.put_revocation(a_list(ver=8))
        with pytest.raises(UntrustedError):
            unit.trust.put_revocation(a_list(first, ver=7))
    with store.read() as unit:
        last = {"alarm": LastGood(0, 0), "flow": LastGood(1, 30)}
        holds = Revoked(KID, NOW, Reason.SUPERSEDED, last)
        assert unit.trust.find_revoked("88.107", KID) == holds
        assert unit.trust.revoked("88.107") == [holds]
        assert unit.trust.revoked("88") == []
        book = unit.trust.book()
    assert book.find(PARK, KID) == holds
    assert book.stale(NOW + DAY + 1) == ("88.107",)


def test_keys_are_remembered_when_they_leave_their_statement(store):
    old, new = (StatementKey.of(a_signer(name), nbf=NOW - DAY) for name in ("old", "new"))
    with store.write() as unit:
        first = read(a_statement("88.107.1001", "88.107", keys=(old,), iat=NOW - DAY))
        assert unit.trust.note_keys(first)
        assert not unit.trust.note_keys(first)
        assert unit.trust.note_keys(read(a_statement("88.107.1001", "88.107", keys=(new,), ver=2, iat=NOW)))
        unit.trust.put_revoked("88.107", Revoked(old.kid, NOW, Reason.COMPROMISE))
    with store.read() as unit:
        keys = {key.kid: key for key in unit.trust.keys(Prefix("88.107.1001"), "88.107")}
    assert (keys[old.kid].exp, keys[old.kid].revoked) == (NOW, NOW)
    assert (keys[new.kid].exp, keys[new.kid].revoked) == (None, None)


def test_fault_05_marks_begin_anew_when_no_old_key_is_left(database):
    marks = StoredMarks(database)
    marks.raise_to("0.NA", "88", 1, "a", act("old"))
    marks.raise_to("88", "88.107", 2**53 - 1, "thief", act("x"))
    marks.raise_to("0.NA", "88", 2, "b", act("new", listed=("old",)))
    with pytest.raises(UntrustedError):
        marks.raise_to("88", "88.107", 3, "good", act("x"))
    marks.raise_to("0.NA", "88", 3, "c", act("newer", listed=("even older",)))
    marks.raise_to("88", "88.107", 3, "good", act("x"))
    with pytest.raises(UntrustedError):
        marks.raise_to("0.NA", "88", 2, "b", act("new"))


def test_marks_of_before_learn_the_keys_with_the_next_look(database):
    marks = StoredMarks(database)
    marks.raise_to("0.NA", "88", 1, "a")
    marks.raise_to("0.NA", "88", 1, "a", act("old"))
    marks.raise_to("88", "88.107", 9, "x")
    marks.raise_to("0.NA", "88", 2, "b", act("new"))
    marks.raise_to("88", "88.107", 1, "y")


def test_after_the_cure_the_next_list_counts_and_what_was_said_stays(database, store):
    marks = StoredMarks(database)
    marks.raise_to("88", "88.107", 1, "a", act("old"))
    entry = Revoked(KID, NOW, Reason.CESSATION)
    with store.write() as unit:
        unit.trust.put_revocation(a_list(entry, ver=2**53 - 1))
    marks.raise_to("88", "88.107", 2, "b", act("new"))
    with store.write() as unit:
        assert unit.trust.put_revocation(a_list(ver=2))
        assert unit.trust.find_revoked("88.107", KID) == entry


def test_a_statement_by_a_revoked_key_is_refused_where_marks_are_kept(database, store):
    marks, chain = StoredMarks(database), a_chain()
    verify_chain(chain.tokens, anchor=chain.anchor, now=NOW, marks=marks)
    with store.write() as unit:
        unit.trust.put_revoked("88", Revoked(a_signer("88.107").kid, NOW, Reason.COMPROMISE))
    with pytest.raises(UntrustedError) as refused:
        verify_chain(chain.tokens, anchor=chain.anchor, now=NOW, marks=marks)
    assert refused.value.code == "registry.trust.key_revoked"
    verify_chain(chain.tokens_of("88.107"), anchor=chain.anchor, now=NOW, marks=marks)


def test_many_threads_see_a_chain_for_the_first_time(database):
    chain = a_chain()

    def look(_):
        marks = StoredMarks(database)
        return verify_chain(chain.tokens, anchor=chain.anchor, now=NOW, marks=marks).leaf.ver

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(look, range(8))) == {1}
