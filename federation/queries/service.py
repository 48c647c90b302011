"""Asking and answering across nodes.

A question goes down the tiers and its answers come back up, each hop an envelope of the stream `query`:

- the asker sends it to every child concerned; a node that receives it answers for itself and hands the token on,
  unchanged inside a relay, to the children concerned; each child verifies the asker's own signature;
- receiving only writes the question down, in the transaction that receipts it; it is answered afterwards, so a long
  search holds up no stream;
- an answer is signed by the prefix that gives it and travels up the way the question came, relayed unchanged;
- what was asked, by whom and why, is kept where it was asked and at each prefix that was asked, whose people see it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation.exchange.envelope import Draft, uuid7
from federation.exchange.handlers import Arrived, Delivery
from federation.exchange.outbox import Outbox
from federation.exchange.relay import RELAY_TYPE, relay_body, relay_schema
from federation.queries.ports import Children, Entropy, Transactions
from federation.queries.query import (
    ANSWER_TYPE,
    ASK_TYPE,
    SCHEMA,
    STREAM,
    Answer,
    AnswerStatus,
    Question,
)
from federation.queries.sorts import Sort
from federation.queries.storage import Asked, QueryUnit
from registry.clock import Clock
from registry.errors import (
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    NotFoundError,
    UnavailableError,
)
from registry.identifier import Prefix
from registry.principal import Operation, Principal

__all__ = ["AnswerHandler", "AskHandler", "Outcome", "Queries"]

_MAX_PAGE = 200
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one prefix said to a question, or that it said nothing.

    Attributes:
        prefix: who was asked.
        status: as `AnswerStatus`; `silent` is the tombstone of a node that let the time pass.
        answer: what it said, if it did.
        env: hash of the signed envelope that brought the answer.
    """

    prefix: Prefix
    status: AnswerStatus
    answer: Answer | None = None
    env: str | None = None


