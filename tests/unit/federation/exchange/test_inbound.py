import hashlib

import pytest

from federation.exchange import epoch as epochs
from federation.exchange.storage.received import ReceivedUnit
from federation.log.leaf import Leaf
from federation.log.storage import LogUnit
from registry.errors import ConflictError, RateLimitError, UntrustedError
from tests.support.exchange_nodes import Pen, a_desk
from tests.support.exchange_wire import PARK, TREE, WORKS
from tests.support.trust import NOW, a_signer


@pytest.fixture
def park(sqlite_database):
    made = a_desk(sqlite_database)
    made.inbound.introduce(WORKS, TREE.tokens_of("88.107.1001"))
    return made


def announced(*, signer=None, **other):
    content = {
        "iss": WORKS,
        "aud": PARK,
        "stream": "register",
        "old_epoch": 1,
        "last_seq_known": 2,
        "epoch": 2,
        "reason": "store_lost",
        "iat": NOW,
    }
    return epochs.issue(signer or a_signer("88.107.1001"), **{**content, **other})


def test_fault_14_a_new_epoch_opens_with_the_superiors_consent_and_goes_on_from_there(database):
    park, pen = a_desk(database), Pen()
    park.take(pen, pen.many(3))
    statement = announced()
    consent = park.inbound.countersign(WORKS, statement)
    said = epochs.read(statement)
    epochs.require_pair(said, epochs.read_countersignature(consent), PARK)
    assert park.inbound.countersign(WORKS, statement) == consent
    park.inbound.announce(WORKS, statement, consent)
    pen.position = said.start
    assert park.codes(park.take(pen, pen.many(2))) == ["ok", "ok"]
    with park.database.read() as connection:
        log = LogUnit(connection)
        kinds = [Leaf.decode(raw).kind for raw in log.leaves(0, log.size())]
        kept = ReceivedUnit(connection).epochs((WORKS.key, PARK.key, "register"))
    assert kinds == ["in"] * 3 + ["epoch"] + ["in"] * 2
    assert [(row.epoch, row.last_seq_known, row.countersigned) for row in kept] == [(2, 2, consent)]


def test_an_epoch_is_not_opened_twice_nor_out_of_order(park):
    park.inbound.countersign(WORKS, announced())
    for other in (
        announced(last_seq_known=9),
        announced(old_epoch=1, epoch=3),
        announced(old_epoch=3, epoch=4),
    ):
        with pytest.raises(ConflictError):
            park.inbound.countersign(WORKS, other)
    park.inbound.countersign(WORKS, announced(old_epoch=2, epoch=3))


def test_an_epoch_needs_the_senders_own_signature_and_its_superiors(park):
    with pytest.raises(UntrustedError):
        park.inbound.countersign(WORKS, announced(signer=a_signer("88.107")))
    with pytest.raises(UntrustedError):
        park.inbound.countersign(PARK, announced())
    with pytest.raises(UntrustedError):
        park.inbound.countersign(WORKS, announced(aud=WORKS))
    statement = announced()
    said = epochs.read(statement)
    thief = epochs.countersign(a_signer("thief"), said, iss=PARK, iat=NOW)
    own = epochs.countersign(a_signer("88.107.1001"), said, iss=WORKS, iat=NOW)
    for consent in (thief, own):
        with pytest.raises(UntrustedError):
            park.inbound.announce(WORKS, statement, consent)
    good = epochs.countersign(a_signer("88.107"), said, iss=PARK, iat=NOW)
    park.inbound.announce(WORKS, statement, good)
    park.inbound.announce(WORKS, statement, good)


def test_fault_14_the_superior_of_the_sender_consents_whoever_receives(database):
    """A lane from 88.107 down to its child: 88 consents once for each epoch, and opens nothing itself."""
    top = a_desk(database, "88")
    top.inbound.introduce(PARK, TREE.tokens_of("88.107"))
    down = {"signer": a_signer("88.107"), "iss": PARK, "aud": WORKS, "stream": "control"}
    statement = announced(**down)
    consent = top.inbound.countersign(PARK, statement)
    epochs.require_pair(
        epochs.read(statement), epochs.read_countersignature(consent), epochs.read(statement).iss.parent
    )
    assert top.inbound.countersign(PARK, statement) == consent
    for other in ({"last_seq_known": 9}, {"epoch": 3}):
        with pytest.raises(ConflictError):
            top.inbound.countersign(PARK, announced(**down, **other))
    # it may have gone through epochs of which only its mark file knows
    top.inbound.countersign(PARK, announced(**down, old_epoch=4, epoch=5))
    with pytest.raises(ConflictError):
        top.inbound.countersign(PARK, announced(**down, old_epoch=2, epoch=3))
    with pytest.raises(UntrustedError):
        top.inbound.announce(PARK, statement, consent)
    with database.read() as connection:
        log = LogUnit(connection)
        assert [Leaf.decode(raw).kind for raw in log.leaves(0, log.size())] == ["epoch"] * 2
        assert ReceivedUnit(connection).lanes() == []


def test_a_child_that_lost_everything_knows_its_superior_by_its_own_chain(database):
    works = a_desk(database, "88.107.1001")
    statement = announced(signer=a_signer("88.107"), iss=PARK, aud=WORKS, stream="control")
    consent = epochs.countersign(a_signer("88"), epochs.read(statement), iss=PARK.parent, iat=NOW)
    works.inbound.announce(PARK, statement, consent)
    works.inbound.announce(PARK, statement, consent)
    with database.read() as connection:
        row = ReceivedUnit(connection).lane((PARK.key, WORKS.key, "control"))
    assert (row.epoch, row.next_seq) == (2, 1)


def test_nobody_fills_the_disk_with_bodies_that_no_envelope_names(park):
    for number in range(7):
        data = bytes([number]) * (9 * 1024 * 1024)
        park.inbound.put_body(WORKS, hashlib.sha256(data).digest(), data)
    data = b"x" * (9 * 1024 * 1024)
    with pytest.raises(RateLimitError):
        park.inbound.put_body(WORKS, hashlib.sha256(data).digest(), data)
    park.clock.time += 2 * 86_400
    park.inbound.put_body(WORKS, hashlib.sha256(data).digest(), data)
