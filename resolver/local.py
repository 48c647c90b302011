"""Answers from this node's own records.

A single question costs one place in a batch: questions that come while others are being looked up wait for the next
batch and share its SELECT and its way through the thread pool. None joins a batch that has begun, so every answer
sees all writes committed before its question came.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache

from registry.clock import Clock
from registry.identifier import Identifier, Prefix
from registry.principal import Principal
from registry.record import Record
from registry.trust.encoding import b64u
from registry.trust.record_signature import public_jws, restricted_jws
from resolver.answer import Answer, Outcome, Proof, Query, Source
from resolver.ports import Authority
from resolver.shaping import OUTCOME_OF, life_of, shown

__all__ = ["LocalAnswers", "Lookups", "Question", "chain_sha256"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose identifier was read, and who asks it."""

    query: Query
    identifier: Identifier
    principal: Principal


@lru_cache(maxsize=1024)
def chain_sha256(chain: tuple[str, ...]) -> str:
    """Return what a chain is called: base64url SHA-256 of its statements joined by LF; empty for no chain."""
    return b64u(hashlib.sha256("\n".join(chain).encode()).digest()) if chain else ""


class LocalAnswers:
    """Turns own records into answers; blocking, for the thread pool.

    Args:
        authority: the records.
        clock: the clock.
        staleness: kind → greatest staleness in seconds; nobody may keep an answer longer.
        negative_ttl_seconds: how long others may keep a "not found".
    """

    def __init__(
        self,
        *,
        authority: Authority,
        clock: Clock,
        staleness: Callable[[str], int],
        negative_ttl_seconds: int,
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._staleness = staleness
        self._negative_ttl = negative_ttl_seconds

    def answer_many(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer questions about homed identifiers with one look-up.

        Raises:
            UnavailableError: the database cannot be read.
        """
        records = self._authority.records([question.identifier for question in questions])
        now = self._clock.now()
        return [
            self._answer(question, record, now) for question, record in zip(questions, records, strict=True)
        ]

    def _answer(self, question: Question, record: Record | None, now: float) -> Answer:
        query = question.query
        if record is None:
            return Answer(query.identifier, Outcome.NOT_FOUND, ttl=self._negative_ttl)
        owner = self._authority.owner(question.identifier)
        part, withheld = shown(record, query, question.principal, owner)
        return Answer(
            asked=query.identifier,
            outcome=OUTCOME_OF[record.status],
            source=Source.AUTHORITATIVE,
            ttl=min(life_of(part.values, now), self._staleness(record.kind)),
            record=part,
            withheld=withheld,
            proof=self._proof(record, part, with_chain=query.with_chain),
        )

    def _proof(self, record: Record, part: Record, *, with_chain: bool) -> Proof | None:
        if record.signature is None:
            return None
        chain = self._authority.chain_of(record)
        hidden = not all(value.visibility.is_public for value in part.values)
        return Proof(
            public_jws=public_jws(record),
            restricted_jws=restricted_jws(record) if hidden else None,
            chain_sha256=chain_sha256(chain),
            chain=chain if with_chain else (),
            issuer=Prefix(record.signature.issuer),
        )


class Lookups:
    """Gathers single look-ups into batches; belongs to one event loop.

    Args:
        executor: the bounded pool.
        look_up: answers a batch; blocking.
        lanes: batches that run at the same time.
        most: look-ups in one batch.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        look_up: Callable[[Sequence[Question]], list[Answer]],
        lanes: int,
        most: int,
    ) -> None:
        self._executor = executor
        self._look_up = look_up
        self._lanes = lanes
        self._most = most
        self._running = 0
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []

    async def ask(self, question: Question) -> Answer:
        """Answer one question.

        Raises:
            UnavailableError: the database cannot be read.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._running < self._lanes:
            self._start()
        return await future

    def _start(self) -> None:
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._running += 1
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._executor, self._look_up, [question for question, _ in batch])
        work.add_done_callback(lambda done: self._finish(batch, done))

    def _finish(
        self,
        batch: list[tuple[Question, "asyncio.Future[Answer]"]],
        done: "asyncio.Future[list[Answer]]",
    ) -> None:
        self._running -= 1
        if self._waiting:
            self._start()
        if done.cancelled():
            for _, future in batch:
                future.cancel()
            return
        error = done.exception()
        if error is not None:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, done.result(), strict=True):
            if not future.done():
                future.set_result(answer)
