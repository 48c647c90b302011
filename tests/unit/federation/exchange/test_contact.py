"""Alarms when a link comes and goes, by a clock whose pauses end when the test says so."""

import asyncio

import pytest

from federation.exchange.contact import Contact, RightOfWay
from federation.exchange.storage.sending import LaneName
from registry.errors import UnavailableError
from tests.support.exchange_pair import PARK, WORKS, until

ALARM = LaneName(WORKS, PARK, "alarm")


class HandClock:
    """Its time is what was slept; the longest pauses go on until `end` is called."""

    def __init__(self):
        self.time = 1_000.0
        self.pauses = []
        self._ends = []

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        end = asyncio.Event()
        self._ends.append((seconds, end))
        await end.wait()

    def end(self):
        """End every pause there is."""
        ends, self._ends = self._ends, []
        self.time += max((seconds for seconds, _ in ends), default=0.0)
        for _, end in ends:
            end.set()


class APeer:
    """Answers what the test puts there: True, False, or nothing at all."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = self.given_up = 0

    async def alive(self):
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        return answer


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
async def contact(clock):
    told = []
    made = Contact(clock=clock, returned=told.append)
    made.told = told
    yield made
    await made.close()


async def turned():
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_is_silent_is_asked_again_and_again_until_there_is_an_answer(contact, clock):
    peer = APeer(False, False, False, True)
    contact.look_for(ALARM, peer, lambda: 1)
    await turned()
    for _ in range(2):
        assert contact.told == []
        clock.end()
        await turned()
    assert (contact.told, peer.asked) == ([PARK], 4)


async def test_a_question_into_the_void_holds_up_no_other(contact, clock):
    peer = APeer(False, None, None, True)
    contact.look_for(ALARM, peer, lambda: 1)
    await turned()
    for _ in range(2):
        clock.end()
        await turned()
    assert (contact.told, peer.asked) == ([PARK], 4)
    assert peer.given_up == 2


async def test_nobody_is_asked_any_more_when_nobody_wants_to_know(contact, clock):
    wanted = [1]
    peer = APeer(False, False, False)
    contact.look_for(ALARM, peer, lambda: wanted[0])
    await turned()
    wanted[0] = 0
    clock.end()
    await turned()
    assert (contact.told, peer.asked) == ([], 2)


async def test_two_lanes_to_one_receiver_do_not_ask_twice(contact):
    peer = APeer(None)
    contact.look_for(ALARM, peer, lambda: 1)
    contact.look_for(ALARM, peer, lambda: 1)
    await turned()
    assert peer.asked == 1


async def test_what_gets_lost_on_a_link_that_is_there_is_tried_again_after_ever_longer_pauses(contact, clock):
    for failures in (1, 2, 3, 30):
        contact.look_for(ALARM, APeer(True), lambda failures=failures: failures)
        await turned()
        clock.end()
        await turned()
    assert contact.told == [PARK] * 4
    assert clock.pauses == sorted(set(clock.pauses))
    assert clock.pauses[-1] == 30


async def test_an_answer_is_returned_and_a_failure_raised(contact):
    async def answer():
        return 7

    async def fail():
        raise UnavailableError("federation.exchange_sending.unreachable", url="", reason="")

    assert await contact.answered(APeer(), answer()) == 7
    with pytest.raises(UnavailableError):
        await contact.answered(APeer(), fail())


async def hang(ended):
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(True)


async def test_a_request_that_hangs_is_given_up_when_the_link_was_lost_and_is_back(contact, clock):
    ended = []
    peer = APeer(True, False, False, True)
    asking = asyncio.ensure_future(contact.answered(peer, hang(ended)))
    for _ in range(8):
        await turned()
        clock.end()
    with pytest.raises(UnavailableError) as refused:
        await asking
    assert refused.value.code.endswith("cut_off")
    assert (ended, peer.asked) == ([True], 4)


async def test_a_receiver_that_is_slow_and_gives_signs_of_life_is_waited_for(contact, clock):
    ended = []
    asking = asyncio.ensure_future(contact.answered(APeer(*[True] * 50), hang(ended)))
    for _ in range(20):
        await turned()
        clock.end()
    assert not asking.done()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert ended == [True]


async def test_everything_else_waits_while_an_alarm_is_on_its_way(clock):
    way = RightOfWay(clock=clock)
    way.take(ALARM)
    bulk = asyncio.ensure_future(way.give(PARK))
    await turned()
    assert not bulk.done()
    # another receiver has nothing to do with it
    await way.give(WORKS)
    way.leave(ALARM)
    await until(bulk.done)
    await way.give(PARK)


async def test_the_last_of_several_alarms_lets_the_others_go_on(clock):
    way = RightOfWay(clock=clock)
    other = LaneName(PARK, PARK, "alarm")
    way.take(ALARM)
    way.take(other)
    bulk = asyncio.ensure_future(way.give(PARK))
    way.leave(ALARM)
    await turned()
    assert not bulk.done()
    way.leave(other)
    await until(bulk.done)


async def test_nobody_waits_for_ever_for_an_alarm_that_does_not_get_through(clock):
    way = RightOfWay(clock=clock)
    way.take(ALARM)
    bulk = asyncio.ensure_future(way.give(PARK))
    await turned()
    clock.end()
    await until(bulk.done)
    # it has had its moment: the next request does not wait again
    pauses = len(clock.pauses)
    await way.give(PARK)
    assert len(clock.pauses) == pauses
    way.leave(ALARM)
    way.leave(ALARM)
