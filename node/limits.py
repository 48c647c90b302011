"""How often somebody may ask: token buckets, in memory or in Redis.

With Redis the instances of a node count together; when it does not answer, each goes on by itself from memory and
tries Redis again after a while. A limiter must never be the reason why nobody is served.
"""

from collections import OrderedDict
from typing import Any, Protocol

from registry.clock import Clock
from registry.errors import RateLimitError

__all__ = ["Buckets", "Limiter", "MemoryBuckets", "RedisBuckets"]

_MOST = 50_000
_RETRY_SECONDS = 5.0

#: Refills by the time that passed, takes one; returns the seconds to wait, as text (Redis cuts numbers off).
_TAKE = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'n', 't')
local level = math.min(burst, (tonumber(kept[1]) or burst) + (now - (tonumber(kept[2]) or now)) * rate)
local wait = 0
if level >= 1 then level = level - 1 else wait = (1 - level) / rate end
redis.call('HSET', KEYS[1], 'n', tostring(level), 't', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return tostring(wait)
"""


class Buckets(Protocol):
    """Token buckets by name.

    Consistency: approximate across processes. Durability: none. Concurrency: the event loop's tasks. Errors: none;
    a store that does not answer is passed over.
    """

    async def take(self, name: str) -> float:
        """Take one token; return the seconds to wait, 0 when there was one."""
        ...


class MemoryBuckets:
    """Token buckets of this process; bounded, the least recently used are forgotten."""

    def __init__(self, *, per_second: float, burst: int, clock: Clock) -> None:
        self._rate = per_second
        self._burst = float(max(burst, 1))
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take_now(self, name: str) -> float:
        """Take one token without awaiting anything."""
        now = self._clock.monotonic()
        kept = self._levels.get(name)
        if kept is None:
            if len(self._levels) >= _MOST:
                self._levels.popitem(last=False)
            level = self._burst
        else:
            level = min(self._burst, kept[0] + (now - kept[1]) * self._rate)
            self._levels.move_to_end(name)
        if level < 1.0:
            self._levels[name] = (level, now)
            return (1.0 - level) / self._rate
        self._levels[name] = (level - 1.0, now)
        return 0.0

    async def take(self, name: str) -> float:
        """Take one token."""
        return self.take_now(name)


class RedisBuckets:
    """Token buckets that several instances share."""

    def __init__(
        self, *, redis: Any, space: str, per_second: float, burst: int, clock: Clock, instead: MemoryBuckets
    ) -> None:
        self._take = redis.register_script(_TAKE)
        self._space = space
        self._arguments = [per_second, max(burst, 1)]
        self._clock = clock
        self._instead = instead
        self._silent_until = 0.0

    async def take(self, name: str) -> float:
        """Take one token, from memory while Redis is silent."""
        now = self._clock.monotonic()
        if now < self._silent_until:
            return self._instead.take_now(name)
        try:
            return float(await self._take(keys=[f"{self._space}:{name}"], args=self._arguments))
        except Exception:  # noqa: BLE001 — whatever Redis or its client says, callers are served
            self._silent_until = now + _RETRY_SECONDS
            return self._instead.take_now(name)


class Limiter:
    """What the doors ask before they do anything.

    Addresses are counted in memory only, in front of everything; a principal's requests may be counted together
    with those at other instances.
    """

    def __init__(self, *, addresses: MemoryBuckets | None, principals: Buckets | None) -> None:
        self._addresses = addresses
        self._principals = principals

    def admit(self, address: str) -> None:
        """Let a request from this address pass.

        Raises:
            RateLimitError: it asks too often.
        """
        if self._addresses is not None and (wait := self._addresses.take_now(address)):
            raise RateLimitError("node.limits.rate", retry_after=wait, who=address)

    async def principal(self, name: str) -> None:
        """Let a request of this principal pass.

        Raises:
            RateLimitError: it asks too often.
        """
        if self._principals is not None and (wait := await self._principals.take(name)):
            raise RateLimitError("node.limits.rate", retry_after=wait, who=name)
