import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from federation.marks.content import (
    RESERVED_AT_ONCE,
    CheckpointMark,
    Content,
    LaneMark,
    lane_name,
)
from registry.errors import ConflictError, HazlinkError, UntrustedError
from registry.identifier import Prefix
from registry.trust.encoding import b64u

ME = bytes(range(16))
ROOT = hashlib.sha256(b"root").digest()
LANE = "88.107.1001|88.107|register"

numbers = st.integers(0, (1 << 53) - 1)
names = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=40)
contents = st.builds(
    Content,
    instance=st.binary(min_size=16, max_size=16),
    fence=numbers,
    sure=st.booleans(),
    lanes=st.dictionaries(names, st.builds(LaneMark, numbers, numbers), max_size=5),
    checkpoints=st.dictionaries(
        names, st.builds(CheckpointMark, numbers, st.binary(min_size=32, max_size=32)), max_size=3
    ),
)


def test_a_lane_is_named_by_its_folded_ends_and_its_stream():
    assert lane_name(Prefix.parse("88.107.AbC"), Prefix.parse("88.107"), "alarm") == "88.107.ABC|88.107|alarm"


@given(contents)
def test_what_is_written_is_read_again(content):
    assert Content.decode(content.encode()) == content


@given(contents, st.data())
def test_any_changed_byte_is_refused(content, data):
    raw = bytearray(content.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UntrustedError):
        Content.decode(bytes(raw))


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_raises_anything_else(raw):
    with pytest.raises(UntrustedError):
        Content.decode(raw)


def resealed(**other):
    """A file that says what it should not, under a digest that fits."""
    said = orjson.loads(Content(ME).encode()) | other
    del said["sha256"]
    digest = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()
    return orjson.dumps(said | {"sha256": b64u(digest)})


@pytest.mark.parametrize(
    "other",
    [
        {"fence": -1},
        {"fence": True},
        {"fence": "1"},
        {"instance": "AA"},
        {"instance": 7},
        {"sure": 1},
        {"lanes": []},
        {"lanes": {"a": 1}},
        {"lanes": {"a": {"epoch": 1}}},
        {"checkpoints": {"a": {"size": 1, "root": "AA"}}},
        {"checkpoints": None},
        {"more": 1},
    ],
)
def test_a_file_of_another_shape_is_refused_even_under_a_fitting_digest(other):
    with pytest.raises(UntrustedError) as refused:
        Content.decode(resealed(**other))
    assert refused.value.code == "federation.marks.damaged"


def test_a_file_of_a_later_release_says_so():
    with pytest.raises(UntrustedError) as refused:
        Content.decode(resealed(version=2))
    assert refused.value.code == "federation.marks.version"
    assert "2" in refused.value.message("zh")


def test_a_number_reserved_lets_a_thousand_be_signed():
    content = Content(ME).raised(LANE, 1, 1)
    assert content.lanes[LANE] == LaneMark(1, RESERVED_AT_ONCE)
    assert content.raised(LANE, 1, RESERVED_AT_ONCE) is content
    assert content.raised(LANE, 1, RESERVED_AT_ONCE + 1).lanes[LANE].bound == 2 * RESERVED_AT_ONCE


def test_a_new_epoch_begins_its_own_numbers_and_the_old_one_is_over():
    content = Content(ME).raised(LANE, 1, 5_000).raised(LANE, 2, 1)
    assert content.lanes[LANE] == LaneMark(2, RESERVED_AT_ONCE)
    with pytest.raises(UntrustedError) as refused:
        content.raised(LANE, 1, 1)
    assert refused.value.code == "federation.marks.epoch"


def test_a_checkpoint_never_shrinks_and_never_forks():
    content = Content(ME).signed("88.107/log1", 5, ROOT)
    assert content.signed("88.107/log1", 5, ROOT) is content
    for size, root, code in ((4, ROOT, "smaller"), (5, bytes(32), "fork")):
        with pytest.raises(UntrustedError) as refused:
            content.signed("88.107/log1", size, root)
        assert refused.value.code == f"federation.marks.{code}"
    assert content.signed("88.107/log1", 6, bytes(32)).checkpoints["88.107/log1"].size == 6
    assert content.signed("88.107/log2", 1, ROOT).checkpoints["88.107/log1"].size == 5


def test_the_fence_only_rises():
    content = Content(ME).taken(bytes(16), 3)
    assert (content.fence, content.instance) == (3, bytes(16))
    for fence in (2, 3):
        with pytest.raises(ConflictError):
            content.taken(ME, fence)


class Marks(RuleBasedStateMachine):
    """Whatever is asked in whatever order: no mark falls, and what was allowed stays inside the marks."""

    def __init__(self):
        super().__init__()
        self.content = Content(ME)
        self.signed = {}

    @rule(lane=st.sampled_from("ab"), epoch=st.integers(1, 3), seq=st.integers(1, 4_000))
    def reserve(self, lane, epoch, seq):
        try:
            self.content = self.content.raised(lane, epoch, seq)
        except HazlinkError:
            assert epoch < self.content.lanes[lane].epoch
        else:
            self.signed[lane] = max(self.signed.get(lane, (0, 0)), (epoch, seq))

    @rule(size=st.integers(1, 20), root=st.sampled_from([ROOT, bytes(32)]))
    def checkpoint(self, size, root):
        before = self.content.checkpoints.get("log")
        try:
            self.content = self.content.signed("log", size, root)
        except UntrustedError:
            assert size < before.size or (size == before.size and root != before.root)

    @rule()
    def restart(self):
        self.content = Content.decode(self.content.encode())

    @invariant()
    def every_signed_number_is_inside(self):
        for lane, (epoch, seq) in self.signed.items():
            mark = self.content.lanes[lane]
            assert (mark.epoch, mark.bound) >= (epoch, seq)


TestMarks = Marks.TestCase
