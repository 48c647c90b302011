import os

import pytest

from federation.content.dataset import load_datasets
from federation.content.notices import Alarm, FaultClass, Notices
from federation.content.received import Received
from registry.errors import (
    ConflictError,
    InvalidValueError,
    MalformedIdentifierError,
    NotFoundError,
    NotResponsibleError,
)
from registry.identifier import Prefix
from tests.support.content import a_policy, arrive, entries_of, two_tiers
from tests.support.prefixes import MovedClock, admin_of

PARK, TOP = Prefix("88.107"), Prefix("88")


class Kept:
    """An outbox that keeps drafts in memory; what was rolled back stays, which these tests know."""

    def __init__(self):
        self.drafts = []

    def append(self, connection, draft):
        self.drafts.append(draft)
        return len(self.drafts)


@pytest.fixture
def tiers(tmp_path):
    return two_tiers(tmp_path, MovedClock())


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def notices(tiers, kept):
    park = tiers[1]
    return Notices(
        database=park.database,
        post=kept,
        homes=park.homes,
        datasets=load_datasets(),
        policy=a_policy(),
        clock=park.clock,
        entropy=os.urandom,
    )


def an_alarm(state="raised", **other):
    content = {"id": "A-1", "subject": "88.107/P-1", "state": state, "grade": 1, "at": 7, "more": {}}
    return Alarm(**content | other)


def test_each_state_of_an_alarm_is_a_version_and_the_newest_stands(notices, kept, tiers):
    raised = notices.send_alarm(an_alarm(more={"value": "1.7 MPa", "limit": "1.6 MPa"}))
    cleared = notices.send_alarm(an_alarm("cleared"))
    # never below the present second: after a restore it is still newer than what was told before
    assert 1_700_000_000 < raised < cleared
    assert [(d.stream, d.type, d.schema, d.aud) for d in kept.drafts] == [
        ("alarm", "alarm", "alarm/1", TOP)
    ] * 2
    arrive(tiers[0].database, reversed(kept.drafts))
    received = Received(database=tiers[0].database, datasets=load_datasets())
    (found,) = received.entries(admin_of("88"), "alarm", TOP)
    assert (found.entry.version, found.entry.content["state"]) == (cleared, "cleared")


def test_an_alarm_that_is_none_is_refused_and_not_sent(notices, kept):
    for wrong in ({"state": "odd"}, {"grade": 5}, {"more": {"unknown": 1}}):
        with pytest.raises(InvalidValueError):
            notices.send_alarm(an_alarm(**wrong))
    with pytest.raises(MalformedIdentifierError):
        notices.send_alarm(an_alarm(subject="88..107/P"))
    with pytest.raises(NotResponsibleError):
        notices.send_alarm(an_alarm(subject="88.108/P"))
    assert kept.drafts == []


def test_a_fault_is_followed_by_its_recovery_once(notices, kept):
    fault = notices.fault(PARK, cause="光缆中断", kind=FaultClass.NETWORK)
    recovery = notices.recovered(PARK, fault, cause="已修复")
    first, second = (entry["content"] for entry in entries_of(kept.drafts))
    assert (first["id"], first["kind"], first["fault"], first["class"]) == (fault, "fault", fault, 1)
    assert (second["id"], second["kind"], second["fault"], second["class"]) == (
        recovery,
        "recovery",
        fault,
        1,
    )
    with pytest.raises(ConflictError):
        notices.recovered(PARK, fault, cause="x")
    with pytest.raises(NotFoundError):
        notices.recovered(PARK, "nothing", cause="x")
    with pytest.raises(InvalidValueError):
        notices.fault(PARK, cause="")
    with pytest.raises(NotResponsibleError):
        notices.fault(TOP, cause="x")
