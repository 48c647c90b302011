import pytest

from federation.log.checkpoint import Checkpoint, sign_checkpoint
from federation.log.forks import ForkWatch, View, compare
from federation.log.merkle import EMPTY_ROOT, consistency, root
from federation.log.storage import WitnessUnit
from registry.errors import InvalidValueError, UntrustedError
from tests.support.log import (
    LOG_KEY,
    LOG_SIGNER,
    ORIGIN,
    ListHashes,
    SteppingClock,
    a_log_signer,
    entry_hashes,
)

HASHES = entry_hashes(20)
FORGED = [HASHES[10], *HASHES[1:]]


def at(size, hashes=HASHES):
    return Checkpoint(ORIGIN, size, root(hashes[:size]) if size else EMPTY_ROOT)


def signed(size, hashes=HASHES):
    return sign_checkpoint(at(size, hashes), LOG_SIGNER).encode()


def proof(old, size, hashes=HASHES):
    return consistency(ListHashes(hashes), old, size)


def test_views_are_compared():
    assert compare(ORIGIN, at(5), at(5)) is View.SAME
    assert compare(ORIGIN, at(5), at(5, FORGED)) is View.FORK
    assert compare(ORIGIN, at(5), at(9), proof(5, 9)) is View.CONSISTENT
    assert compare(ORIGIN, at(9), at(5), proof(5, 9)) is View.CONSISTENT
    assert compare(ORIGIN, at(0), at(5)) is View.CONSISTENT
    assert compare(ORIGIN, at(5), at(9)) is View.UNPROVEN
    assert compare(ORIGIN, at(5), at(9, FORGED), proof(5, 9, FORGED)) is View.UNPROVEN
    with pytest.raises(InvalidValueError):
        compare("other/log1", at(5), at(9))


@pytest.fixture
def watch(database):
    alarms = []
    made = ForkWatch(database, SteppingClock(), alarms.append)
    made.alarms = alarms
    return made


def test_a_log_is_followed_from_checkpoint_to_checkpoint(watch):
    assert watch.last(ORIGIN) is None
    watch.accept(signed(5), [LOG_KEY], (), via="head")
    watch.accept(signed(9), [LOG_KEY], proof(5, 9), via="head")
    watch.accept(signed(9), [LOG_KEY], (), via="head")
    watch.accept(signed(7), [LOG_KEY], proof(7, 9), via="proof")
    assert watch.last(ORIGIN) == (9, root(HASHES[:9]))
    with pytest.raises(UntrustedError):
        watch.accept(signed(12), [LOG_KEY], (), via="head")
    with pytest.raises(UntrustedError):
        watch.accept(signed(12, FORGED), [LOG_KEY], proof(9, 12, FORGED), via="head")
    assert watch.last(ORIGIN) == (9, root(HASHES[:9]))
    assert watch.forks() == []


def test_fault_20_two_children_who_compare_see_the_fork(watch):
    # what the first child was told, then what a sibling shows of what it was told
    watch.accept(signed(9), [LOG_KEY], (), via="superior")
    with pytest.raises(UntrustedError) as refused:
        watch.see(signed(9, FORGED), [LOG_KEY], via="sibling")
    assert refused.value.code == "federation.log.fork"
    (fork,) = watch.forks()
    assert watch.alarms == [fork]
    assert {fork.first, fork.second} == {signed(9), signed(9, FORGED)}
    with pytest.raises(UntrustedError):
        watch.see(signed(9), [LOG_KEY], via="superior")
    assert len(watch.forks()) == 1


def test_what_the_log_did_not_sign_is_no_evidence(watch):
    watch.see(signed(9), [LOG_KEY], via="superior")
    forged = sign_checkpoint(at(9, FORGED), a_log_signer("thief")).encode()
    with pytest.raises(UntrustedError):
        watch.see(forged, [LOG_KEY], via="sibling")
    assert watch.forks() == []


def test_not_everything_is_remembered_for_ever(sqlite_database):
    with sqlite_database.write() as connection:
        unit = WitnessUnit(connection)
        for size in range(1, 1010):
            unit.saw(ORIGIN, size, bytes(32), b"note", via="x", at=1)
        assert unit.seen_at(ORIGIN, 1) == []
        assert unit.seen_at(ORIGIN, 10) != []
        assert unit.last_seen(ORIGIN) == (1009, bytes(32), b"note")
