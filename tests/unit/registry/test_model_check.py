import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidValueError, LimitError, MalformedError
from registry.model_check import aligned, check_values
from registry.value import FEDERATION, PRIVATE, Scope, TtlType, Value, Visibility, encode_value

NAMED = Visibility(Scope.PREFIXES, ("88.107", "88.107.1002"))


def a_value(index=1, type_="URL", data=b"x", **more):
    return Value(index, type_, data, **more)


@pytest.mark.parametrize(
    "value",
    [
        a_value(),
        a_value(2**32 - 1, "T" * 128, b"\xff\x00"),
        a_value(ttl=0),
        a_value(ttl=2**31 - 1, ttl_type=TtlType.ABSOLUTE),
        a_value(type_="类型"),
        a_value(references=(("88.107.1001/A", 1),)),
        a_value(visibility=NAMED),
        a_value(visibility=PRIVATE),
        a_value(visibility=FEDERATION),
        a_value(data=b"x" * 65_536),
    ],
    ids=lambda v: f"{v.index}-{v.type[:5]}-{v.ttl}",
)
def test_a_proper_value_passes(value):
    check_values([value])


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (a_value(0), "index"),
        (a_value(-1), "index"),
        (a_value(2**32), "index"),
        (a_value(type_=""), "type"),
        (a_value(type_="T" * 129), "type"),
        (a_value(type_="A\0B"), "type"),
        (a_value(type_="\ud800"), "type"),
        (a_value(type_="A\u200bB"), "type"),
        (a_value(type_="hs_seckey"), "type"),
        (a_value(ttl=-1), "ttl"),
        (a_value(ttl=2**31), "ttl"),
        (a_value(permissions=16), "permissions"),
        (a_value(permissions=-1), "permissions"),
        (a_value(references=(("88.1/A", 2**32),)), "references"),
        (a_value(references=(("", 1),)), "references"),
        (a_value(references=(("x" * 256, 1),)), "references"),
        (a_value(references=(("88.1/\ud800", 1),)), "references"),
        (a_value(references=(("88.1/A", 1),) * 65), "references"),
        (a_value(visibility=Visibility(Scope.PREFIXES, ())), "visibility.prefixes"),
        (a_value(visibility=Visibility(Scope.PRIVATE, ("88.1",))), "visibility.prefixes"),
        (a_value(visibility=Visibility(Scope.PREFIXES, ("88..1",))), "visibility.prefixes"),
        (a_value(visibility=Visibility(Scope.PREFIXES, ("88.a",))), "visibility.prefixes"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_bad_value_is_refused_by_name_in_both_languages(value, field):
    with pytest.raises(InvalidValueError) as caught:
        check_values([a_value(7), value])
    assert caught.value.field == f"values[1].{field}"
    assert f"values[1].{field}" in caught.value.message("en")
    assert f"values[1].{field}" in caught.value.message("zh")


@pytest.mark.parametrize("value", [a_value(500), a_value(3, "HZ_TOMBSTONE")])
def test_only_the_registry_writes_tombstones(value):
    with pytest.raises(MalformedError, match="tombstone"):
        check_values([value])


@pytest.mark.parametrize(
    "values",
    [
        [a_value(n) for n in range(501, 2_550)],
        [a_value(data=b"x" * 65_537)],
        [a_value(n, data=b"x" * 60_000) for n in range(1, 5)],
    ],
    ids=["too many", "one too large", "too large together"],
)
def test_a_record_has_limits(values):
    with pytest.raises(LimitError):
        check_values(values)


@given(
    st.builds(
        Value,
        index=st.integers(-1, 2**33),
        type=st.text(max_size=5),
        data=st.binary(max_size=5),
        ttl=st.integers(-5, 2**32),
        permissions=st.integers(-1, 20),
        references=st.lists(st.tuples(st.text(max_size=3), st.integers(-1, 2**33)), max_size=2).map(tuple),
    )
)
def test_what_passes_can_be_encoded(value):
    try:
        check_values([value])
    except (InvalidValueError, MalformedError):
        return
    assert encode_value(value)


def test_the_public_read_bit_says_what_the_visibility_says():
    values = [a_value(), a_value(2, visibility=PRIVATE), a_value(3, permissions=0b1100)]
    assert [v.permissions for v in aligned(values)] == [0b1110, 0b1100, 0b1110]
