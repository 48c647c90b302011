"""The guard in front of every RPC: what is not declared is denied, and whoever shows credentials is authenticated.

It stands where grpc looks a handler up, not in the interceptor chain, which costs an anonymous call more than its
whole answer. Rules:

- a method no servicer added is answered by grpc itself (UNIMPLEMENTED), which generic clients rely on;
- a method without a rule in ACCESS is denied to everybody;
- a call without `authorization` is anonymous: admitted at once, or refused at once, as the rule says;
- a call with `authorization` is authenticated and never treated as anonymous when that fails;
- whatever a servicer raises leaves as a gRPC status (`registry.servicer_context`).

It takes the place of a server in the generated `add_XServicer_to_server` functions.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from registry.access import Access, Authenticator, Credentials, Rule
from registry.errors import ForbiddenError, HazlinkError, InternalError, MalformedError
from registry.principal import ANONYMOUS
from registry.servicer_context import abort_with, current_principal

__all__ = ["Guard", "Throttle", "address_of", "is_loopback"]

_CREDENTIALS = "authorization"

#: Looks at a call before it is served; only what has to wait returns something to wait for.
_Enter = Callable[[Any], Awaitable[None] | None]


class Throttle(Protocol):
    """Says who asks too often.

    Consistency: approximate. Durability: none. Concurrency: any number of tasks; must not block. Errors:
    RateLimitError, with the seconds to wait.
    """

    def admit(self, address: str) -> None:
        """Count one call from `address`; refuse it when there were too many."""
        ...


class Guard(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio comes without types
    """Finds the handler of a call and puts the check in front of it."""

    def __init__(
        self, *, access: Access, authenticator: Authenticator, tls: bool, throttle: Throttle | None = None
    ) -> None:
        self._access = access
        self._authenticator = authenticator
        self._tls = tls
        self._throttle = throttle
        # method → (handler of anonymous calls, handler of calls with credentials)
        self._handlers: dict[str, tuple[Any, Any]] = {}

    @property
    def methods(self) -> frozenset[str]:
        """The full names of all methods that were added."""
        return frozenset(self._handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the methods of a service (called by generated code)."""
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            rule = self._access.get(method)
            if rule is None:
                closed = _refusing(ForbiddenError("resolver.door.undeclared", field=method))
                self._handlers[method] = closed, closed
                continue
            self._handlers[method] = self._anonymous(rule, handler), _wrapped(handler, self._entry(rule))

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignore the older form of the same registration, which generated code sends as well."""

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of one call; None for a method nobody added."""
        found = self._handlers.get(handler_call_details.method)
        if found is None:
            return None
        for key, _ in handler_call_details.invocation_metadata:
            if key == _CREDENTIALS:
                return found[1]
        return found[0]

    def _anonymous(self, rule: Rule, handler: Any) -> Any:
        try:
            rule.admit(ANONYMOUS)
        except HazlinkError as error:
            return _refusing(error)
        if self._throttle is None:
            return _wrapped(handler, None)
        admit = self._throttle.admit

        def enter(context: Any) -> None:
            admit(address_of(context.peer()))

        return _wrapped(handler, enter)

    def _entry(self, rule: Rule) -> _Enter:
        async def enter(context: Any) -> None:
            peer = context.peer()
            if self._throttle is not None:
                self._throttle.admit(address_of(peer))
            shown = [value for key, value in context.invocation_metadata() if key == _CREDENTIALS]
            if len(shown) != 1:
                raise MalformedError("resolver.door.credentials_twice", field=_CREDENTIALS, count=len(shown))
            credentials = Credentials(
                authorization=shown[0], secure=self._tls or is_loopback(peer), address=address_of(peer)
            )
            principal = await self._authenticator.authenticate(credentials)
            rule.admit(principal)
            # grpc runs every call in a task of its own: the variable ends with the call
            current_principal.set(principal)

        return enter


@lru_cache(maxsize=4096)
def address_of(peer: str) -> str:
    """Return the network address in grpc's name of a peer (`ipv4:192.0.2.1:5001`, `ipv6:%5B::1%5D:5001`)."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    return unquote(rest).rpartition(":")[0].strip("[]")


def is_loopback(peer: str) -> bool:
    """Say whether grpc's name of a peer is this machine."""
    address = address_of(peer)
    return address.startswith(("127.", "::ffff:127.")) or address == "::1" or peer.startswith("unix:")


def _refusing(error: HazlinkError) -> Any:
    """Return a handler that ends every kind of call at once."""

    async def refuse(_requests: Any, context: Any) -> None:
        await abort_with(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)


def _wrapped(handler: Any, enter: _Enter | None) -> Any:
    """Return `handler` with `enter` before it and the translation of errors around it."""
    if handler.response_streaming:
        inner = handler.stream_stream or handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        wrap = _yielding if inspect.isasyncgenfunction(inner) else _returning
    else:
        inner = handler.stream_unary or handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        wrap = _returning
    return make(wrap(_understanding(inner, handler), enter), None, handler.response_serializer)


def _understanding(inner: Callable[..., Any], handler: Any) -> Callable[..., Any]:
    """Return `inner` reading its requests itself: behind the guard, and with a mistake in them told as one."""
    deserialize = handler.request_deserializer
    if deserialize is None:
        return inner
    kind: Any = getattr(deserialize, "__self__", None)
    name = kind.DESCRIPTOR.full_name if hasattr(kind, "DESCRIPTOR") else "request"

    def message(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            raise MalformedError("resolver.door.unreadable", field="request", message=name) from None

    async def messages(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in requests:
            yield message(data)

    read = messages if handler.request_streaming else message
    return lambda request, context: inner(read(request), context)


def _returning(inner: Callable[..., Any], enter: _Enter | None) -> Callable[..., Any]:
    async def call(request: Any, context: Any) -> Any:
        try:
            if enter is not None and (waiting := enter(context)) is not None:
                await waiting
            return await inner(request, context)
        except Exception as error:  # noqa: BLE001 — every refusal and every mistake leaves by one door
            await _end(context, error)

    return call


def _yielding(inner: Callable[..., Any], enter: _Enter | None) -> Callable[..., Any]:
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            if enter is not None and (waiting := enter(context)) is not None:
                await waiting
            async for reply in inner(request, context):
                yield reply
        except Exception as error:  # noqa: BLE001 — as above
            await _end(context, error)

    return call


async def _end(context: Any, error: Exception) -> None:
    if isinstance(error, grpc.aio.BaseError):  # already aborted, or the connection is gone
        raise error
    if isinstance(error, HazlinkError):
        await abort_with(context, error)
    wrapped = InternalError("registry.servicer.internal")
    wrapped.__cause__ = error
    await abort_with(context, wrapped)
