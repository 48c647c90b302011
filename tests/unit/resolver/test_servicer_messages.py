"""Messages and domain objects say the same, there and back."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import resolver_pb2 as pb
from registry.errors import HazlinkError, MalformedError, UnavailableError
from registry.identifier import Identifier, Prefix
from registry.record import Record, Status
from registry.value import Scope, TtlType, Value, Visibility
from resolver.answer import Answer, Outcome, Proof, Query, Referral, Source
from resolver.servicer_messages import (
    answer_from_message,
    answer_to_message,
    batch_answers,
    batch_request,
    queries_from_message,
    query_from_message,
    query_to_message,
)
from tests.support.doors import A_PROOF, a_record, a_withdrawn_record

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
_UINT32 = st.integers(1, (1 << 32) - 1)
_KEYS = st.sampled_from(["88", "88.107", "88.107.1001", "0.NA"])

_VISIBILITY = st.one_of(
    st.sampled_from([Scope.PUBLIC, Scope.FEDERATION, Scope.PRIVATE]).map(Visibility),
    st.lists(_KEYS, min_size=1, max_size=2, unique=True).map(lambda p: Visibility(Scope.PREFIXES, tuple(p))),
)

_VALUES = st.lists(
    st.builds(
        Value,
        index=_UINT32,
        type=_TEXT,
        data=st.binary(max_size=40),
        ttl=st.integers(0, (1 << 31) - 1),
        ttl_type=st.sampled_from(TtlType),
        timestamp=st.integers(0, (1 << 32) - 1),
        permissions=st.integers(0, 15),
        references=st.lists(st.tuples(_TEXT, _UINT32), max_size=2).map(tuple),
        visibility=_VISIBILITY,
        salt=st.binary(max_size=16),
    ),
    max_size=4,
).map(tuple)

_RECORDS = st.builds(
    Record,
    identifier=st.builds("{}/{}".format, st.sampled_from(["88.107.1001", "88"]), _TEXT).map(Identifier.parse),
    kind=_TEXT,
    version=st.integers(1, 1 << 60),
    status=st.just(Status.ACTIVE),
    values=_VALUES,
    modified=st.integers(0, 1 << 40),
)

_PROOFS = st.builds(
    Proof,
    public_jws=_TEXT,
    restricted_jws=st.none() | _TEXT,
    chain_sha256=_TEXT,
    chain=st.lists(_TEXT, max_size=3).map(tuple),
    issuer=_KEYS.map(Prefix),
)


@given(
    st.builds(
        Answer,
        asked=_TEXT,
        outcome=st.just(Outcome.FOUND),
        source=st.sampled_from(Source),
        age=st.integers(0, (1 << 32) - 1),
        ttl=st.integers(0, (1 << 32) - 1),
        record=_RECORDS,
        withheld=st.lists(_UINT32, max_size=3).map(tuple),
        proof=st.none() | _PROOFS,
    )
)
@settings(max_examples=150, deadline=None)
def test_a_found_answer_survives_the_wire(answer: Answer) -> None:
    sent = answer_to_message(answer).SerializeToString()

    assert answer_from_message(pb.ResolveReply.FromString(sent)) == answer


@given(
    st.builds(
        Query,
        identifier=_TEXT,
        indexes=st.frozensets(_UINT32, max_size=3),
        types=st.lists(_TEXT, max_size=3).map(tuple),
        authoritative=st.booleans(),
        recurse=st.booleans(),
        with_chain=st.booleans(),
        hops=st.integers(0, 40),
    )
)
@settings(deadline=None)
def test_a_question_survives_the_wire_alone_and_in_a_batch(query: Query) -> None:
    assert query_from_message(query_to_message(query)) == query
    assert queries_from_message(pb.BatchResolveRequest.FromString(batch_request([query]))) == [query]


def test_a_withdrawn_record_keeps_its_status_and_tombstone() -> None:
    answer = Answer("88.107.1001/OLD", Outcome.WITHDRAWN, record=a_withdrawn_record(), proof=A_PROOF)

    message = answer_to_message(answer)
    received = answer_from_message(message)

    assert message.tombstone.replaced_by == ["88.107.1001/NEW"]
    assert received == answer
    assert received.tombstone == answer.tombstone


def test_referrals_and_failures_survive_the_wire() -> None:
    referral = Answer("x/y", Outcome.REFERRAL, referral=Referral(Prefix("88.107"), ("leaf", "top")))
    failure = Answer(
        "x/y",
        Outcome.FAILED,
        error=UnavailableError("registry.storage.unavailable", retry_after=3, reason="gone"),
    )

    assert answer_from_message(answer_to_message(referral)) == referral
    received = answer_from_message(answer_to_message(failure)).error
    assert isinstance(received, UnavailableError)
    assert received.retry_after == 3
    assert "gone" in received.message("en")


def test_questions_with_different_options_are_not_one_batch() -> None:
    with pytest.raises(ValueError, match="differ"):
        batch_request([Query("a/b"), Query("a/c", recurse=False)])


def _reply(*answers: Answer) -> bytes:
    data: bytes = pb.BatchResolveReply(replies=[answer_to_message(a) for a in answers]).SerializeToString()
    return data


def test_a_batch_reply_gives_the_answers_in_order() -> None:
    answers = [Answer("x/1", Outcome.NOT_FOUND), Answer("x/2", Outcome.FOUND, record=a_record("x/2"))]

    assert batch_answers(_reply(*answers), [Query("x/1"), Query("x/2")]) == answers


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"\xff\xff", "body"),
        (_reply(), "replies"),
        (_reply(Answer("x/2", Outcome.NOT_FOUND)), "replies[0].identifier"),
        (pb.BatchResolveReply(replies=[pb.ResolveReply(identifier="x/1")]).SerializeToString(), "replies[0]"),
        (_reply(Answer("x/1", Outcome.FOUND)), "replies[0].record"),
        (
            _reply(Answer("x/1", Outcome.FOUND, record=a_record(values=(Value(0, "URL", b""),)))),
            "replies[0].record.values[0].index",
        ),
        (
            _reply(
                Answer("x/1", Outcome.FOUND, record=a_record(), proof=replace(A_PROOF, issuer=Prefix("8..8")))
            ),
            "proof.issuer",
        ),
    ],
)
def test_an_unreadable_reply_is_refused_and_the_place_is_named(body: bytes, where: str) -> None:
    with pytest.raises(MalformedError) as refused:
        batch_answers(body, [Query("x/1")])

    assert refused.value.field == where
    assert isinstance(refused.value, HazlinkError)
    assert refused.value.message("zh")
