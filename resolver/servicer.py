"""The gRPC door of resolution: `hazlink.resolver.v1.Resolver`.

Resolve, BatchResolve and StreamResolve work on bytes (`resolver.servicer_hot`); Watch on messages. Errors are not
translated here: the guard in front of the door does that for every servicer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Protocol

import grpc

from proto import resolver_pb2 as pb
from registry.access import ANYONE, Access
from registry.errors import LimitError, MalformedError
from registry.identifier import Prefix
from registry.principal import Operation, Principal
from registry.record import Status
from registry.servicer_context import current_principal
from resolver.answer import Outcome
from resolver.ports import Change
from resolver.servicer_hot import HotResolver

__all__ = ["ACCESS", "SERVICE", "ResolverServicer", "Watching"]

SERVICE = "hazlink.resolver.v1.Resolver"

#: Reading what is public is open to anybody; watching a whole prefix also needs the right to list it.
ACCESS: Access = {
    f"/{SERVICE}/Resolve": ANYONE,
    f"/{SERVICE}/BatchResolve": ANYONE,
    f"/{SERVICE}/StreamResolve": ANYONE,
    f"/{SERVICE}/Watch": ANYONE,
}

#: Questions of one stream that are being answered at the same time; the next is read when one is done.
STREAM_CONCURRENCY = 64
#: Identifiers in one Watch.
MAX_WATCHED = 2_000

_OUTCOME_OF = {
    Status.ACTIVE: Outcome.FOUND,
    Status.WITHDRAWN: Outcome.WITHDRAWN,
    Status.DELETED: Outcome.DELETED,
}


class Watching(Protocol):
    """Tells of changes as they are committed.

    Consistency: every change after `after` of what is watched, in order, once. Durability: positions outlive
    restarts. Concurrency: any number of watchers. Errors: MalformedError for an identifier, NotResponsibleError for
    what is not homed here, UnauthenticatedError or ForbiddenError for a prefix the principal may not list.
    """

    def watch(
        self, identifiers: Sequence[str], prefix: Prefix | None, after: int, principal: Principal
    ) -> AsyncIterator[Change]:
        """Yield the changes; 0 for `after` means from now on."""
        ...


class ResolverServicer:
    """Translates calls into questions."""

    def __init__(self, *, hot: HotResolver, watching: Watching) -> None:
        self._hot = hot
        self._hit = hot.hit
        self._watching = watching

    def add_to(self, server: Any) -> None:
        """Register the methods at a server or at the guard that takes its place."""
        handlers = {
            "Resolve": grpc.unary_unary_rpc_method_handler(self.resolve),
            "BatchResolve": grpc.unary_unary_rpc_method_handler(self.batch_resolve),
            "StreamResolve": grpc.stream_stream_rpc_method_handler(self.stream_resolve),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self.watch,
                request_deserializer=pb.WatchRequest.FromString,
                response_serializer=pb.WatchEvent.SerializeToString,
            ),
        }
        server.add_registered_method_handlers(SERVICE, handlers)

    async def resolve(self, request: bytes, _context: Any) -> bytes:
        """Answer one question."""
        principal = current_principal.get()
        if principal.is_anonymous:
            kept = self._hit(request)
            if kept is not None:
                return kept
        return await self._hot.resolve(request, principal)

    async def batch_resolve(self, request: bytes, _context: Any) -> bytes:
        """Answer up to 2,000 questions in order."""
        return await self._hot.batch(request, current_principal.get())

    async def stream_resolve(
        self, requests: AsyncIterator[bytes], _context: Any
    ) -> AsyncGenerator[bytes, None]:
        """Answer questions as they come, each as soon as it is known."""
        principal = current_principal.get()
        replies: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(STREAM_CONCURRENCY)
        reader = asyncio.create_task(self._read_stream(requests, principal, replies))
        try:
            while (reply := await replies.get()) is not None:
                if isinstance(reply, BaseException):
                    raise reply
                yield reply
        finally:
            reader.cancel()

    async def watch(self, request: Any, _context: Any) -> AsyncGenerator[Any, None]:
        """Tell of every later change of what is named."""
        named = len(request.identifiers)
        if not named and not request.prefix:
            raise MalformedError("resolver.door.watch_empty", field="identifiers")
        if named > MAX_WATCHED:
            raise LimitError("resolver.door.watch_many", field="identifiers", count=named, limit=MAX_WATCHED)
        prefix = Prefix.parse(request.prefix, field="prefix") if request.prefix else None
        principal = current_principal.get()
        if prefix is not None:
            principal.require(Operation.RECORD_LIST, prefix)
        changes = self._watching.watch(tuple(request.identifiers), prefix, request.after, principal)
        async for change in changes:
            yield _event(change)

    async def _read_stream(
        self,
        requests: AsyncIterator[bytes],
        principal: Principal,
        replies: "asyncio.Queue[bytes | BaseException | None]",
    ) -> None:
        free = asyncio.Semaphore(STREAM_CONCURRENCY)

        async def answer(request: bytes) -> None:
            try:
                await replies.put(await self._hot.stream(request, principal))
            finally:
                free.release()

        try:
            async with asyncio.TaskGroup() as running:
                async for request in requests:
                    await free.acquire()
                    running.create_task(answer(request))
        except BaseExceptionGroup as errors:
            await replies.put(errors.exceptions[0])
        except Exception as error:  # noqa: BLE001 — told by the call itself, where the guard translates it
            await replies.put(error)
        else:
            await replies.put(None)


def _event(change: Change) -> Any:
    outcome: Any = _OUTCOME_OF[Status(change.status)].value
    return pb.WatchEvent(
        position=change.position,
        identifier=change.identifier,
        version=change.version,
        outcome=outcome,
        at=change.at,
    )
