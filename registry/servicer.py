"""The gRPC door for writing: `hazlink.registry.v1.Registry`.

Each method reads its message, asks the registry in the bounded thread pool and answers; what the registry refuses is
raised and leaves as a gRPC status (`registry.servicer_context`). The principal is that of the call; the registry
checks its rights for the prefix at hand once more.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

import grpc

from proto import registry_pb2 as pb
from registry.access import Access, needs
from registry.errors import HazlinkError, LimitError, MalformedError
from registry.identifier import Identifier, Prefix
from registry.principal import Operation
from registry.record import Draft
from registry.results import Done, Page, Result
from registry.service import Registry
from registry.servicer_context import current_principal
from registry.servicer_drafts import (
    draft_from_message,
    entry_to_message,
    if_present_from_message,
    mode_from_message,
    new_values_from_messages,
    result_to_message,
)

__all__ = ["ACCESS", "MAX_BATCH", "SERVICE", "RegistryServicer"]

SERVICE = "hazlink.registry.v1.Registry"

#: Drafts in one BatchRegister.
MAX_BATCH = 2_000
_DEFAULT_PAGE = 100
_MAX_PAGE = 1_000
_MAX_TOKEN = 1_024

_WRITE = needs(Operation.RECORD_WRITE)
_LIST = needs(Operation.RECORD_LIST)

ACCESS: Access = {
    f"/{SERVICE}/Register": _WRITE,
    f"/{SERVICE}/BatchRegister": _WRITE,
    f"/{SERVICE}/SetValues": _WRITE,
    f"/{SERVICE}/RemoveValues": _WRITE,
    f"/{SERVICE}/Withdraw": _WRITE,
    f"/{SERVICE}/Delete": _WRITE,
    f"/{SERVICE}/List": _LIST,
    f"/{SERVICE}/Search": _LIST,
    f"/{SERVICE}/History": needs(Operation.AUDIT_READ),
}

_T = TypeVar("_T")


class RegistryServicer:
    """Serves the RPCs. One event loop; blocking work goes to `executor`."""

    def __init__(self, *, registry: Registry, executor: Executor) -> None:
        self._registry = registry
        self._executor = executor

    def add_to(self, server: Any) -> None:
        """Register the methods at a server or at the guard that takes its place."""
        methods: dict[str, tuple[Any, Any]] = {
            "Register": (self.register, pb.RegisterRequest),
            "BatchRegister": (self.batch_register, pb.BatchRegisterRequest),
            "SetValues": (self.set_values, pb.SetValuesRequest),
            "RemoveValues": (self.remove_values, pb.RemoveValuesRequest),
            "Withdraw": (self.withdraw, pb.WithdrawRequest),
            "Delete": (self.delete, pb.WithdrawRequest),
            "List": (self.list, pb.ListRequest),
            "Search": (self.search, pb.SearchRequest),
            "History": (self.history, pb.HistoryRequest),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                method,
                request_deserializer=request.FromString,
                response_serializer=_serialise,
            )
            for name, (method, request) in methods.items()
        }
        server.add_registered_method_handlers(SERVICE, handlers)

    async def register(self, request: Any, _context: Any) -> Any:
        """Create a record, or confirm it."""
        draft = draft_from_message(request.draft)
        result = await self._run(
            self._registry.register,
            current_principal.get(),
            draft,
            if_present=if_present_from_message(request.if_present),
            expected_version=request.expected_version or None,
        )
        return result_to_message(result)

    async def batch_register(self, request: Any, _context: Any) -> Any:
        """Register up to 2,000 drafts; a bad one does not hold up the others."""
        if len(request.drafts) > MAX_BATCH:
            raise LimitError(
                "registry.servicer.batch", field="drafts", count=len(request.drafts), limit=MAX_BATCH
            )
        results: list[Result | None] = []
        drafts: list[Draft] = []
        for message in request.drafts:
            try:
                drafts.append(draft_from_message(message))
                results.append(None)
            except HazlinkError as error:
                results.append(Result(message.identifier, Done.REFUSED, error=error))
        made = iter(
            await self._run(
                self._registry.register_many,
                current_principal.get(),
                drafts,
                if_present=if_present_from_message(request.if_present),
                dry_run=request.dry_run,
            )
        )
        return pb.BatchResult(results=[result_to_message(r or next(made)) for r in results])

    async def set_values(self, request: Any, _context: Any) -> Any:
        """Add or replace single values."""
        result = await self._run(
            self._registry.set_values,
            current_principal.get(),
            Identifier.parse(request.identifier, field="identifier"),
            values=new_values_from_messages(request.values),
            fields=dict(request.fields),
            mode=mode_from_message(request.mode),
            expected_version=request.expected_version or None,
        )
        return result_to_message(result)

    async def remove_values(self, request: Any, _context: Any) -> Any:
        """Remove single values."""
        result = await self._run(
            self._registry.remove_values,
            current_principal.get(),
            Identifier.parse(request.identifier, field="identifier"),
            tuple(request.indexes),
            expected_version=request.expected_version or None,
        )
        return result_to_message(result)

    async def withdraw(self, request: Any, _context: Any) -> Any:
        """Take a record out of use; it goes on resolving."""
        return result_to_message(await self._take_back(self._registry.withdraw, request))

    async def delete(self, request: Any, _context: Any) -> Any:
        """Leave a tombstone."""
        return result_to_message(await self._take_back(self._registry.delete, request))

    async def list(self, request: Any, _context: Any) -> Any:
        """List the identifiers of a prefix, page by page."""
        page = await self._run(
            self._registry.list,
            current_principal.get(),
            Prefix.parse(request.prefix, field="prefix"),
            after=_after(request.page_token),
            limit=_page_size(request.page_size),
        )
        return _page_to_message(page)

    async def search(self, request: Any, _context: Any) -> Any:
        """Find identifiers by value, page by page."""
        page = await self._run(
            self._registry.search,
            current_principal.get(),
            dict(request.patterns),
            prefix=Prefix.parse(request.prefix, field="prefix") if request.prefix else None,
            after=_after(request.page_token),
            limit=_page_size(request.page_size),
        )
        return _page_to_message(page)

    async def history(self, request: Any, _context: Any) -> Any:
        """Show who changed what."""
        entries = await self._run(
            self._registry.history,
            current_principal.get(),
            Identifier.parse(request.identifier, field="identifier"),
            after=request.after,
            limit=_page_size(request.page_size),
        )
        return pb.HistoryReply(entries=[entry_to_message(entry) for entry in entries])

    async def _take_back(self, method: Callable[..., Result], request: Any) -> Result:
        return await self._run(
            method,
            current_principal.get(),
            Identifier.parse(request.identifier, field="identifier"),
            reason=request.reason,
            replaced_by=tuple(request.replaced_by),
            expected_version=request.expected_version or None,
        )

    async def _run(self, method: Callable[..., _T], *args: Any, **options: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(method, *args, **options))


def _serialise(message: Any) -> bytes:
    serialised: bytes = message.SerializeToString()
    return serialised


def _page_size(asked: int) -> int:
    if asked > _MAX_PAGE:
        raise MalformedError("registry.servicer.page_size", field="page_size", value=asked, limit=_MAX_PAGE)
    return asked or _DEFAULT_PAGE


def _after(token: str) -> str | None:
    """Return where a page begins; the token is the registry's own, opaque to the caller."""
    if len(token) > _MAX_TOKEN:
        raise MalformedError("registry.servicer.page_token", field="page_token")
    return token or None


def _page_to_message(page: Page) -> Any:
    return pb.ListReply(
        identifiers=[identifier.text for identifier in page.identifiers], next_page_token=page.next or ""
    )
