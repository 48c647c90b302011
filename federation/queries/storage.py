"""Tables of questions: those this node asks, those it is asked, and the answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    update,
)

from federation.queries.query import Answer, AnswerStatus, Question
from registry.identifier import Prefix
from registry.storage.engine import metadata

__all__ = ["Asked", "GivenAnswer", "QueryUnit", "query_answer", "query_asked", "query_received"]


def _key(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


#: Questions asked here.
query_asked = Table(
    "query_asked",
    metadata,
    Column("id", _key(64), primary_key=True),
    Column("asker", _key(64), nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_query_asked_asker", "asker", "asked_at"),
)

#: Answers that came to a question asked here, or passed through.
query_answer = Table(
    "query_answer",
    metadata,
    Column("query", _key(64), nullable=False),
    Column("prefix", _key(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    # the signed envelope that brought it: b64u SHA-256 of its signing input
    Column("env", String(43), nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("query", "prefix"),
)

#: Questions put to a prefix homed here; what its own people may always see.
query_received = Table(
    "query_received",
    metadata,
    Column("query", _key(64), nullable=False),
    Column("prefix", _key(64), nullable=False),
    Column("asker", _key(64), nullable=False),
    # who handed it on to this node: the way back for the answers
    Column("came_from", _key(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("env", String(43), nullable=False),
    # the children it was handed on to, as JSON
    Column("handed_on", Text, nullable=False),
    # empty: still to be answered
    Column("status", String(16), nullable=False),
    Column("answered_at", BigInteger),
    PrimaryKeyConstraint("query", "prefix"),
    Index("ix_query_received_prefix", "prefix", "at"),
    Index("ix_query_received_status", "status", "at"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a prefix homed here received it."""

    question: Question
    prefix: Prefix
    came_from: Prefix
    at: int
    env: str
    handed_on: tuple[Prefix, ...]
    status: str
    answered_at: int | None


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer with the envelope that vouches for it."""

    answer: Answer
    env: str
    at: int


class QueryUnit:
    """The queries' tables within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_question(self, question: Question) -> None:
        """Keep a question asked here."""
        self._connection.execute(
            insert(query_asked).values(
                id=question.id,
                asker=question.asker.key,
                asked_at=question.asked_at,
                expires=question.expires,
                body=orjson.dumps(question.to_body()),
            )
        )

    def question(self, id_: str) -> Question | None:
        """Return a question asked here."""
        row = self._connection.execute(select(query_asked.c.body).where(query_asked.c.id == id_)).first()
        return Question.from_body(orjson.loads(row.body)) if row else None

    def questions(self, asker: Prefix, *, limit: int) -> list[Question]:
        """Return the newest questions of a prefix."""
        asked = (
            select(query_asked.c.body)
            .where(query_asked.c.asker == asker.key)
            .order_by(query_asked.c.asked_at.desc(), query_asked.c.id)
            .limit(limit)
        )
        return [Question.from_body(orjson.loads(row.body)) for row in self._connection.execute(asked)]

    def add_answer(self, answer: Answer, *, env: str, at: int) -> bool:
        """Keep an answer; the first of a prefix stands. Say whether it was new."""
        known = self._connection.execute(
            select(query_answer.c.env).where(
                query_answer.c.query == answer.query, query_answer.c.prefix == answer.prefix.key
            )
        ).first()
        if known is not None:
            return False
        self._connection.execute(
            insert(query_answer).values(
                query=answer.query,
                prefix=answer.prefix.key,
                status=answer.status.value,
                body=orjson.dumps(answer.to_body()),
                env=env,
                at=at,
            )
        )
        return True

    def answers(self, id_: str) -> list[GivenAnswer]:
        """Return the answers to a question, by prefix."""
        asked = select(query_answer).where(query_answer.c.query == id_).order_by(query_answer.c.prefix)
        return [
            GivenAnswer(Answer.from_body(orjson.loads(row.body)), row.env, row.at)
            for row in self._connection.execute(asked)
        ]

    def add_received(
        self,
        question: Question,
        prefix: Prefix,
        *,
        came_from: Prefix,
        env: str,
        at: int,
        handed_on: Sequence[Prefix],
    ) -> bool:
        """Keep a question put to a prefix homed here; say whether it was new."""
        if self.received_one(question.id, prefix) is not None:
            return False
        self._connection.execute(
            insert(query_received).values(
                query=question.id,
                prefix=prefix.key,
                asker=question.asker.key,
                came_from=came_from.key,
                at=at,
                expires=question.expires,
                body=orjson.dumps(question.to_body()),
                env=env,
                handed_on=orjson.dumps([child.key for child in handed_on]).decode(),
                status="",
                answered_at=None,
            )
        )
        return True

    def received_one(self, id_: str, prefix: Prefix) -> Asked | None:
        """Return one question put to a prefix."""
        row = self._connection.execute(
            select(query_received).where(query_received.c.query == id_, query_received.c.prefix == prefix.key)
        ).first()
        return _asked(row) if row else None

    def way_back(self, id_: str) -> Prefix | None:
        """Return who handed a question on to this node."""
        found = self._connection.execute(
            select(query_received.c.came_from).where(query_received.c.query == id_).limit(1)
        ).scalar()
        return Prefix(found) if found else None

    def received(self, prefix: Prefix, *, limit: int) -> list[Asked]:
        """Return the newest questions put to a prefix."""
        asked = (
            select(query_received)
            .where(query_received.c.prefix == prefix.key)
            .order_by(query_received.c.at.desc(), query_received.c.query)
            .limit(limit)
        )
        return [_asked(row) for row in self._connection.execute(asked)]

    def waiting(self, limit: int) -> list[Asked]:
        """Return questions that are still to be answered here, oldest first."""
        asked = (
            select(query_received)
            .where(query_received.c.status == "")
            .order_by(query_received.c.at, query_received.c.query)
            .limit(limit)
        )
        return [_asked(row) for row in self._connection.execute(asked)]

    def settle(self, asked: Asked, status: AnswerStatus, at: int) -> bool:
        """Note that a question was answered; False when somebody else did it meanwhile."""
        done = self._connection.execute(
            update(query_received)
            .where(
                query_received.c.query == asked.question.id,
                query_received.c.prefix == asked.prefix.key,
                query_received.c.status == "",
            )
            .values(status=status.value, answered_at=at)
        )
        return done.rowcount == 1

    def count_waiting(self) -> int:
        """Return how many questions are still to be answered here."""
        return int(
            self._connection.execute(
                select(func.count()).select_from(query_received).where(query_received.c.status == "")
            ).scalar_one()
        )


def _asked(row: Any) -> Asked:
    return Asked(
        question=Question.from_body(orjson.loads(row.body)),
        prefix=Prefix(row.prefix),
        came_from=Prefix(row.came_from),
        at=row.at,
        env=row.env,
        handed_on=tuple(Prefix(key) for key in orjson.loads(row.handed_on)),
        status=row.status,
        answered_at=row.answered_at,
    )
