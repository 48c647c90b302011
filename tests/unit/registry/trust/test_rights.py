import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.identifier import Identifier, Prefix
from registry.trust.rights import OPERATIONS, Permission, Right, covering, full_rights, granted

LABELS = st.sampled_from(["1", "10", "107", "1001", "A"])
PREFIXES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: Prefix("88." + ".".join(labels)))
OPS = st.frozensets(st.sampled_from(["register", "flow", "alarm"]))
RIGHTS = st.builds(Right, PREFIXES, st.sampled_from(Permission), OPS)
IDENTIFIERS = st.one_of(
    PREFIXES.map(lambda prefix: Identifier.parse(f"{prefix}/X")), PREFIXES.map(lambda prefix: prefix.handle)
)

THIS, UNDER, DERIVED = Permission.THIS_HANDLE, Permission.HANDLES_UNDER, Permission.DERIVED_PREFIXES


@pytest.mark.parametrize(
    ("permission", "identifier", "expected"),
    [
        (THIS, "88.1/X", True),
        (THIS, "0.NA/88.1", True),
        (THIS, "88.1.2/X", False),
        (THIS, "0.NA/88.1.2", False),
        (THIS, "88.10/X", False),
        (THIS, "0.NA/88", False),
        (UNDER, "88.1/X", True),
        (UNDER, "0.NA/88.1", False),
        (UNDER, "88.1.2/X", False),
        (DERIVED, "88.1.2/X", True),
        (DERIVED, "88.1.2.3/X", True),
        (DERIVED, "0.NA/88.1.2", True),
        (DERIVED, "88.1/X", False),
        (DERIVED, "0.NA/88.1", False),
        (DERIVED, "88.10/X", False),
        (DERIVED, "88.10.2/X", False),
        (DERIVED, "0.NA/0.NA", False),
    ],
)
def test_each_word_covers_exactly_its_names(permission, identifier, expected):
    assert Right(Prefix("88.1"), permission).covers(Identifier.parse(identifier)) is expected


@given(RIGHTS, RIGHTS, IDENTIFIERS)
def test_what_is_included_covers_nothing_more(outer, inner, identifier):
    if outer.includes(inner) and inner.covers(identifier):
        assert outer.covers(identifier)


@given(RIGHTS, st.lists(RIGHTS, max_size=3), IDENTIFIERS, st.sampled_from(["register", "flow", "alarm"]))
def test_what_is_granted_allows_nothing_the_grantor_may_not_do(right, held, identifier, operation):
    if granted(right, held) and covering(identifier, operation, [right]):
        assert covering(identifier, operation, held)


@given(PREFIXES, LABELS)
def test_full_rights_reach_down_and_never_up_or_sideways(prefix, label):
    held = full_rights(prefix)
    child = Prefix(f"{prefix}.{label}")
    assert all(granted(right, held) for right in full_rights(child))
    assert not any(granted(right, full_rights(child)) for right in held)
    assert not any(granted(right, held) for right in full_rights(Prefix(f"{prefix}0.{label}")))


def test_each_operation_needs_its_own_grant():
    prefix = Prefix("88.1")
    held = [Right(prefix, THIS, frozenset({"register"})), Right(prefix, UNDER, frozenset({"flow"}))]
    assert granted(Right(prefix, UNDER, frozenset({"register", "flow"})), held)
    assert not granted(Right(prefix, THIS, frozenset({"register", "flow"})), held)
    assert not granted(Right(prefix, UNDER, frozenset({"alarm"})), held)
    assert not granted(Right(prefix, THIS, frozenset()), [])


def test_the_words_are_those_on_the_wire():
    assert OPERATIONS == ("register", "flow", "alarm", "catalogue", "report", "query")
    assert [word.value for word in Permission] == ["thisHandle", "handlesUnderThisPrefix", "derivedPrefixes"]
    assert Right(Prefix("88.1"), THIS).operations == set(OPERATIONS)


@pytest.mark.parametrize(
    ("outer", "includes"),
    [
        (THIS, {("88.1", THIS), ("88.1", UNDER)}),
        (UNDER, {("88.1", UNDER)}),
        (DERIVED, {("88.1", DERIVED), ("88.1.2", THIS), ("88.1.2", UNDER), ("88.1.2", DERIVED)}),
    ],
)
@pytest.mark.parametrize("inner", list(Permission))
@pytest.mark.parametrize("prefix", ["88", "88.1", "88.1.2", "88.10", "88.10.2", "88.2"])
def test_each_word_includes_exactly_what_it_covers(outer, includes, inner, prefix):
    assert Right(Prefix("88.1"), outer).includes(Right(Prefix(prefix), inner)) is (
        (prefix, inner) in includes
    )


def test_full_rights_are_over_the_operations_named():
    prefix = Prefix("88.1")
    made = full_rights(prefix, ["flow", "alarm"])
    assert [(one.permission, one.operations) for one in made] == [
        (THIS, {"flow", "alarm"}),
        (DERIVED, {"flow", "alarm"}),
    ]
    assert [one.operations for one in full_rights(prefix)] == [set(OPERATIONS)] * 2


def test_one_right_must_hold_both_the_name_and_the_operation():
    inside, outside = Identifier.parse("88.1/X"), Identifier.parse("88.2/X")
    held = [
        Right(Prefix("88.1"), THIS, frozenset({"flow"})),
        Right(Prefix("88.2"), THIS, frozenset({"alarm"})),
    ]
    assert covering(inside, "flow", held) is True
    assert covering(outside, "alarm", held) is True
    assert covering(inside, "alarm", held) is False
    assert covering(outside, "flow", held) is False
    assert covering(inside, "flow", []) is False