class Queries:
    """The questions of this node, both ways."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        children: Children,
        outbox: Outbox,
        sorts: Sequence[Sort],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._transactions = transactions
        self._children = children
        self._outbox = outbox
        self._sorts = {sort.name: sort for sort in sorts}
        self._clock = clock
        self._entropy = entropy

    def ask(
        self,
        principal: Principal,
        *,
        asker: Prefix,
        targets: Sequence[Prefix],
        purpose: str,
        sort: str,
        subjects: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        life_seconds: int = 3_600,
    ) -> Question:
        """Put a question to every node at or below the targets.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not ask on behalf of the prefix.
            InvalidValueError: a target is not at or below the asker, or another rule of `federation.queries.query`.
            MalformedIdentifierError: a subject is no identifier.
        """
        principal.require(Operation.AUDIT_READ, asker)
        now = self._now()
        question = Question(
            id=uuid7(int(self._clock.now() * 1000), self._entropy),
            asker=asker,
            person=principal.name,
            purpose=purpose.strip(),
            sort=sort,
            targets=tuple(targets),
            subjects=tuple(subjects),
            params=dict(params or {}),
            asked_at=now,
            expires=now + life_seconds,
        )
        # by the same reader as everybody else's
        question = Question.from_body(question.to_body())
        with self._transactions.write() as connection:
            unit = QueryUnit(connection)
            unit.add_question(question)
            hosted, delegated = self._concerned(question, asker)
            if question.is_put_to(asker):
                handed = (*hosted, *delegated)
                unit.add_received(question, asker, came_from=asker, env="", at=now, handed_on=handed)
            for child in (*hosted, *delegated):
                self._outbox.append(
                    connection,
                    Draft(asker, child, STREAM, ASK_TYPE, SCHEMA, question.to_body()),
                )
        return question

    def result(self, principal: Principal, id_: str) -> tuple[Question, list[Outcome]]:
        """Return what was answered so far, one outcome for each prefix that was to answer.

        Raises:
            NotFoundError: no such question was asked here.
            UnauthenticatedError, ForbiddenError: the principal may not see it.
        """
        with self._transactions.read() as connection:
            unit = QueryUnit(connection)
            question = unit.question(id_)
            if question is None:
                raise NotFoundError("federation.queries.unknown", field="query", value=id_[:64])
            principal.require(Operation.AUDIT_READ, question.asker)
            given = {made.answer.prefix: made for made in unit.answers(id_)}
        # who merely lies on the way to a target is not waited for: it passes the question on and says nothing
        children = (child for group in self._concerned(question, question.asker) for child in group)
        expected = dict.fromkeys(
            (
                *question.targets,
                *(child for child in children if question.is_put_to(child)),
                *(child for made in given.values() for child in made.answer.handed_on),
                *given,
            )
        )
        silent = AnswerStatus.SILENT if self._now() > question.expires else AnswerStatus.WAITING
        return question, [
            Outcome(prefix, given[prefix].answer.status, given[prefix].answer, given[prefix].env)
            if prefix in given
            else Outcome(prefix, silent)
            for prefix in sorted(expected, key=lambda prefix: prefix.key)
        ]

    def asked(self, principal: Principal, asker: Prefix, *, limit: int = 50) -> list[Question]:
        """Return the newest questions a prefix asked.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not see them.
        """
        principal.require(Operation.AUDIT_READ, asker)
        with self._transactions.read() as connection:
            return QueryUnit(connection).questions(asker, limit=min(limit, _MAX_PAGE))

    def received(self, principal: Principal, prefix: Prefix, *, limit: int = 50) -> list[Asked]:
        """Return the newest questions put to a prefix: who asked what of us, why, and what became of it.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal does not belong to the prefix.
        """
        principal.require(Operation.RECORD_LIST, prefix)
        with self._transactions.read() as connection:
            return QueryUnit(connection).received(prefix, limit=min(limit, _MAX_PAGE))

    def answer_waiting(self) -> int:
        """Answer what waits, oldest first; return how many were answered.

        Raises:
            UnavailableError: something cannot be read or written now; what was answered stays answered.
        """
        with self._transactions.read() as connection:
            waiting = QueryUnit(connection).waiting(_AT_ONCE)
        return sum(self._answer(asked) for asked in waiting)

    # what the handlers do, inside the accepting transaction

    def take_question(self, connection: Any, delivery: Delivery) -> None:
        """Write a question down and hand it on to the children concerned.

        Raises:
            MalformedError, InvalidValueError: it breaks a rule.
            ForbiddenError: it does not come from whom it names, or does not concern this prefix.
        """
        question = Question.from_body(delivery.body)
        prefix = delivery.receiver
        if question.asker != delivery.origin:
            raise ForbiddenError(
                "federation.queries.not_the_asker",
                field="asker",
                value=question.asker.key,
                origin=delivery.origin.key,
            )
        if not question.concerns(prefix):
            raise ForbiddenError("federation.queries.not_concerned", field="targets", prefix=prefix.key)
        unit = QueryUnit(connection)
        hosted, delegated = self._concerned(question, prefix)
        came_from = delivery.via[-1] if delivery.via else delivery.origin
        now = delivery.received_at
        env = delivery.envelope.env
        handed = (*hosted, *delegated)
        if not unit.add_received(question, prefix, came_from=came_from, env=env, at=now, handed_on=handed):
            return
        if not question.is_put_to(prefix):
            # It only passes through here: nothing is to be answered for this prefix itself.
            asked = unit.received_one(question.id, prefix)
            if asked is not None:
                unit.settle(asked, AnswerStatus.PASSED_ON, now)
        for child in handed:
            self._outbox.append(connection, _relayed(delivery, prefix, child))

    def take_answer(self, connection: Any, delivery: Delivery) -> None:
        """Keep an answer where the question was asked, or pass it on towards there.

        Raises:
            MalformedError: it is unreadable.
            ForbiddenError: it does not come from the prefix it speaks for.
            NotFoundError: nobody asked.
        """
        answer = Answer.from_body(delivery.body)
        if answer.prefix != delivery.origin:
            raise ForbiddenError(
                "federation.queries.not_the_answerer",
                field="prefix",
                value=answer.prefix.key,
                origin=delivery.origin.key,
            )
        unit = QueryUnit(connection)
        prefix = delivery.receiver
        question = unit.question(answer.query)
        passing = unit.received_one(answer.query, prefix)
        if question is None and passing is None:
            raise NotFoundError("federation.queries.unknown", field="query", value=answer.query[:64])
        new = unit.add_answer(answer, env=delivery.envelope.env, at=delivery.received_at)
        if new and passing is not None and passing.came_from != prefix and prefix.parent is not None:
            self._outbox.append(connection, _relayed(delivery, prefix, prefix.parent))

    # inside

    def _answer(self, asked: Asked) -> bool:
        question, prefix, now = asked.question, asked.prefix, self._now()
        status, content, reason = self._found(question, prefix, now)
        answer = Answer(
            query=question.id,
            prefix=prefix,
            status=status,
            content=content,
            reason=reason,
            handed_on=asked.handed_on,
            answered_at=now,
        )
        with self._transactions.write() as connection:
            unit = QueryUnit(connection)
            if not unit.settle(asked, status, now):
                return False
            if question.asker == prefix or prefix.parent is None:
                unit.add_answer(answer, env="", at=now)
            else:
                draft = Draft(prefix, prefix.parent, STREAM, ANSWER_TYPE, SCHEMA, answer.to_body())
                self._outbox.append(connection, draft)
        return True

    def _found(
        self, question: Question, prefix: Prefix, now: int
    ) -> tuple[AnswerStatus, Mapping[str, Any], str]:
        if now > question.expires:
            return AnswerStatus.EXPIRED, {}, "federation.queries.expired"
        sort = self._sorts.get(question.sort)
        if sort is None:
            return AnswerStatus.UNSUPPORTED, {}, "federation.queries.unsupported"
        try:
            return AnswerStatus.ANSWERED, sort.answer(question, prefix), ""
        except UnavailableError:
            raise
        except HazlinkError as error:
            return AnswerStatus.REFUSED, {}, error.code

    def _concerned(self, question: Question, prefix: Prefix) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...]]:
        """Return the children to hand the question to: those hosted here, and those with nodes of their own."""
        hosted, delegated = self._children.of(prefix)
        return (
            tuple(child for child in hosted if question.concerns(child)),
            tuple(child for child in delegated if question.concerns(child)),
        )

    def _now(self) -> int:
        return int(self._clock.now())


class AskHandler:
    """Takes `query.ask` in."""

    type = ASK_TYPE
    stream = STREAM
    schemas = frozenset({SCHEMA})

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def identifiers(self, body: Any) -> Sequence[str]:  # noqa: ARG002 — the shared rule finds them all
        """Return nothing: the targets and subjects stand under `identifiers`."""
        return ()

    def check(self, body: Any) -> None:
        """Refuse a body that breaks the schema.

        Raises:
            MalformedError, InvalidValueError: it does.
        """
        question = Question.from_body(body)
        listed = body.get("identifiers")
        if listed != question.to_body()["identifiers"]:
            raise InvalidValueError("federation.queries.identifiers", field="identifiers")

    def apply(self, connection: Any, delivery: Delivery) -> None:
        """Write it down and hand it on; see `Queries.take_question`."""
        self._queries.take_question(connection, delivery)


class AnswerHandler:
    """Takes `query.answer` in."""

    type = ANSWER_TYPE
    stream = STREAM
    schemas = frozenset({SCHEMA})

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def identifiers(self, body: Any) -> Sequence[str]:  # noqa: ARG002 — the shared rule finds them all
        """Return nothing: who answers stands under `prefix`."""
        return ()

    def check(self, body: Any) -> None:
        """Refuse a body that breaks the schema.

        Raises:
            MalformedError: it does.
        """
        Answer.from_body(body)

    def apply(self, connection: Any, delivery: Delivery) -> None:
        """Keep it or pass it on; see `Queries.take_answer`."""
        self._queries.take_answer(connection, delivery)


def _relayed(delivery: Delivery, iss: Prefix, aud: Prefix) -> Draft:
    """Return the draft that carries what arrived on, unchanged."""
    arrived = delivery.arrived or Arrived(delivery.envelope, delivery.chain)
    body = relay_body(arrived.envelope, arrived.chain, arrived.data)
    return Draft(iss, aud, STREAM, RELAY_TYPE, relay_schema(STREAM), body)
