import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import HazlinkError, LimitError, MalformedError
from registry.value import FEDERATION, PRIVATE, PUBLIC, Scope, TtlType, Value, Visibility
from resolver.handle_api.messages import value_to_json
from resolver.handle_api.requests import MAX_VALUES, Parameters, body_parameters, read_values

HANDLE = "88.107.1001/X"

_VISIBILITIES = st.sampled_from(
    [PUBLIC, FEDERATION, PRIVATE, Visibility(Scope.PREFIXES, ("88.107", "88.107.1002"))]
)
_VALUES = st.builds(
    lambda value, visibility: value.seen_as(visibility),
    st.builds(
        Value,
        index=st.integers(1, 2**32 - 1),
        type=st.sampled_from(["URL", "NOTE", "CAS_NO"]),
        data=st.binary(max_size=40),
        ttl=st.integers(0, 2**31 - 1),
        ttl_type=st.sampled_from(TtlType),
        timestamp=st.just(0),
        permissions=st.integers(0, 15),
        references=st.lists(st.tuples(st.text(max_size=9), st.integers(0, 2**32 - 1)), max_size=2).map(tuple),
    ),
    _VISIBILITIES,
)


@given(_VALUES)
def test_a_value_survives_the_way_out_and_back(value):
    (back,) = read_values(orjson.dumps([value_to_json(value)]), HANDLE)
    assert back.value == value


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**33) | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(
        st.sampled_from(["index", "type", "data", "ttl", "format", "value", "values", "permissions", "visibility"]),
        x, max_size=5,
    ),
))  # fmt: skip
def test_any_json_is_read_or_refused_by_name(content):
    refused = None
    try:
        read_values(orjson.dumps(content), HANDLE)
    except HazlinkError as error:
        refused = error
    assert refused is None or (refused.message("zh") and refused.message("en"))


def test_too_many_values_are_refused():
    entries = [{"index": n, "type": "T", "data": ""} for n in range(1, MAX_VALUES + 2)]
    with pytest.raises(LimitError, match="2049"):
        read_values(orjson.dumps(entries), HANDLE)


def test_values_keep_their_order_and_an_index_may_be_text():
    given_values = read_values(
        b'[{"index":"9","type":"A","data":"x"},{"index":2,"type":"B","data":""}]', HANDLE
    )
    assert [entry.value.index for entry in given_values] == [9, 2]


@pytest.mark.parametrize("ttl", ["2030-01-01T00:00:00Z", "2030-01-01T08:00:00+08:00"])
def test_an_absolute_ttl_is_a_point_in_time(ttl):
    (entry,) = read_values(orjson.dumps({"index": 1, "type": "A", "data": "x", "ttl": ttl}), HANDLE)
    assert (entry.value.ttl_type, entry.value.ttl) == (TtlType.ABSOLUTE, 1893456000)


def test_bare_parameters_are_true_and_repeated_ones_add_up():
    parameters = Parameters([("auth", ""), ("index", "1"), ("index", "2")])
    assert parameters.flag("auth", default=False)
    assert not parameters.flag("cert", default=False)
    assert parameters.indexes() == frozenset({1, 2})
    assert parameters.text("index") == "2"


def test_a_post_body_holds_simple_parameters_only():
    assert body_parameters(b"").text("index") is None
    assert body_parameters(b'{"index":[1,2],"auth":false}').texts("index") == ("1", "2")
    for bad in (b"[1]", b'{"index":{"a":1}}', b'{"index":null}', b"{"):
        with pytest.raises(MalformedError):
            body_parameters(bad)
