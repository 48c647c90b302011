"""Answers about what other nodes home: remembered, shared, or fetched; and what is given while they are silent."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, TypeAlias

from registry.clock import Clock
from registry.errors import HazlinkError, InternalError, UnavailableError
from registry.identifier import Identifier
from registry.record import Status
from resolver.answer import Answer, Outcome, Source
from resolver.cache import Caches, HighWater, Kept
from resolver.config import ResolverConfig
from resolver.local import Question
from resolver.pool import in_pool
from resolver.ports import SharedCache
from resolver.ready import Ready
from resolver.recursion import Landing, Recursion
from resolver.shaping import OUTCOME_OF, life_of, shown
from resolver.verification import Found, Missing, Trust
from resolver.walk import Zone

__all__ = ["RemoteAnswers"]

_LOG = logging.getLogger(__name__)

#: What a flight brings home; `Missing` with the seconds it may be kept.
_Landed: TypeAlias = Kept | Missing | HazlinkError


class RemoteAnswers:
    """Answers questions about identifiers that are not homed here; belongs to one event loop.

    Args:
        recursion: walks the tiers.
        trust: verifies.
        caches: remembers.
        ready: encoded answers, dropped when something newer is learnt.
        clock: the clock.
        executor: the bounded pool.
        config: settings.
        staleness: kind → greatest staleness in seconds.
        chance: a number in [0, 1) each time, so that nodes do not fetch in step.
        shared: what the other instances of this node know.
    """

    def __init__(
        self,
        *,
        recursion: Recursion,
        trust: Trust,
        caches: Caches,
        ready: Ready,
        clock: Clock,
        executor: Executor,
        config: ResolverConfig,
        staleness: Callable[[str], int],
        chance: Callable[[], float],
        shared: SharedCache | None,
    ) -> None:
        self._recursion = recursion
        self._trust = trust
        self._caches = caches
        self._ready = ready
        self._clock = clock
        self._executor = executor
        self._config = config
        self._staleness = staleness
        self._chance = chance
        self._shared = shared
        self._flights: dict[str, asyncio.Future[_Landed]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._generation = trust.generation

    async def answer_many(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer every question, in order; never raises for one of them."""
        answers = [self._remembered(question) for question in questions]
        waiting = [number for number, answer in enumerate(answers) if answer is None]
        if waiting and self._shared is not None:
            await self._adopt([questions[number] for number in waiting], self._shared)
            for number in waiting:
                answers[number] = self._remembered(questions[number])
            waiting = [number for number in waiting if answers[number] is None]
        if waiting:
            asked = [questions[number] for number in waiting]
            flights = self._board(asked)
            await self._wait(asked, flights)
            for number, flight in zip(waiting, flights, strict=True):
                answers[number] = self._landed(questions[number], flight)
        return [answer for answer in answers if answer is not None]

    def forget_older(self, key: str, version: int) -> None:
        """Forget what is remembered about a record that has come to `version`."""
        kept = self._caches.positive.get(key)
        if kept is None or kept.record.version < version:
            self._caches.drop(key)
            self._ready.drop(key)

    async def close(self) -> None:
        """Call everything back that is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- remembered -------------------------------------------------------------------------------------------

    def _remembered(self, question: Question) -> Answer | None:
        key, now = question.identifier.key, self._clock.monotonic()
        if not question.query.authoritative:
            kept = self._caches.positive.get(key)
            if kept is not None and now < kept.fresh_until and self._trust.is_current(kept.chain):
                kept.asks += 1
                if now >= kept.prefetch_at and kept.asks >= self._config.prefetch_least_asks:
                    self._launch([question.identifier], 0)
                return self._answer(question, kept, Source.CACHED, now)
            absence = self._caches.missing(key, now)
            if absence is not None:
                return Answer(
                    question.query.identifier,
                    Outcome.NOT_FOUND,
                    Source.CACHED,
                    age=int(now - absence.since),
                    ttl=int(absence.until - now),
                )
        failure = self._caches.failure(key, now)
        return None if failure is None else self._in_absence(question, failure.error)

    def _stale(self, question: Question, now: float) -> Kept | None:
        """Return what may be given while the owner is silent."""
        kept = self._caches.positive.get(question.identifier.key)
        if kept is None or not kept.may_be_stale(now) or not self._trust.is_current(kept.chain):
            return None
        return kept

    def _in_absence(self, question: Question, error: HazlinkError) -> Answer:
        now = self._clock.monotonic()
        kept = self._stale(question, now)
        if kept is not None:
            # one that is still fresh was asked past: its mark is the truth all the same, the owner did not confirm it
            return self._answer(question, kept, Source.STALE, now)
        mark = self._caches.last_seen(question.identifier.key)
        if mark is not None and mark.status is not Status.ACTIVE and isinstance(error, UnavailableError):
            error = UnavailableError(
                f"resolver.walk.known_{mark.status.name.lower()}",
                retry_after=error.retry_after,
                value=question.identifier.text,
                reason=str(error),
            )
        return Answer(question.query.identifier, Outcome.FAILED, error=error)

    def _answer(self, question: Question, kept: Kept, source: Source, now: float) -> Answer:
        query = question.query
        part, hidden = shown(kept.record, query, question.principal, kept.chain.subject)
        if query.types or not query.indexes:
            hidden += kept.withheld
        else:
            hidden += tuple(index for index in kept.withheld if index in query.indexes)
        left = self._config.stale_ttl_seconds if source is Source.STALE else int(kept.fresh_until - now)
        return Answer(
            asked=query.identifier,
            outcome=OUTCOME_OF[kept.record.status],
            source=source,
            age=int(now - kept.left_at),
            ttl=max(0, left),
            record=part,
            withheld=hidden,
            proof=kept.proof if query.with_chain else replace(kept.proof, chain=()),
        )

    # --- fetched ----------------------------------------------------------------------------------------------

    def _board(self, questions: Sequence[Question]) -> "list[asyncio.Future[_Landed]]":
        """Return the flight of each question, joining those that are under way already."""
        by_hops: defaultdict[int, dict[str, Identifier]] = defaultdict(dict)
        for question in questions:
            by_hops[question.query.hops][question.identifier.key] = question.identifier
        for hops, identifiers in by_hops.items():
            self._launch(list(identifiers.values()), hops)
        return [self._flights[question.identifier.key] for question in questions]

    def _launch(self, identifiers: Sequence[Identifier], hops: int) -> None:
        loop = asyncio.get_running_loop()
        new = [identifier for identifier in identifiers if identifier.key not in self._flights]
        for identifier in new:
            self._flights[identifier.key] = loop.create_future()
        if new:
            self._start(self._fly(new, hops))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fly(self, identifiers: Sequence[Identifier], hops: int) -> None:
        try:
            await self._recursion.run(identifiers, hops, self._land)
        except Exception:  # noqa: BLE001 — whoever waits must be told, whatever it was; the log has it in full
            _LOG.exception("a walk broke off")
        finally:
            for identifier in identifiers:
                if identifier.key in self._flights:
                    self._finish(identifier.key, InternalError("resolver.walk.broken"))
        if self._trust.generation != self._generation:
            # a delegation changed: encoded answers may hang on a chain that no longer counts
            self._generation = self._trust.generation
            self._ready.clear()

    def _land(self, identifier: Identifier, landing: Landing) -> None:
        key, now = identifier.key, self._clock.monotonic()
        landed: _Landed
        try:
            match landing:
                case Found():
                    known = self._caches.last_seen(key)
                    landed = self._keep(key, landing, now)
                    if self._shared is not None:
                        self._start(self._share(self._shared, key, landed, known, now))
                case Missing(ttl):
                    self._caches.keep_missing(key, ttl, now)
                    landed = landing
                case _:
                    landed = landing
        except HazlinkError as error:
            landed = error
        if isinstance(landed, HazlinkError):
            self._caches.fail(key, landed, now, grow=not isinstance(landed, UnavailableError))
        self._finish(key, landed)

    def _finish(self, key: str, landed: _Landed) -> None:
        flight = self._flights.pop(key)
        if not flight.done():
            flight.set_result(landed)

    def _keep(self, key: str, found: Found, now: float) -> Kept:
        kept = self._to_kept(found, now)
        if self._caches.keep(key, kept, now):
            self._ready.drop(key)
        return kept

    async def _share(
        self, shared: SharedCache, key: str, kept: Kept, known: HighWater | None, now: float
    ) -> None:
        """Share an answer, and only then tell of it: who hears the news looks there first."""
        await shared.put_many([(key, self._shareable(kept, now))])
        version = kept.record.version
        if known is not None and known.version < version:
            await shared.announce(key, version)

    def _to_kept(self, found: Found, now: float) -> Kept:
        wall = self._clock.now()
        left_at = now - found.age
        limit = self._staleness(found.record.kind)
        life = min(life_of(found.record.values, wall - found.age), limit * self._config.fresh_share)
        ends = now + (found.chain.expires - wall)
        fresh_until = min(left_at + life, now + found.ttl, ends)
        share = self._config.prefetch_share * (1 + self._chance()) / 2
        return Kept(
            record=found.record,
            withheld=found.withheld,
            proof=found.proof,
            chain=found.chain,
            authoritative=found.authoritative,
            left_at=left_at,
            fresh_until=fresh_until,
            stale_until=min(left_at + min(limit, self._config.stale_keep_seconds), ends),
            prefetch_at=fresh_until - max(0.0, fresh_until - now) * share,
        )

    async def _wait(
        self, questions: Sequence[Question], flights: "Sequence[asyncio.Future[_Landed]]"
    ) -> None:
        """Wait until all have landed; a question that has a stale answer waits for a short time only."""
        now = self._clock.monotonic()
        hurried = {
            flight
            for question, flight in zip(questions, flights, strict=True)
            if self._stale(question, now) is not None
        }
        if hurried:
            landed = asyncio.ensure_future(asyncio.wait(hurried))
            timer = asyncio.ensure_future(self._clock.sleep(self._config.stale_timer_seconds))
            try:
                await asyncio.wait({landed, timer}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                landed.cancel()
                timer.cancel()
        others = {flight for flight in flights if flight not in hurried}
        if others:
            await asyncio.wait(others)

    def _landed(self, question: Question, flight: "asyncio.Future[_Landed]") -> Answer:
        if not flight.done():
            return self._in_absence(
                question, UnavailableError("resolver.walk.slow", value=question.identifier.text)
            )
        match flight.result():
            case Kept() as kept:
                first_hand = question.query.authoritative and kept.authoritative
                source = Source.AUTHORITATIVE if first_hand else Source.CACHED
                return self._answer(question, kept, source, self._clock.monotonic())
            case Missing(ttl):
                return Answer(
                    question.query.identifier,
                    Outcome.NOT_FOUND,
                    Source.AUTHORITATIVE if question.query.authoritative else Source.CACHED,
                    ttl=min(ttl, self._config.negative_greatest_seconds),
                )
            case error:
                return self._in_absence(question, error)

    # --- shared -----------------------------------------------------------------------------------------------

    def _shareable(self, kept: Kept, now: float) -> Answer:
        return Answer(
            asked=kept.record.identifier.text,
            outcome=OUTCOME_OF[kept.record.status],
            source=Source.AUTHORITATIVE if kept.authoritative else Source.CACHED,
            age=int(now - kept.left_at),
            ttl=max(0, int(kept.fresh_until - now)),
            record=kept.record,
            withheld=kept.withheld,
            proof=kept.proof,
        )

    async def _adopt(self, questions: Sequence[Question], shared: SharedCache) -> None:
        """Take over what other instances know, after verifying it as if a stranger had said it."""
        wanted = {
            question.identifier.key: question.identifier
            for question in questions
            if not question.query.authoritative and question.identifier.key not in self._flights
        }
        if not wanted:
            return
        answers = await shared.get_many(list(wanted))
        told = [
            (identifier, answer)
            for identifier, answer in zip(wanted.values(), answers, strict=True)
            if answer is not None
        ]
        if not told:
            return
        verdicts = await in_pool(self._executor, self._judge, told)
        now = self._clock.monotonic()
        for (identifier, _), verdict in zip(told, verdicts, strict=True):
            if isinstance(verdict, Found):
                try:
                    self._keep(identifier.key, verdict, now)
                except HazlinkError:
                    _LOG.warning("a shared answer about %s is older than what was seen", identifier.key)
            else:
                _LOG.warning("a shared answer about %s did not verify: %s", identifier.key, verdict)

    def _judge(self, told: Sequence[tuple[Identifier, Answer]]) -> "list[Found | object]":
        return [
            self._trust.judge(answer, identifier, self._trust.nearest(identifier) or Zone(None, ()))
            for identifier, answer in told
        ]
