"""The resolver: identifier in, answer out.

1. A malformed identifier, or a question that passed too many tiers, is refused by an answer that FAILED.
2. What this node homes is answered from its records, one look-up for a whole batch.
3. Without recursion everything else is a referral to a delegation made here, or refused.
4. Otherwise: what is remembered and fresh; else what another instance of this node shared (verified again); else a
   walk down from the deepest verified delegation, one for each identifier at a time.
5. When the owner cannot be asked, or is slow, the last answer is given with the mark STALE, as long as its kind
   allows; never for a record known to be withdrawn, and never under a delegation that was taken back.

Answers about other nodes' identifiers carry public values only, whoever asks: values for the federation will be
fetched once nodes prove to one another who asks. The same rule of visibility holds for them as for own records.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from registry.clock import Clock
from registry.errors import HazlinkError, LoopError, NotResponsibleError
from registry.identifier import Identifier, Prefix
from registry.principal import ANONYMOUS, Principal
from registry.trust.chain import Marks
from registry.trust.root import Anchor
from resolver.answer import Answer, Outcome, Query, Referral
from resolver.cache import Caches
from resolver.config import ResolverConfig
from resolver.local import LocalAnswers, Lookups, Question
from resolver.pool import in_pool
from resolver.ports import Authority, Change, Endpoint, Peer, SharedCache
from resolver.ready import Ready
from resolver.recursion import Recursion
from resolver.remote import RemoteAnswers
from resolver.verification import Trust, subject_of
from resolver.watching import Changes

__all__ = ["Resolver"]


class Resolver:
    """Answers questions.

    Consistency: an own record is as it was committed before the question came; an answer kept encoded by a door is at
    most `changes_poll_seconds` behind, or not at all after `catch_up`. Durability: none. Concurrency: any number of
    tasks of one event loop. Errors: none is raised for a question; the answer FAILED says why.

    Args:
        authority: what this node homes.
        peer: how other nodes are asked.
        anchor: the pinned root; None until the node has joined.
        anchor_endpoints: where the top tier answers.
        marks: where the newest versions of statements are kept.
        ready: encoded answers, shared with the doors.
        clock: the clock.
        executor: the bounded pool for what blocks.
        greatest_staleness: kind → seconds; asked from any thread.
        chance: a number in [0, 1) each time.
        config: settings.
        caches: what is remembered; None makes empty ones.
        shared: what the other instances of this node know.
    """

    def __init__(
        self,
        *,
        authority: Authority,
        peer: Peer,
        anchor: Anchor | None,
        anchor_endpoints: Sequence[Endpoint],
        marks: Marks,
        ready: Ready,
        clock: Clock,
        executor: Executor,
        greatest_staleness: Callable[[str], int],
        chance: Callable[[], float],
        config: ResolverConfig | None = None,
        caches: Caches | None = None,
        shared: SharedCache | None = None,
    ) -> None:
        self._authority = authority
        self._executor = executor
        self._config = config = config or ResolverConfig()
        self._ready = ready
        self._shared = shared
        self._caches = caches = caches or Caches(config)
        self._trust = trust = Trust(
            marks=marks,
            clock=clock,
            anchor=anchor,
            top=anchor_endpoints,
            delegation_seconds=config.delegation_seconds,
            most=config.chain_entries,
        )
        ground = _Ground(authority, clock, executor, config)
        staleness = _forgiving(greatest_staleness, config.unknown_kind_staleness_seconds)
        self._local, self._lookups = _own_answers(ground, staleness)
        self._remote = RemoteAnswers(
            recursion=_recursion(ground, peer, trust, caches),
            trust=trust,
            caches=caches,
            ready=ready,
            clock=clock,
            executor=executor,
            config=config,
            staleness=staleness,
            chance=chance,
            shared=shared,
        )
        self._changes = Changes(
            authority=authority,
            clock=clock,
            executor=executor,
            config=config,
            on_change=self._changed,
            on_lost=self._lost,
        )

    @property
    def caches(self) -> Caches:
        """What is remembered of other nodes' answers."""
        return self._caches

    def use_anchor(self, anchor: Anchor, endpoints: Sequence[Endpoint]) -> None:
        """Take the root this node was pinned to when it joined, or a later version of it."""
        self._trust.use(anchor, endpoints)
        self._lost()

    async def resolve(self, query: Query, principal: Principal = ANONYMOUS) -> Answer:
        """Answer one question."""
        question = self._read(query, principal)
        if isinstance(question, Answer):
            return question
        if not self._authority.homes(question.identifier):
            return (await self._elsewhere((question,)))[0]
        try:
            answer = await self._lookups.ask(question)
        except HazlinkError as error:
            return _failed(query, error)
        if answer.outcome is Outcome.NOT_FOUND and self._authority.is_copy(question.identifier):
            return (await self._elsewhere((question,)))[0]
        return answer

    async def resolve_many(self, queries: Sequence[Query], principal: Principal = ANONYMOUS) -> list[Answer]:
        """Answer every question, in order."""
        answers: list[Answer | None] = [None] * len(queries)
        own: list[tuple[int, Question]] = []
        others: list[tuple[int, Question]] = []
        homes = self._authority.homes
        for number, query in enumerate(queries):
            question = self._read(query, principal)
            if isinstance(question, Answer):
                answers[number] = question
            else:
                (own if homes(question.identifier) else others).append((number, question))
        if own:
            found = await self._own([question for _, question in own])
            for (number, question), answer in zip(own, found, strict=True):
                if answer.outcome is Outcome.NOT_FOUND and self._authority.is_copy(question.identifier):
                    others.append((number, question))
                answers[number] = answer
        if others:
            found = await self._elsewhere([question for _, question in others])
            for (number, _), answer in zip(others, found, strict=True):
                answers[number] = answer
        return [answer for answer in answers if answer is not None]

    def watch(
        self,
        identifiers: Sequence[str],
        prefix: Prefix | None = None,
        after: int = 0,
        principal: Principal = ANONYMOUS,
    ) -> AsyncIterator[Change]:
        """Yield every change after `after` of the named identifiers or of a whole prefix, in order, without end.

        Args:
            identifiers: homed here, in any spelling.
            prefix: homed here; the principal must be allowed to list it.
            after: a position; 0 means from now on.
            principal: who watches.

        Raises:
            MalformedIdentifierError: an identifier cannot be read.
            NotResponsibleError: something named is not homed here.
            UnauthenticatedError: a prefix may not be listed by somebody unknown.
            ForbiddenError: nor by this principal.
            UnavailableError: the database cannot be read.
        """
        return self._changes.watch(identifiers, prefix, after, principal)

    def wake(self) -> None:
        """Have the change table looked at now; from any thread."""
        self._changes.wake()

    async def catch_up(self) -> None:
        """Return when no door serves anything older than what was committed before this call.

        Raises:
            UnavailableError: the database cannot be read.
        """
        if await self._changes.catch_up() and self._shared is not None:
            await self._shared.wake()

    async def follow_changes(self) -> None:
        """Keep up with the change table, and with what other instances learn, until cancelled."""
        async with asyncio.TaskGroup() as running:
            running.create_task(self._changes.follow())
            if self._shared is not None:
                running.create_task(self._shared.listen(self._remote.forget_older, self._changes.wake))

    async def close(self) -> None:
        """Call back what is under way."""
        await self._remote.close()

    def _read(self, query: Query, principal: Principal) -> Question | Answer:
        try:
            identifier = Identifier.parse(query.identifier)
            if query.hops >= self._config.hop_limit:
                raise LoopError(
                    "resolver.walk.hops",
                    field="hops",
                    value=query.identifier,
                    limit=self._config.hop_limit,
                )
        except HazlinkError as error:
            return _failed(query, error)
        return Question(query, identifier, principal)

    async def _own(self, questions: Sequence[Question]) -> list[Answer]:
        try:
            return await in_pool(self._executor, self._local.answer_many, questions)
        except HazlinkError as error:
            return [_failed(question.query, error) for question in questions]

    async def _elsewhere(self, questions: Sequence[Question]) -> list[Answer]:
        if all(question.query.recurse for question in questions):
            return await self._remote.answer_many(questions)
        walking = [question for question in questions if question.query.recurse]
        walked = iter(await self._remote.answer_many(walking) if walking else ())
        return [next(walked) if question.query.recurse else self._refer(question) for question in questions]

    def _refer(self, question: Question) -> Answer:
        query = question.query
        chain = self._authority.delegation(question.identifier.authority)
        if not chain:
            return _failed(
                query,
                NotResponsibleError("resolver.walk.not_here", field="identifier", value=query.identifier),
            )
        return Answer(
            asked=query.identifier,
            outcome=Outcome.REFERRAL,
            ttl=int(self._config.delegation_seconds),
            referral=Referral(subject_of(chain[0]), chain),
        )

    def _changed(self, change: Change) -> None:
        self._ready.drop(change.identifier)
        self._caches.drop(change.identifier)
        named = Identifier.parse(change.identifier).named_prefix
        if named is not None:
            # a delegation: every answer below it may hang on another chain now
            self._trust.forget(named)
            self._caches.drop_below(named)
            self._ready.clear()

    def _lost(self) -> None:
        self._ready.clear()
        self._caches.clear()


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every part of the resolver stands on."""

    authority: Authority
    clock: Clock
    executor: Executor
    config: ResolverConfig


def _own_answers(ground: _Ground, staleness: Callable[[str], int]) -> tuple[LocalAnswers, Lookups]:
    local = LocalAnswers(
        authority=ground.authority,
        clock=ground.clock,
        staleness=staleness,
        negative_ttl_seconds=ground.config.negative_ttl_seconds,
    )
    lookups = Lookups(
        executor=ground.executor,
        look_up=local.answer_many,
        lanes=ground.config.lookup_lanes,
        most=ground.config.lookup_batch,
    )
    return local, lookups


def _recursion(ground: _Ground, peer: Peer, trust: Trust, caches: Caches) -> Recursion:
    return Recursion(
        authority=ground.authority,
        peer=peer,
        trust=trust,
        caches=caches,
        clock=ground.clock,
        executor=ground.executor,
        config=ground.config,
    )


def _failed(query: Query, error: HazlinkError) -> Answer:
    return Answer(query.identifier, Outcome.FAILED, error=error)


def _forgiving(staleness: Callable[[str], int], otherwise: int) -> Callable[[str], int]:
    """Answer for kinds whose template is newer than this node."""

    def of(kind: str) -> int:
        try:
            return staleness(kind)
        except (KeyError, HazlinkError):
            return otherwise

    return of
