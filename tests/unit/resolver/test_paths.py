"""Ways that are remembered, doubted, and asked about again."""

from dataclasses import dataclass

import pytest

from registry.identifier import Identifier, Prefix
from resolver.paths import Paths
from tests.support.network import HandClock

PARK, OWNER = Prefix("88.107"), Prefix("88.107.1001")
TANK = Identifier.parse("88.107.1001/TANK")


@dataclass(frozen=True)
class Chain:
    subject: Prefix


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def paths(clock):
    made = Paths(clock=clock, delegation_seconds=300, most=3)
    made.learn(Chain(PARK))
    made.learn(Chain(OWNER))
    return made


def subjects(paths, *, old=False):
    return [chain.subject for chain in paths.to(TANK, old=old)]


def test_the_longest_way_comes_first_and_one_beside_does_not_come(paths):
    paths.learn(Chain(Prefix("88.107.1002")))
    assert subjects(paths) == [OWNER, PARK]


def test_after_its_time_a_way_is_there_only_for_when_the_superior_is_silent(paths, clock):
    clock.move(301)
    assert subjects(paths) == []
    assert subjects(paths, old=True) == [OWNER, PARK]


def test_a_way_just_learnt_is_not_doubted(paths, clock):
    clock.move(9)
    assert not paths.doubt(OWNER)
    assert subjects(paths) == [OWNER, PARK]


def test_a_doubted_way_is_passed_over_and_not_doubted_again_at_once(paths, clock):
    clock.move(11)
    assert paths.doubt(OWNER)
    assert subjects(paths) == [PARK]
    assert subjects(paths, old=True) == [OWNER, PARK]
    assert not paths.doubt(OWNER)
    clock.move(11)
    assert paths.doubt(OWNER)


def test_learnt_again_a_doubted_way_is_good(paths, clock):
    clock.move(11)
    paths.doubt(OWNER)
    paths.learn(Chain(OWNER))
    assert subjects(paths) == [OWNER, PARK]


def test_nobody_doubts_a_way_that_is_not_known(paths):
    assert not paths.doubt(Prefix("88.108"))


def test_to_forget_a_prefix_is_to_forget_what_is_below(paths):
    paths.forget(PARK)
    assert subjects(paths, old=True) == []


def test_the_least_recently_learnt_is_dropped_when_there_are_too_many(paths):
    paths.learn(Chain(Prefix("88.1")))
    paths.learn(Chain(Prefix("88.2")))
    assert subjects(paths) == [OWNER]
    paths.clear()
    assert subjects(paths) == []
