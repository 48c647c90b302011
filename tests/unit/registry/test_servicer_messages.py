import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto import registry_pb2
from proto import resolver_pb2 as pb
from registry import errors
from registry.errors import (
    GRPC_STATUS,
    HazlinkError,
    InternalError,
    InvalidValueError,
    Kind,
    NotFoundError,
    RateLimitError,
)
from registry.identifier import Identifier
from registry.record import Record, Status, Tombstone
from registry.servicer_context import metadata_of, status_of
from registry.servicer_drafts import draft_from_message, new_values_from_messages
from registry.servicer_messages import (
    error_from_message,
    error_to_message,
    record_to_message,
    tombstone_from_message,
    tombstone_to_message,
    value_from_message,
    value_to_message,
    values_from_messages,
)
from registry.value import DEFAULT_PERMISSIONS, PRIVATE, Scope, TtlType, Value, Visibility

UINT32 = st.integers(1, (1 << 32) - 1)
VISIBILITIES = st.one_of(
    st.sampled_from([Visibility(s) for s in (Scope.PUBLIC, Scope.FEDERATION, Scope.PRIVATE)]),
    st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=3).map(
        lambda p: Visibility(Scope.PREFIXES, tuple(p))
    ),
)
VALUES = st.builds(
    Value,
    index=UINT32,
    type=st.text(min_size=1, max_size=20),
    data=st.binary(max_size=50),
    ttl=st.integers(0, (1 << 31) - 1),
    ttl_type=st.sampled_from(TtlType),
    timestamp=st.integers(0, (1 << 32) - 1),
    permissions=st.integers(0, 15),
    references=st.lists(st.tuples(st.text(max_size=9), UINT32), max_size=2).map(tuple),
    visibility=VISIBILITIES,
    salt=st.binary(max_size=16),
)


@given(VALUES)
def test_a_value_survives_the_wire(value):
    message = pb.Value.FromString(value_to_message(value).SerializeToString())
    assert value_from_message(message) == value


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.Value(type="A"), "values[1].index"),
        (pb.Value(index=1), "values[1].type"),
        (pb.Value(index=1, type="A", ttl=-1), "values[1].ttl"),
        (pb.Value(index=1, type="A", visibility=pb.Visibility(prefixes=["88"])), "values[1].visibility.prefixes"),
        (pb.Value(index=1, type="A", visibility=pb.Visibility(scope="SCOPE_PREFIXES")), "values[1].visibility.prefixes"),
        (pb.Value.FromString(b"\x08\x01\x12\x01AJ\x02\x08\x09"), "values[1].visibility.scope"),
    ],
)  # fmt: skip
def test_a_message_that_breaks_the_data_model_is_refused_by_its_path(message, field):
    with pytest.raises(InvalidValueError) as caught:
        values_from_messages([pb.Value(index=1, type="A"), message])
    assert caught.value.field == field
    assert caught.value.message("zh")


def test_a_record_is_told_with_the_values_that_may_be_seen():
    values = (Value(1, "URL", b"x"), Value(2, "NOTE", b"y").seen_as(PRIVATE))
    record = Record(Identifier.parse("88.1/a"), "batch", 3, Status.ACTIVE, values, 1_790_000_000)
    whole = record_to_message(record)
    assert (whole.identifier, whole.kind, whole.version, whole.modified) == (
        "88.1/a",
        "batch",
        3,
        1_790_000_000,
    )
    assert values_from_messages(whole.values) == values
    partly = record_to_message(record, values=values[:1], withheld=[2])
    assert [v.index for v in partly.values] == [1]
    assert list(partly.withheld) == [2]


def test_a_tombstone_survives_the_wire():
    stone = Tombstone("withdrawn", "0.NA/88.1", "召回", 1_790_000_000, ("88.1/b", "88.1/c"))
    assert tombstone_from_message(tombstone_to_message(stone)) == stone


def test_an_error_is_told_in_both_languages_and_keeps_its_kind_when_passed_on():
    error = RateLimitError(
        "registry.identifier.suffix_empty", field="identifier", retry_after=1.2, value="88.1/"
    )
    message = error_to_message(error)
    assert (message.kind, message.code, message.retry_after_seconds) == ("rate", error.code, 2)
    assert (message.message_en, message.message_zh) == (error.message("en"), error.message("zh"))
    reported = error_from_message(message, field="peer")
    assert type(reported) is RateLimitError
    assert reported.field == "peer"
    assert error.message("zh") in reported.message("zh")
    assert error_to_message(reported) == message


def test_an_error_of_a_kind_from_the_future_counts_as_unavailable():
    reported = error_from_message(pb.Error(kind="tomorrow", code="x.y.z"))
    assert reported.kind is Kind.UNAVAILABLE
    assert "x.y.z" in str(reported)


def test_every_kind_of_error_comes_back_as_the_class_of_its_kind():
    classes = [
        c
        for c in vars(errors).values()
        if isinstance(c, type) and issubclass(c, HazlinkError) and c is not HazlinkError
    ]
    assert {c.kind for c in classes} == set(Kind)
    for cls in classes:
        back = error_from_message(error_to_message(cls("registry.identifier.not_utf8")))
        assert type(back) is cls


def test_an_internal_error_is_told_in_short():
    error = InternalError("registry.identifier.suffix_empty", value="secret path")
    assert "secret" not in str(error_to_message(error))


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_its_grpc_status(kind):
    error = NotFoundError("registry.identifier.not_utf8")
    error.kind = kind
    assert status_of(error).value[0] == GRPC_STATUS[kind]


def test_the_trailing_metadata_says_where_and_when_to_try_again():
    error = RateLimitError("registry.identifier.not_utf8", field="字段", retry_after=0.1)
    pairs = dict(metadata_of(error))
    assert pb.Error.FromString(pairs["hazlink-error-bin"]).kind == "rate"
    assert pairs["hazlink-field-bin"].decode() == "字段"
    assert pairs["retry-after"] == "1"
    assert set(dict(metadata_of(NotFoundError("registry.identifier.not_utf8")))) == {"hazlink-error-bin"}


def test_what_a_writer_leaves_out_is_filled_in_and_what_is_not_his_is_dropped():
    given_ = pb.Value(
        index=1, type="A", data=b"x", timestamp=5, salt=b"s", visibility=pb.Visibility(scope="SCOPE_PRIVATE")
    )
    assert new_values_from_messages([given_]) == (Value(1, "A", b"x").seen_as(PRIVATE),)
    plain = pb.Value(index=1, type="A", permissions=0b1100)
    assert new_values_from_messages([plain])[0].permissions == DEFAULT_PERMISSIONS
    with pytest.raises(InvalidValueError) as caught:
        new_values_from_messages([pb.Value(index=1, type="A", permissions=16)])
    assert caught.value.field == "values[0].permissions"


def test_a_draft_without_kind_leaves_it_to_the_values():
    draft = draft_from_message(registry_pb2.Draft(identifier="88.1/a", fields={"A": "b"}))
    assert (draft.identifier, draft.kind, draft.fields) == ("88.1/a", None, {"A": "b"})
