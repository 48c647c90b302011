"""The shared cache over Redis: other nodes' answers, and the news between the instances of one node.

Rules:

- Redis is a convenience: when it is gone nothing is shared, everything else goes on. After a failure it is left alone
  for a short time, so that no question waits for it twice;
- it is not trusted: what comes out is verified by the resolver as if a stranger had said it;
- an answer is kept under `<namespace>:answer:<match key>`: eight bytes of the POSIX time at which its age was 0 and
  eight of the time at which its ttl ends (both in milliseconds), then the bytes of its `ResolveReply`;
- news go through one channel: `k<version>:<match key>` (a record has come that far), or `w` (the registry changed).
"""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from registry.clock import Clock
from registry.errors import HazlinkError
from resolver.answer import Answer
from resolver.servicer_messages import answer_from_bytes, answer_to_bytes

__all__ = ["RedisSharedCache"]

_LOG = logging.getLogger(__name__)
_TIMES = struct.Struct(">QQ")
#: Redis is next door or not at all.
_TIMEOUT_SECONDS = 0.25
#: How long it is left alone after a failure.
_REST_SECONDS = 5.0
_MAX_ANSWER_BYTES = 1 << 20
_KEY, _WAKE = b"k", b"w"


class _UnreachableError(Exception):
    """Redis does not answer, or did not a moment ago."""


class RedisSharedCache:
    """`resolver.ports.SharedCache` over Redis.

    Args:
        redis: the client; bytes, not text (`decode_responses=False`).
        clock: the clock.
        namespace: of the node; its instances share one, other nodes on the same Redis have others.
    """

    def __init__(self, *, redis: Redis, clock: Clock, namespace: str) -> None:
        self._redis: Any = redis
        self._clock = clock
        self._answers = f"{namespace}:answer:"
        self._channel = f"{namespace}:news"
        self._rest_until = 0.0

    async def get_many(self, keys: Sequence[str]) -> list[Answer | None]:
        """Return what is shared under match keys, with the age it has now."""
        try:
            async with self._guarded():
                found = await self._soon(self._redis.mget([self._answers + key for key in keys]))
        except _UnreachableError:
            return [None] * len(keys)
        now = self._clock.now()
        return [self._read(data, now) for data in found]

    async def put_many(self, answers: Sequence[tuple[str, Answer]]) -> None:
        """Share answers, each for as long as its `ttl` says."""
        now = self._clock.now()
        try:
            async with self._guarded():
                pipe = self._redis.pipeline(transaction=False)
                for key, answer in answers:
                    data = answer_to_bytes(answer)
                    if answer.ttl > 0 and len(data) <= _MAX_ANSWER_BYTES:
                        times = _TIMES.pack(int((now - answer.age) * 1000), int((now + answer.ttl) * 1000))
                        pipe.set(self._answers + key, times + data, ex=answer.ttl)
                if len(pipe):
                    await self._soon(pipe.execute())
        except _UnreachableError:
            return

    async def announce(self, key: str, version: int) -> None:
        """Tell the other instances that the record under `key` has come to `version`."""
        await self._publish(_KEY + f"{version}:{key}".encode())

    async def wake(self) -> None:
        """Tell the other instances that the registry changed."""
        await self._publish(_WAKE)

    async def listen(self, on_key: Callable[[str, int], None], on_wake: Callable[[], None]) -> None:
        """Hear the other instances, until cancelled; connects again whenever the connection is lost."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as news:
                    await news.subscribe(self._channel)
                    # whatever was said while nobody listened is in the change table
                    on_wake()
                    async for message in news.listen():
                        _hear(message["data"], on_key, on_wake)
            except (RedisError, OSError, TimeoutError) as error:
                _LOG.warning("the news of the other instances cannot be heard: %s", error)
            await self._clock.sleep(_REST_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _publish(self, message: bytes) -> None:
        try:
            async with self._guarded():
                await self._soon(self._redis.publish(self._channel, message))
        except _UnreachableError:
            return

    async def _soon(self, work: Awaitable[Any]) -> Any:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await work

    @asynccontextmanager
    async def _guarded(self) -> AsyncIterator[None]:
        """Make every failure the same, and leave a failing Redis alone for a while."""
        now = self._clock.monotonic()
        if now < self._rest_until:
            raise _UnreachableError
        try:
            yield
        except (RedisError, OSError, TimeoutError) as error:
            self._rest_until = now + _REST_SECONDS
            _LOG.warning("the shared cache does not answer: %s", repr(error))
            raise _UnreachableError from error

    def _read(self, data: object, now: float) -> Answer | None:
        if not isinstance(data, bytes) or len(data) <= _TIMES.size:
            return None
        born, ends = _TIMES.unpack_from(data)
        ttl = int(ends / 1000 - now)
        if ttl <= 0:
            return None
        try:
            answer = answer_from_bytes(data[_TIMES.size :])
        except HazlinkError as error:
            _LOG.warning("a shared answer cannot be read: %s", error)
            return None
        return replace(answer, age=max(0, int(now - born / 1000)), ttl=ttl)


def _hear(message: object, on_key: Callable[[str, int], None], on_wake: Callable[[], None]) -> None:
    if not isinstance(message, bytes):
        return
    if message == _WAKE:
        on_wake()
    elif message.startswith(_KEY):
        version, _, key = message[len(_KEY) :].partition(b":")
        try:
            on_key(key.decode(), int(version))
        except ValueError:  # UnicodeDecodeError is one
            _LOG.warning("news that cannot be read: %r", message[:80])
