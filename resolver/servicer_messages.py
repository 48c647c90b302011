"""Protobuf messages ↔ questions and answers; used by the gRPC door, the batch door and the peer client.

Pairs of plain functions. A record's status does not travel by itself: it follows from the outcome. A record that came
over the wire has no `RecordSignature`; its compact JWS stand in the proof and are what a receiver verifies.
"""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from proto import resolver_pb2 as pb
from registry.errors import HazlinkError, MalformedError
from registry.identifier import Identifier, Prefix
from registry.record import Record, Status
from registry.servicer_messages import (
    error_from_message,
    error_to_message,
    record_to_message,
    tombstone_to_message,
    values_from_messages,
)
from resolver.answer import Answer, Outcome, Proof, Query, Referral, Source

__all__ = [
    "answer_from_bytes",
    "answer_from_message",
    "answer_to_bytes",
    "answer_to_message",
    "batch_answers",
    "batch_request",
    "queries_from_message",
    "query_from_message",
    "query_to_message",
]

_STATUS_OF = {
    Outcome.FOUND: Status.ACTIVE,
    Outcome.WITHDRAWN: Status.WITHDRAWN,
    Outcome.DELETED: Status.DELETED,
}


def query_from_message(message: Any) -> Query:
    """Read one question (`ResolveRequest`)."""
    return Query(
        identifier=message.identifier,
        indexes=frozenset(message.indexes),
        types=tuple(message.types),
        authoritative=message.authoritative,
        recurse=not message.no_recursion,
        with_chain=message.with_chain,
        hops=message.hops,
    )


def query_to_message(query: Query) -> Any:
    """Return the `ResolveRequest` of a question."""
    return pb.ResolveRequest(
        identifier=query.identifier,
        indexes=sorted(query.indexes),
        types=query.types,
        authoritative=query.authoritative,
        no_recursion=not query.recurse,
        with_chain=query.with_chain,
        hops=query.hops,
    )


def queries_from_message(message: Any) -> list[Query]:
    """Read the questions of a `BatchResolveRequest`, in order."""
    indexes, types = frozenset(message.indexes), tuple(message.types)
    recurse = not message.no_recursion
    return [
        Query(
            identifier=spelling,
            indexes=indexes,
            types=types,
            authoritative=message.authoritative,
            recurse=recurse,
            with_chain=message.with_chain,
            hops=message.hops,
        )
        for spelling in message.identifiers
    ]


def batch_request(queries: Sequence[Query]) -> bytes:
    """Return the bytes of a `BatchResolveRequest`; all questions must ask for the same, but for the identifier.

    Raises:
        ValueError: no question, or questions that differ; a mistake of the programmer.
    """
    message = pb.BatchResolveRequest(identifiers=[query.identifier for query in queries])
    options = {(q.indexes, q.types, q.authoritative, q.recurse, q.with_chain, q.hops) for q in queries}
    if len(options) != 1:
        raise ValueError("a batch holds questions that differ in nothing but the identifier, at least one")
    first = queries[0]
    message.indexes.extend(sorted(first.indexes))
    message.types.extend(first.types)
    message.authoritative = first.authoritative
    message.no_recursion = not first.recurse
    message.with_chain = first.with_chain
    message.hops = first.hops
    data: bytes = message.SerializeToString()
    return data


def batch_answers(body: bytes, queries: Sequence[Query]) -> list[Answer]:
    """Read the bytes of a `BatchResolveReply` to `queries`.

    Raises:
        MalformedError: not such a message, an answer too few or too many, or one to another question.
    """
    try:
        message = pb.BatchResolveReply.FromString(body)
    except DecodeError:
        raise MalformedError("resolver.door.reply_unreadable", field="body") from None
    if len(message.replies) != len(queries):
        raise MalformedError(
            "resolver.door.reply_count", field="replies", count=len(message.replies), expected=len(queries)
        )
    answers = []
    for number, (reply, query) in enumerate(zip(message.replies, queries, strict=True)):
        if reply.identifier != query.identifier:
            raise MalformedError(
                "resolver.door.reply_other",
                field=f"replies[{number}].identifier",
                value=reply.identifier,
                expected=query.identifier,
            )
        answers.append(answer_from_message(reply, field=f"replies[{number}]"))
    return answers


