import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.log.leaf import KINDS, MAX_LEAF_BYTES, Leaf
from registry.errors import LimitError, MalformedError
from registry.trust.encoding import b64u
from tests.support.log import a_leaf

digests = st.binary(min_size=32, max_size=32).map(b64u)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
numbers = st.integers(0, (1 << 53) - 1)
leaves = st.builds(
    Leaf,
    kind=st.sampled_from(sorted(KINDS)),
    env=digests, iss=words, aud=words, stream=words, epoch=numbers, seq=numbers, at=numbers,
    outcome=st.none() | words, code=st.none() | words, rcpt=st.none() | digests, sm3=st.none() | digests,
)  # fmt: skip


@given(leaves)
def test_a_leaf_comes_back_as_it_was(leaf):
    assert Leaf.decode(leaf.encode()) == leaf


def test_a_leaf_is_compact_in_a_fixed_order_and_leaves_out_what_does_not_apply():
    assert a_leaf(1, kind="out").encode() == (
        b'{"v":1,"kind":"out","env":"' + a_leaf(1).env.encode() + b'","iss":"0.NA/88.107.1001",'
        b'"aud":"0.NA/88.107","stream":"register","epoch":1,"seq":1,"at":1790000001}'
    )
    whole = a_leaf(1, kind="ack", sm3=a_leaf(2).env).encode()
    assert list(orjson.loads(whole)) == [
        "v", "kind", "env", "iss", "aud", "stream", "epoch", "seq", "outcome", "code", "rcpt", "at", "sm3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":true'),
        (b'"v":1,', b""),
        (b'"kind":"in"', b'"kind":"other"'),
        (b'"kind":"in"', b'"kind":["in"]'),
        (b'"epoch":1', b'"epoch":1.0'),
        (b'"epoch":1', b'"epoch":-1'),
        (b'"epoch":1', b'"epoch":true'),
        (b'"epoch":1', b'"epoch":9007199254740993'),
        (b'"epoch":1', b'"epoch":null'),
        (b'"epoch":1', b'"epoch":1,"epoch":1'),
        (b'"epoch":1', b'"epoch": 1'),
        (b'"epoch":1,"seq":1', b'"seq":1,"epoch":1'),
        (b'"code":"ok"', b'"code":""'),
        (b'"code":"ok"', b'"code":null'),
        (b'"code":"ok"', b'"code":"\\u006fk"'),
        (b'"code":"ok"', b'"more":"ok"'),
        (b'"stream":"register"', b'"stream":NaN'),
        (b'"env":"', b'"env":"A'),
        (b'"env":"', b'"env":"='),
        (b"}", b"}\n"),
        (b'{"v"', b' {"v"'),
    ],
)  # fmt: skip
def test_another_spelling_or_content_is_refused(was, becomes):
    raw = a_leaf(1).encode()
    assert was in raw
    with pytest.raises(MalformedError):
        Leaf.decode(raw.replace(was, becomes))


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"null", b"{}", b"\xff", b"[" * 5000])
def test_what_is_no_leaf_is_refused(raw):
    with pytest.raises(MalformedError):
        Leaf.decode(raw)


def test_a_leaf_that_a_bundle_cannot_hold_is_refused():
    with pytest.raises(LimitError):
        Leaf.decode(b" " * (MAX_LEAF_BYTES + 1))
    with pytest.raises(LimitError):
        a_leaf(1, stream="x" * MAX_LEAF_BYTES).encode()


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_read_exactly(raw):
    try:
        leaf = Leaf.decode(raw)
    except (MalformedError, LimitError):
        return
    assert leaf.encode() == raw


@given(leaves, st.data())
def test_every_changed_byte_is_refused_or_makes_another_leaf(leaf, data):
    raw = bytearray(leaf.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = Leaf.decode(bytes(raw))
    except (MalformedError, LimitError):
        return
    assert other != leaf
    assert other.encode() == bytes(raw)


def code_of(raw, kind=MalformedError):
    with pytest.raises(kind) as refused:
        Leaf.decode(raw)
    return refused.value.code.rpartition(".")[2]


def changed(kind="ack", **change):
    content = orjson.loads(a_leaf(1, kind=kind).encode()) | change
    return orjson.dumps({name: value for name, value in content.items() if value is not None})


@pytest.mark.parametrize("name", ["v", "kind", "env", "iss", "aud", "stream", "epoch", "seq", "at"])
def test_every_member_that_is_needed_must_be_there(name):
    assert code_of(changed(**{name: None})) == "leaf_member"


def test_a_leaf_has_its_limits():
    assert MAX_LEAF_BYTES == 65_535
    room = MAX_LEAF_BYTES - len(a_leaf(1, stream="").encode())
    assert len(a_leaf(1, stream="x" * room).encode()) == MAX_LEAF_BYTES
    with pytest.raises(LimitError):
        a_leaf(1, stream="x" * (room + 1)).encode()
    assert code_of(b" " * MAX_LEAF_BYTES) == "json_syntax"
    assert code_of(b" " * (MAX_LEAF_BYTES + 1), LimitError) == "leaf_size"
    assert Leaf.decode(a_leaf(1, stream="x" * 256).encode()).stream == "x" * 256
    assert code_of(a_leaf(1, stream="x" * 257).encode()) == "leaf_member"
    assert code_of(b'{"v":{}}') == "leaf_member"
    assert code_of(b'{"v":{"v":{}}}') == "json_depth"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "leaf_version"),
        ({"v": 0}, "leaf_version"),
        ({"kind": "other"}, "leaf_kind"),
        ({"env": b64u(bytes(31))}, "leaf_digest"),
        ({"env": b64u(bytes(33))}, "leaf_digest"),
        ({"rcpt": b64u(bytes(31))}, "leaf_digest"),
        ({"rcpt": "="}, "leaf_digest"),
        ({"sm3": "A" * 42}, "leaf_digest"),
        ({"sm3": "A" * 44}, "leaf_digest"),
        ({"sm3": "A" * 42 + "="}, "leaf_digest"),
    ],
)
def test_what_is_wrong_with_a_leaf_is_said(change, code):
    assert code_of(changed(**change)) == code
