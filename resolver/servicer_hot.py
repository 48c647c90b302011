"""Questions in bytes, answers in bytes: the part of the doors that has to be fast.

A public answer is encoded once, without the asked spelling and without its age, and kept in `Ready`. What goes out is

    field 1 (the asked spelling)  +  the kept fragment  +  field 4 (age) and field 5 (ttl) when it comes from a cache

which protobuf readers accept in any order of fields. A plain question `ResolveRequest{identifier}` is, byte for byte,
field 1 of its own answer, since both messages give the identifier the number 1: it is neither parsed nor copied.

Only what everybody may see is kept: answers to anonymous questions for whole records. Everything else is asked of
the resolver each time.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from proto import resolver_pb2 as pb
from registry.clock import Clock
from registry.errors import GRPC_STATUS, HazlinkError, LimitError, MalformedError
from registry.identifier import fold
from registry.principal import Principal
from registry.value import TtlType
from resolver.answer import Answer, Outcome, Query, Source
from resolver.ready import Fragment, Ready
from resolver.servicer_messages import answer_to_message, queries_from_message, query_from_message

__all__ = ["MAX_BATCH", "Answers", "HotResolver", "keepable"]

#: Identifiers in one BatchResolve.
MAX_BATCH = 2_000
#: A question that passed this many tiers is refused, even if the answer is at hand.
MAX_HOPS = 10
#: An own record's fragment is encoded anew after this time even when nothing changed.
KEEP_SECONDS = 600.0
#: A cached answer is asked for again at this part of its life, so that the resolver can fetch it ahead of time.
PREFETCH_SHARE = 0.9

_PLAIN, _CHAIN = "grpc", "grpc+chain"
_INVALID_ARGUMENT = 3

_IDENTIFIER = b"\x0a"  # field 1, length-delimited
_AGE = b"\x20"  # field 4, varint
_TTL = b"\x28"  # field 5, varint
_TAG = b"\x58"  # field 11, varint
_REPLY = b"\x0a"  # field 1 of BatchResolveReply, length-delimited


def _make_varint(number: int) -> bytes:
    out = bytearray()
    while number >> 7:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL = tuple(_make_varint(n) for n in range(1 << 14))


def _varint(number: int) -> bytes:
    return _SMALL[number] if number < len(_SMALL) else _make_varint(number)


class Answers(Protocol):
    """The resolver as its doors see it.

    Consistency: an answer from here is at most half a second behind the registry. Durability: none. Concurrency: any
    number of tasks of one event loop. Errors: `resolve` refuses a malformed question by MalformedError or by an
    answer that FAILED with it; `resolve_many` never raises for one line.
    """

    async def resolve(self, query: Query, principal: Principal) -> Answer:
        """Answer one question."""
        ...

    async def resolve_many(self, queries: Sequence[Query], principal: Principal) -> list[Answer]:
        """Answer every question, in order."""
        ...


def keepable(answer: Answer, principal: Principal) -> bool:
    """Say whether an encoded answer may be served again to anybody: it shows what is public, whole and not stale."""
    record = answer.record
    return (
        principal.is_anonymous
        and record is not None
        and answer.outcome in (Outcome.FOUND, Outcome.WITHDRAWN, Outcome.DELETED)
        and answer.source is not Source.STALE
        and answer.ttl > 0
        and all(value.ttl_type is TtlType.RELATIVE for value in record.values)
    )


class HotResolver:
    """Answers encoded questions; keeps encoded answers.

    Attributes:
        hits: answers given from what is kept.
        misses: answers asked of the resolver.
    """

    def __init__(self, *, resolver: Answers, ready: Ready, clock: Clock) -> None:
        self._resolver = resolver
        self._ready = ready
        self._clock = clock
        self._now = clock.monotonic
        self._get = ready.table(_PLAIN).get
        self._get_with_chain = ready.table(_CHAIN).get
        self.hits = 0
        self.misses = 0

    def hit(self, request: bytes) -> bytes | None:
        """Answer a plain anonymous question from what is kept; None when it must be resolved."""
        size = len(request) - 2
        if not 0 < size < 0x80 or request[0] != 0x0A or request[1] != size:  # noqa: PLR2004 — one-byte varint
            return None
        try:
            spelling = request[2:].decode()
        except UnicodeDecodeError:
            return None
        fragment = self._get(spelling.upper() if spelling.isascii() else fold(spelling))
        if fragment is None:
            return None
        now = self._now()
        if now > fragment.until:
            return None
        self.hits += 1
        return request + fragment.data if fragment.authoritative else request + _aged(fragment, now)

    async def resolve(self, request: bytes, principal: Principal) -> bytes:
        """Answer one `ResolveRequest` with a `ResolveReply`.

        Raises:
            MalformedError: the bytes are no such message, or the identifier is malformed.
        """
        message = _parsed(pb.ResolveRequest, request)
        query = query_from_message(message)
        tag = _TAG + _varint(message.tag) if message.tag else b""
        kept = self._kept(query, principal)
        if kept is not None:
            self.hits += 1
            return _spelled(query.identifier) + kept + tag
        self.misses += 1
        mark = self._ready.mark()
        answer = await self._resolver.resolve(query, principal)
        if answer.error is not None and GRPC_STATUS[answer.error.kind] == _INVALID_ARGUMENT:
            raise answer.error
        return _spelled(query.identifier) + self._encode(query, answer, principal, mark) + tag

    async def batch(self, request: bytes, principal: Principal) -> bytes:
        """Answer one `BatchResolveRequest` with a `BatchResolveReply`.

        Raises:
            MalformedError: the bytes are no such message, or it names no identifier.
            LimitError: it names more than 2,000.
        """
        message = _parsed(pb.BatchResolveRequest, request)
        count = len(message.identifiers)
        if not count:
            raise MalformedError("resolver.door.batch_empty", field="identifiers", limit=MAX_BATCH)
        if count > MAX_BATCH:
            raise LimitError("resolver.door.batch", field="identifiers", count=count, limit=MAX_BATCH)
        parts, missed = self._spliced(message, principal)
        self.hits += count - len(missed)
        self.misses += len(missed)
        if missed:
            await self._fill(parts, missed, queries_from_message(message), principal)
        return b"".join(parts)

    async def stream(self, request: bytes, principal: Principal) -> bytes:
        """Answer one question of a stream: what is wrong with it is part of the answer, not the end of the stream."""
        try:
            return await self.resolve(request, principal)
        except HazlinkError as error:
            message = _parsed(pb.ResolveRequest, request)
            failed = Answer(asked=message.identifier, outcome=Outcome.FAILED, error=error)
            data: bytes = answer_to_message(failed, tag=message.tag).SerializeToString()
            return data

    def _spliced(self, message: Any, principal: Principal) -> tuple[list[bytes], list[int]]:
        """Build the reply from what is kept; five parts each, and the numbers of those that are missing."""
        parts: list[bytes] = []
        missed: list[int] = []
        get = self._lookup(message, principal)
        if get is None:
            count = len(message.identifiers)
            return [b""] * (5 * count), list(range(count))
        now, small = self._now(), _SMALL
        only_own = message.no_recursion or message.hops > 0
        for number, spelling in enumerate(message.identifiers):
            fragment = get(spelling.upper() if spelling.isascii() else fold(spelling))
            asked = spelling.encode()
            size = len(asked)
            if fragment is None or now > fragment.until or size >= len(small):
                missed.append(number)
                parts += (b"", b"", b"", b"", b"")
                continue
            if fragment.authoritative:
                data = fragment.data
            elif only_own:
                missed.append(number)
                parts += (b"", b"", b"", b"", b"")
                continue
            else:
                data = _aged(fragment, now)
            length = small[size]
            whole = 1 + len(length) + size + len(data)
            parts += (
                _REPLY,
                small[whole] if whole < len(small) else _make_varint(whole),
                _IDENTIFIER + length,
                asked,
                data,
            )
        return parts, missed

    async def _fill(
        self, parts: list[bytes], missed: list[int], queries: list[Query], principal: Principal
    ) -> None:
        asked = [queries[number] for number in missed]
        mark = self._ready.mark()
        answers = await self._resolver.resolve_many(asked, principal)
        for number, query, answer in zip(missed, asked, answers, strict=True):
            reply = _spelled(query.identifier) + self._encode(query, answer, principal, mark)
            parts[5 * number] = _REPLY + _varint(len(reply)) + reply

    def _lookup(self, options: Any, principal: Principal) -> Any:
        """Return where kept answers to questions with these options are found; None when they are never kept."""
        if (
            not principal.is_anonymous
            or options.authoritative
            or options.hops >= MAX_HOPS
            or options.indexes
            or options.types
        ):
            return None
        return self._get_with_chain if options.with_chain else self._get

    def _kept(self, query: Query, principal: Principal) -> bytes | None:
        get = self._lookup(query, principal)
        if get is None:
            return None
        fragment: Fragment | None = get(fold(query.identifier))
        now = self._now()
        if fragment is None or now > fragment.until:
            return None
        if fragment.authoritative:
            return fragment.data
        return _aged(fragment, now) if query.recurse and not query.hops else None

    def _encode(self, query: Query, answer: Answer, principal: Principal, mark: int) -> bytes:
        """Return the answer without its spelling, and keep it when it may be served again."""
        own = answer.source is Source.AUTHORITATIVE
        message = answer_to_message(answer)
        message.ClearField("identifier")
        message.ClearField("age_seconds")
        if not own:
            message.ClearField("ttl_seconds")
        data: bytes = message.SerializeToString()
        if (
            answer.record is not None
            and self._lookup(query, principal) is not None
            and keepable(answer, principal)
        ):
            now = self._now()
            lasts = min(answer.ttl, KEEP_SECONDS) if own else answer.ttl * PREFETCH_SHARE
            self._ready.put(
                _CHAIN if query.with_chain else _PLAIN,
                answer.record.identifier.key,
                Fragment(
                    data=data,
                    authoritative=own,
                    since=now - answer.age,
                    until=now + lasts,
                    ttl_ends=now + answer.ttl,
                ),
                mark=mark,
            )
        return data if own else data + _AGE + _varint(answer.age) + _TTL + _varint(answer.ttl)


def _parsed(kind: Any, request: bytes) -> Any:
    try:
        return kind.FromString(request)
    except DecodeError:
        name = kind.DESCRIPTOR.name
        raise MalformedError("resolver.door.unreadable", field="request", message=name) from None


def _spelled(spelling: str) -> bytes:
    asked = spelling.encode()
    return _IDENTIFIER + _varint(len(asked)) + asked


def _aged(fragment: Fragment, now: float) -> bytes:
    age, ttl = int(now - fragment.since), max(int(fragment.ttl_ends - now), 0)
    return b"".join((fragment.data, _AGE, _varint(age), _TTL, _varint(ttl)))
