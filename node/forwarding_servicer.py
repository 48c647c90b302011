"""The writing RPCs in a worker: their bytes go to the first process as they came, and its bytes come back.

The worker's own guard has already admitted the call. The first process, which hears it on a socket that only the
node's processes reach, authenticates it again from the same `authorization`.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc

__all__ = ["CallForwarder", "Settling"]

_PASSED = frozenset({"authorization", "accept-language"})
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class CallForwarder:
    """Hands the unary calls of one service to the first process.

    Args:
        service: full name of the service.
        methods: its methods; all of them take one message and return one.
        path: the socket of the first process.
        written: awaited after each call, so that this worker's next read sees the write.
    """

    def __init__(
        self, *, service: str, methods: Iterable[str], path: str, written: Callable[[], Awaitable[None]]
    ) -> None:
        self._service = service
        self._methods = tuple(methods)
        self._channel: Any = grpc.aio.insecure_channel(f"unix:{path}", options=_OPTIONS)
        self._written = written

    def add_to(self, server: Any) -> None:
        """Register the methods, on messages left as bytes."""
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._forwarding(f"/{self._service}/{name}"))
            for name in self._methods
        }
        server.add_registered_method_handlers(self._service, handlers)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    def _forwarding(self, method: str) -> Callable[[bytes, Any], Awaitable[bytes | None]]:
        call = self._channel.unary_unary(method)

        async def forward(request: bytes, context: Any) -> bytes | None:
            metadata = [(key, value) for key, value in context.invocation_metadata() if key in _PASSED]
            try:
                reply: bytes = await call(request, metadata=metadata, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                trailing = tuple(error.trailing_metadata() or ())
                await context.abort(error.code(), error.details() or "", trailing)
                return None
            await self._written()
            return reply

        return forward


class Settling:
    """Stands in for the server while a servicer registers: its calls return when this process knows what they wrote.

    Args:
        server: the server, or the guard that takes its place.
        settle: awaited after each call, before its reply.
    """

    def __init__(self, server: Any, settle: Callable[[], Awaitable[None]]) -> None:
        self._server = server
        self._settle = settle

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Register the methods, each followed by the settling."""
        wrapped = {
            name: grpc.unary_unary_rpc_method_handler(
                self._after(handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
            for name, handler in handlers.items()
        }
        self._server.add_registered_method_handlers(service, wrapped)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignore the older form of the same registration."""

    def _after(self, inner: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: Any) -> Any:
            reply = await inner(request, context)
            await self._settle()
            return reply

        return call