def answer_to_message(answer: Answer, *, tag: int = 0) -> Any:
    """Return the `ResolveReply` of an answer."""
    outcome: Any = answer.outcome.value
    source: Any = answer.source.value
    message = pb.ResolveReply(
        identifier=answer.asked,
        outcome=outcome,
        source=source,
        age_seconds=answer.age,
        ttl_seconds=answer.ttl,
        tag=tag,
    )
    if answer.record is not None:
        message.record.CopyFrom(record_to_message(answer.record, withheld=answer.withheld))
    if answer.proof is not None:
        message.proof.CopyFrom(_proof_to_message(answer.proof))
    if answer.tombstone is not None:
        message.tombstone.CopyFrom(tombstone_to_message(answer.tombstone))
    if answer.referral is not None:
        message.referral.prefix = answer.referral.prefix.key
        message.referral.chain.extend(answer.referral.chain)
    if answer.error is not None:
        message.error.CopyFrom(error_to_message(answer.error))
    return message


def answer_from_message(message: Any, *, field: str = "reply") -> Answer:
    """Read an answer another node sent; nothing in it is verified yet.

    Raises:
        MalformedError: an unknown outcome or source, a record that does not go with the outcome, or a part that
            breaks the data model.
    """
    try:
        outcome, source = Outcome(message.outcome), Source(message.source)
    except ValueError:
        raise MalformedError(
            "resolver.door.reply_enum", field=field, outcome=message.outcome, source=message.source
        ) from None
    try:
        return Answer(
            asked=message.identifier,
            outcome=outcome,
            source=source,
            age=message.age_seconds,
            ttl=message.ttl_seconds,
            record=_record(message, outcome, field),
            withheld=tuple(message.record.withheld),
            proof=_proof(message.proof) if message.HasField("proof") else None,
            referral=_referral(message, outcome, field),
            error=error_from_message(message.error) if outcome is Outcome.FAILED else None,
        )
    except MalformedError:
        raise
    except HazlinkError as error:
        raise MalformedError(
            "resolver.door.reply_part", field=error.field or field, reason=str(error)
        ) from error


def answer_to_bytes(answer: Answer) -> bytes:
    """Return the bytes of the `ResolveReply` of an answer."""
    data: bytes = answer_to_message(answer).SerializeToString()
    return data


def answer_from_bytes(data: bytes) -> Answer:
    """Read the bytes of a `ResolveReply`; nothing in it is verified yet.

    Raises:
        MalformedError: not such a message, or as `answer_from_message`.
    """
    try:
        message = pb.ResolveReply.FromString(data)
    except DecodeError:
        raise MalformedError("resolver.door.reply_unreadable", field="body") from None
    return answer_from_message(message)


def _record(message: Any, outcome: Outcome, field: str) -> Record | None:
    status = _STATUS_OF.get(outcome)
    if status is None:
        return None
    if not message.HasField("record"):
        raise MalformedError("resolver.door.reply_no_record", field=f"{field}.record", outcome=outcome.name)
    sent = message.record
    return Record(
        identifier=Identifier.parse(sent.identifier, field=f"{field}.record.identifier"),
        kind=sent.kind,
        version=sent.version,
        status=status,
        values=values_from_messages(sent.values, field=f"{field}.record.values"),
        modified=sent.modified,
    )


def _referral(message: Any, outcome: Outcome, field: str) -> Referral | None:
    if outcome is not Outcome.REFERRAL:
        return None
    prefix = Prefix.parse(message.referral.prefix, field=f"{field}.referral.prefix")
    return Referral(prefix, tuple(message.referral.chain))


def _proof_to_message(proof: Proof) -> Any:
    return pb.Proof(
        public_jws=proof.public_jws,
        restricted_jws=proof.restricted_jws or "",
        chain_sha256=proof.chain_sha256,
        chain=proof.chain,
        issuer=proof.issuer.key,
    )


def _proof(message: Any) -> Proof:
    return Proof(
        public_jws=message.public_jws,
        restricted_jws=message.restricted_jws or None,
        chain_sha256=message.chain_sha256,
        chain=tuple(message.chain),
        issuer=Prefix.parse(message.issuer, field="proof.issuer"),
    )
