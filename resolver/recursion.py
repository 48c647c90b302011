"""Walking the tiers for many identifiers at once: asks, has verified, follows, keeps.

Walks that stand at the same endpoint go into one question. The decision is `resolver.walk`, the belief
`resolver.verification`; here is the I/O between them.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeAlias

from registry.clock import Clock
from registry.errors import HazlinkError, LimitError, MalformedError, UnavailableError
from registry.identifier import Identifier
from resolver.answer import Answer, Query
from resolver.cache import Caches
from resolver.config import ResolverConfig
from resolver.pool import in_pool
from resolver.ports import Authority, Endpoint, Peer
from resolver.verification import Found, Missing, Referred, Trust, Verdict
from resolver.walk import Walk, Zone

__all__ = ["Landing", "Recursion"]

#: How a walk ended.
Landing: TypeAlias = Found | Missing | HazlinkError

_Land: TypeAlias = Callable[[Identifier, Landing], None]


class Recursion:
    """Walks; belongs to one event loop."""

    def __init__(
        self,
        *,
        authority: Authority,
        peer: Peer,
        trust: Trust,
        caches: Caches,
        clock: Clock,
        executor: Executor,
        config: ResolverConfig,
    ) -> None:
        self._authority = authority
        self._peer = peer
        self._trust = trust
        self._caches = caches
        self._clock = clock
        self._executor = executor
        self._config = config

    async def run(self, identifiers: Sequence[Identifier], hops: int, land: _Land) -> None:
        """Look for identifiers; call `land` once for each, as soon as its walk has ended."""
        starts = await in_pool(self._executor, self._starts, identifiers, hops)
        walks: list[Walk] = []
        for identifier, start in zip(identifiers, starts, strict=True):
            if isinstance(start, Walk):
                walks.append(start)
            else:
                land(identifier, start)
        await self._advance(walks, land)

    def _starts(self, identifiers: Sequence[Identifier], hops: int) -> list[Walk | HazlinkError]:
        """Choose where each walk begins; blocking, because a chain may have to be verified."""
        return [self._start(identifier, hops) for identifier in identifiers]

    def _start(self, identifier: Identifier, hops: int) -> Walk | HazlinkError:
        own = self._authority.delegation(identifier.authority)
        try:
            if own:
                zone = self._trust.learn(self._trust.delegated(own, identifier))
                known = self._trust.nearest(identifier)
                # what lies below our own delegation may be known better
                zone = known if known is not None and _is_below(known, zone) else zone
            else:
                zone = self._trust.nearest(identifier) or self._trust.top()
        except HazlinkError as error:
            return error
        return Walk(identifier, zone, hops=hops, limit=self._config.hop_limit)

    async def _advance(self, walks: Sequence[Walk], land: _Land) -> None:
        groups: dict[tuple[Endpoint, int], list[Walk]] = {}
        ended: list[tuple[Walk, HazlinkError]] = []
        for walk in walks:
            whom = self._whom(walk)
            if isinstance(whom, Endpoint):
                groups.setdefault((whom, walk.hops), []).append(walk)
            else:
                ended.append((walk, whom))
        size = self._config.peer_batch
        asked = [
            self._ask(endpoint, group[start : start + size], land)
            for (endpoint, _), group in groups.items()
            for start in range(0, len(group), size)
        ]
        asked += [
            self.run(identifiers, hops, land) for hops, identifiers in self._from_above(ended, land).items()
        ]
        if len(asked) == 1:
            await asked[0]
        elif asked:
            await asyncio.gather(*asked)

    def _whom(self, walk: Walk) -> Endpoint | HazlinkError:
        """Return whom to ask, past those that failed a moment ago; the reason when the walk has ended."""
        now = self._clock.monotonic()
        while True:
            try:
                endpoint = walk.next()
            except HazlinkError as error:
                if self._leap(walk, error):
                    continue
                return error
            failure = self._caches.failure(_place(endpoint), now)
            if failure is None:
                return endpoint
            walk.fail(failure.error)

    def _from_above(
        self, ended: Sequence[tuple[Walk, HazlinkError]], land: _Land
    ) -> dict[int, list[Identifier]]:
        """Land what has ended, except what is to be walked again because the way to it may be another by now.

        A prefix that moved, or whose certificate was renewed, is not where a remembered delegation says; its superior
        knows. The superior is asked once; that does not happen again for a while.
        """
        prefixes = {walk.zone.prefix for walk, _ in ended if walk.zone.prefix is not None}
        doubted = {prefix for prefix in prefixes if self._trust.doubt(prefix)}
        again: dict[int, list[Identifier]] = {}
        for walk, error in ended:
            if walk.zone.prefix in doubted:
                again.setdefault(walk.hops, []).append(walk.identifier)
            else:
                land(walk.identifier, error)
        return again

    def _leap(self, walk: Walk, error: HazlinkError) -> bool:
        """Go on to a zone known from before when the tier above it is silent: its delegation is still good."""
        if not isinstance(error, UnavailableError):
            return False
        zone = self._trust.nearest(walk.identifier, old=True)
        if zone is None or not _is_below(zone, walk.zone):
            return False
        try:
            walk.refer(zone)
        except HazlinkError:
            return False
        return True

    async def _ask(self, endpoint: Endpoint, walks: Sequence[Walk], land: _Land) -> None:
        queries = [
            Query(walk.identifier.text, recurse=False, with_chain=True, hops=walk.hops) for walk in walks
        ]
        try:
            answers = await self._peer.ask(endpoint, queries)
            if len(answers) != len(queries):
                raise MalformedError(
                    "resolver.walk.reply_count",
                    field="replies",
                    count=len(answers),
                    expected=len(queries),
                )
        except HazlinkError as error:
            await self._left_alone(endpoint, walks, land, error)
            return
        self._caches.recover(_place(endpoint))
        verdicts = await in_pool(self._executor, self._judge, answers, walks)
        onward = [
            walk
            for walk, verdict in zip(walks, verdicts, strict=True)
            if not self._settle(walk, verdict, land)
        ]
        await self._advance(onward, land)

    async def _left_alone(
        self, endpoint: Endpoint, walks: Sequence[Walk], land: _Land, error: HazlinkError
    ) -> None:
        if isinstance(error, LimitError) and len(walks) > 1:
            half = len(walks) // 2  # the reply was too large: ask for less at once
            await self._ask(endpoint, walks[:half], land)
            await self._ask(endpoint, walks[half:], land)
            return
        if not isinstance(error, LimitError):
            self._caches.fail(_place(endpoint), error, self._clock.monotonic())
        for walk in walks:
            walk.fail(error)
        await self._advance(walks, land)

    def _judge(self, answers: Sequence[Answer], walks: Sequence[Walk]) -> list[Verdict]:
        return [
            self._trust.judge(answer, walk.identifier, walk.zone)
            for answer, walk in zip(answers, walks, strict=True)
        ]

    def _settle(self, walk: Walk, verdict: Verdict, land: _Land) -> bool:
        """Take a verdict to heart; say whether the walk has ended by it."""
        key = walk.identifier.key
        try:
            match verdict:
                case Found():
                    self._caches.check(key, verdict.record)
                case Missing():
                    self._caches.check(key, None)
                case Referred(chain):
                    walk.check_referral(chain.subject)
                    walk.refer(self._trust.learn(chain))
                    return False
                case _:
                    raise verdict
        except HazlinkError as error:
            walk.fail(error)
            return False
        land(walk.identifier, verdict)
        return True


def _is_below(zone: Zone, other: Zone) -> bool:
    if zone.prefix is None or zone.prefix == other.prefix:
        return False
    return other.prefix is None or other.prefix.contains(zone.prefix)


def _place(endpoint: Endpoint) -> str:
    """Name an endpoint in the memory of failures: with another certificate it is another one."""
    return f"{endpoint.url} {endpoint.tls_sha256 or ''}"
