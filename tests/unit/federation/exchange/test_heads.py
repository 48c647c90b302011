import pytest

from federation.exchange import head as wire
from federation.exchange.heads import Heads, expectation, read_expectation
from federation.exchange.receipt import Expected
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import LaneName
from registry.errors import ForbiddenError, HazlinkError, MalformedError, UntrustedError
from registry.identifier import Prefix
from tests.support.exchange_pair import PARK, WORKS, a_database, a_side
from tests.support.prefixes import NOW, MovedClock
from tests.support.trust import a_signer


@pytest.fixture
def works(database, tmp_path):
    side = a_side(database, tmp_path, WORKS, MovedClock(), superior=PARK)
    yield side
    side.executor.shutdown()
    side.urgent.shutdown()


@pytest.fixture
def park(tmp_path):
    side = a_side(a_database(tmp_path / "park"), tmp_path / "park", PARK, MovedClock(), hosted=("88.107.2",))
    side.homes.delegated[WORKS.key] = side.desk.homes.tree.tokens_of(WORKS.key)
    yield side
    side.executor.shutdown()
    side.urgent.shutdown()


def a_head(**other):
    content = {
        "iss": WORKS,
        "aud": PARK,
        "stream": "register",
        "epoch": 1,
        "last_seq": 7,
        "checkpoint": None,
        "at": NOW,
    }
    return wire.issue(other.pop("signer", a_signer("88.107.1001")), **{**content, **other})


def kept(side):
    with side.database.read() as connection:
        return [(lane.iss, lane.stream, lane.head_seq) for lane in ReceivedUnit(connection).lanes()]


def test_a_head_says_how_far_each_lane_has_come_under_the_newest_checkpoint(works):
    works.write("register", {"n": 1}, {"n": 2})
    works.write("alarm", {"n": 3})
    for stream in ("register", "alarm"):
        works.sealer.seal(stream, 10)
    assert wire.read(works.heads.signed(iss=WORKS)[0]).checkpoint is None
    works.log.publish()
    heads = [wire.read(token) for token in works.heads.signed(iss=WORKS, aud=PARK)]
    assert [(head.stream, head.epoch, head.last_seq, head.at) for head in heads] == [
        ("alarm", 1, 1, NOW),
        ("register", 1, 2, NOW),
    ]
    assert all(head.checkpoint.startswith("88.107.1001/log1\n3\n") for head in heads)
    assert works.heads.signed(aud=Prefix.parse("88")) == []


def test_a_prefix_that_may_not_sign_has_no_head(works):
    works.write("register", {"n": 1})
    works.sealer.seal("register", 10)

    def suspended(prefix):
        raise ForbiddenError("registry.prefixes.home_suspended", field="prefix", prefix=prefix.key)

    works.homes.signer_for = suspended
    assert works.heads.signed() == []


def test_heads_are_kept_and_answered_with_what_is_expected(park):
    assert park.heads.take(WORKS, []) == []
    told = park.heads.take(WORKS, [a_head(), a_head(stream="alarm", last_seq=1)])
    assert told == [
        (LaneName(WORKS, PARK, "register"), Expected(1, 1)),
        (LaneName(WORKS, PARK, "alarm"), Expected(1, 1)),
    ]
    assert kept(park) == [("88.107.1001", "alarm", 1), ("88.107.1001", "register", 7)]


@pytest.mark.parametrize(
    "lie",
    [
        {"signer": a_signer("somebody")},
        {"iss": PARK, "signer": a_signer("88.107")},
        {"aud": Prefix.parse("88")},
        {"iss": Prefix.parse("88.107.1002")},
    ],
)
def test_a_head_of_somebody_else_is_refused(park, lie):
    with pytest.raises(UntrustedError):
        park.heads.take(WORKS, [a_head(**lie)])
    with pytest.raises(HazlinkError):
        park.heads.take(WORKS, ["no head"])
    assert kept(park) == []


def test_checkpoints_that_come_with_heads_are_shown_to_who_compares_them(park, works):
    seen = []
    heads = Heads(
        database=park.database,
        speakers=park.homes,
        homes=park.homes,
        reaching=park.reaching,
        clock=park.clock,
        saw=lambda peer, note: seen.append((peer, note)),
    )
    works.write("register", {"n": 1})
    works.sealer.seal("register", 10)
    works.log.publish()
    heads.take(WORKS, works.heads.signed())
    assert [(peer, note[:17]) for peer, note in seen] == [(WORKS, b"88.107.1001/log1\n")]


def test_lanes_within_the_node_have_heads_too(park):
    park.homes.superiors["88.107.2"] = "88.107"
    park.write("control", {"n": 1}, aud=Prefix.parse("88.107.2"))
    park.sealer.seal("control", 10)
    park.heads.local()
    assert kept(park) == [("88.107", "control", 1)]


def test_an_expectation_is_read_back_and_nothing_else_is_one():
    lane, expected = LaneName(WORKS, PARK, "alarm"), Expected(3, 9)
    line = expectation(lane, expected)
    assert read_expectation(line.encode()) == (lane, expected)
    for odd in (b"{}", b"[]", line.replace("88.107.", "88.107..").encode(), line.replace("9", "0").encode()):
        with pytest.raises(MalformedError):
            read_expectation(odd)
