"""Reading ahead: what lies ready is used when it is what is wanted, and never hides anything."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from federation.exchange.batches import Ahead, Batch
from federation.exchange.plans import Send
from federation.exchange.receipt import Line
from registry.errors import UnavailableError


class _Shelf:
    """Envelopes up to `last`, and what was asked for."""

    def __init__(self, last):
        self.last = last
        self.asked = []
        self.error = None
        self.free = threading.Event()
        self.free.set()

    def load(self, plan):
        self.asked.append(plan)
        self.free.wait(5)
        if self.error is not None:
            raise self.error
        return list(range(plan.first, min(plan.first + plan.count, self.last + 1)))


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as pool:
        yield pool


async def test_what_was_read_ahead_is_not_read_again(executor):
    shelf = _Shelf(10)
    ahead = Ahead(shelf.load, executor)
    ahead.begin(Send(1, 3, 2))
    assert await ahead.rows(Send(1, 3, 2)) == [3, 4]
    assert await ahead.rows(Send(1, 3, 2)) == [3, 4]
    assert len(shelf.asked) == 2


@pytest.mark.parametrize("plan", [Send(1, 4, 2), Send(2, 3, 2), Send(1, 3, 1), Send(1, 3, 1, alone=True)])
async def test_another_plan_is_read_for_itself(executor, plan):
    shelf = _Shelf(10)
    ahead = Ahead(shelf.load, executor)
    ahead.begin(Send(1, 3, 2))
    assert await ahead.rows(plan) == list(range(plan.first, plan.first + plan.count))
    assert shelf.asked[-1] == plan


async def test_what_was_sealed_in_the_meantime_is_not_left_out(executor):
    shelf = _Shelf(3)
    ahead = Ahead(shelf.load, executor)
    ahead.begin(Send(1, 3, 4))
    while not shelf.asked:
        await asyncio.sleep(0.001)
    shelf.last = 6
    assert await ahead.rows(Send(1, 3, 4)) == [3, 4, 5, 6]


async def test_an_error_ahead_is_told_when_it_is_due_and_only_if_it_still_holds(executor):
    shelf = _Shelf(10)
    shelf.error = UnavailableError("federation.exchange_sending.pruned", field="seq")
    ahead = Ahead(shelf.load, executor)
    ahead.begin(Send(1, 3, 2))
    with pytest.raises(UnavailableError):
        await ahead.rows(Send(1, 3, 2))
    ahead.begin(Send(1, 3, 2))
    while len(shelf.asked) < 3:
        await asyncio.sleep(0.001)
    shelf.error = None
    assert await ahead.rows(Send(1, 3, 2)) == [3, 4]


async def test_what_is_dropped_is_forgotten(executor):
    shelf = _Shelf(10)
    shelf.free.clear()
    ahead = Ahead(shelf.load, executor)
    ahead.begin(Send(1, 3, 2))
    ahead.drop()
    ahead.drop()
    shelf.free.set()
    assert await ahead.rows(Send(1, 3, 2)) == [3, 4]


def test_a_batch_behind_another_is_as_large_as_the_lane_lets_it_be_now():
    rows = [object()] * 128
    batch = Batch(Send(1, 1, 128), rows, [Line(200, "a.b.c")] * 128)
    assert batch.taken()
    assert batch.next(256) == Send(1, 129, 256)
