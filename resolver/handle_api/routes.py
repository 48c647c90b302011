"""The HTTP edge of the Handle API: parameters in, envelopes out.

Every refusal of this door leaves as `{responseCode, handle, message}`, with the handle as it was asked, because that
is what clients of this API read. The identifier comes from the raw path, decoded once, so that an escaped slash or
percent sign in a suffix survives.
"""
# ruff: noqa: FAST003 — routing decodes the path; the identifier is taken from the raw path instead

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from registry.errors import (
    HazlinkError,
    Kind,
    MalformedError,
    MalformedIdentifierError,
    NotFoundError,
    NotResponsibleError,
    NotSupportedError,
)
from registry.identifier import from_url_path
from registry.language import preferred, text
from registry.principal import ANONYMOUS, Principal
from resolver.answer import Answer, Outcome, Source
from resolver.handle_api.access import ACCESS
from resolver.handle_api.messages import CORS, answer_bytes, keeping, refusal, rendered
from resolver.handle_api.openapi import READING, SEARCHING, WRITING, describe
from resolver.handle_api.ports import HandleNode
from resolver.handle_api.requests import VARIOUS, Parameters, body_parameters, read_values, seen_version
from resolver.handle_api.service import MAX_FOUND, MAX_LISTED, HandleApi, Reading, Writing, Written

__all__ = ["ACCESS", "router"]

_HANDLES, _PREFIXES, _SEARCH = b"/api/handles/", b"/api/prefixes/", b"/hrls/handles/"
_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
_MAX_PAGE = 1_000_000_000
_MAX_REASON = 1_000
#: Parameters of a search that are not types.
_OWN = frozenset({"limit", "page", "pretty", "callback"})


class _EnvelopeRoute(APIRoute):
    """A route whose refusals leave in the envelope of the Handle API, those of the guard in front of it included.

    Our own mistakes go on to the application, which logs them in full.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with its refusals translated."""
        handler = super().get_route_handler()

        async def translated(request: Request) -> Response:
            try:
                return await handler(request)
            except HazlinkError as error:
                return _refused(request, error)

        return translated

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, the guard's refusals translated."""
        try:
            await super().handle(scope, receive, send)
        except HazlinkError as error:
            await _refused(Request(scope, receive, send), error)(scope, receive, send)


router = APIRouter(route_class=_EnvelopeRoute, tags=["handle"], default_response_class=Response)


def _node(request: Request) -> HandleNode:
    node: HandleNode = request.app.state.node
    return node


def _api(request: Request) -> HandleApi:
    node = _node(request)
    return HandleApi(
        resolver=node.resolver,
        registry=node.registry,
        prefixes=node.prefixes,
        templates=node.templates,
        executor=node.executor,
        entropy=node.entropy,
    )


def _who(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


def _after(request: Request, marker: bytes) -> str:
    """Return what follows `marker` in the raw path, decoded once.

    Raises:
        MalformedIdentifierError: a broken escape, bytes that are not UTF-8, or the marker itself written in escapes.
    """
    raw: bytes = request.scope["raw_path"]
    _, found, rest = raw.partition(marker)
    if not found:
        raise MalformedIdentifierError("resolver.handle_api.path", field="path", path=raw.decode("latin-1"))
    return from_url_path(rest, field="handle")


def _parameters(request: Request) -> Parameters:
    return Parameters(request.query_params.multi_items())


def _sent(
    request: Request,
    status: int,
    content: bytes | Mapping[str, Any] | list[str],
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return JSON, indented or as JSONP where that is asked for."""
    query = request.query_params
    callback = query.get("callback") if request.method == "GET" else None
    body, media_type = rendered(content, pretty=query.get("pretty"), callback=callback)
    who = getattr(request.state, "principal", ANONYMOUS)
    return Response(body, status, {**CORS, **keeping(who), **(headers or {})}, media_type)


def _refused(request: Request, error: HazlinkError, answer: Answer | None = None) -> Response:
    """Return a refusal, with the handle as it was asked."""
    if error.kind is Kind.INTERNAL:
        raise error
    try:
        handle: str | None = _after(request, _HANDLES)
    except MalformedError:
        handle = request.path_params.get("handle")
    language = preferred(request.headers.get("accept-language"))
    made = refusal(error, handle, language, answer.tombstone if answer else None)
    if made.content is None:
        return Response(status_code=made.status, headers=dict(made.headers))
    return _sent(request, made.status, made.content, made.headers)


@router.head("/api/handles/{handle:path}", include_in_schema=False)
@router.get("/api/handles/{handle:path}", openapi_extra=describe("handle", READING))
async def read(request: Request) -> Response:
    """Resolve an identifier, here or down the tiers."""
    parameters = _parameters(request)
    handle = _after(request, _HANDLES)
    if not handle and "prefix" in parameters:
        return await _listed(request, parameters)
    return await _read(request, handle, parameters)


@router.post(
    "/api/handles/{handle:path}",
    openapi_extra=describe("handle", body={"type": "object", "description": "the parameters of a GET"}),
)
async def read_by_body(request: Request) -> Response:
    """Resolve as GET does, with the parameters in a JSON body."""
    return await _read(request, _after(request, _HANDLES), body_parameters(await request.body()))


async def _read(request: Request, handle: str, parameters: Parameters) -> Response:
    if not handle:
        raise MalformedIdentifierError("resolver.handle_api.no_handle", field="handle")
    public = parameters.flag("publicOnly", default=False) if "publicOnly" in parameters else None
    reading = Reading(
        handle=handle,
        indexes=parameters.indexes() or frozenset(),
        types=parameters.texts("type"),
        public_only=public,
        authoritative=parameters.flag("auth", default=False),
        recurse=parameters.flag("recurse", default=True),
        proof=parameters.flag("cert", default=False),
    )
    refer = not parameters.flag("doNotRefer", default=False)
    answer = await _api(request).read(reading, _who(request))
    if answer.record is None or answer.outcome is Outcome.DELETED:
        return _without_record(request, handle, answer, refer=refer)
    headers = {"ETag": f'"{answer.record.version}"'}
    if answer.source is not Source.AUTHORITATIVE:
        headers["Age"] = str(answer.age)
    return _sent(request, 200, answer_bytes(answer, proof=reading.proof), headers)


def _without_record(request: Request, handle: str, answer: Answer, *, refer: bool) -> Response:
    """Answer "deleted", "not registered", a referral, or why it failed."""
    if answer.outcome is Outcome.DELETED:
        reason = answer.tombstone.reason if answer.tombstone else ""
        gone = NotFoundError("resolver.handle_api.deleted", handle=handle, reason=reason)
        return _refused(request, gone, answer)
    if answer.outcome is Outcome.REFERRAL and answer.referral is not None:
        prefix = answer.referral.prefix
        if not refer:
            raise NotResponsibleError("resolver.handle_api.refer_only", handle=handle, prefix=prefix.key)
        statements = [
            {"index": 400 + place, "type": "HS_CERT", "data": {"format": "string", "value": statement}}
            for place, statement in enumerate(answer.referral.chain)
        ]
        named = {"responseCode": 303, "handle": handle, "referralHandle": prefix.handle.text}
        return _sent(request, 300, {**named, "values": statements})
    if answer.error is not None:
        raise answer.error
    raise NotFoundError("resolver.handle_api.not_found", handle=handle)


@router.put(
    "/api/handles/{handle:path}",
    openapi_extra=describe("handle", WRITING, body={"anyOf": [{"type": "array"}, {"type": "object"}]}),
)
async def write(request: Request) -> Response:
    """Create or replace a record, or with `index` single values of it; `index=various` takes those in the body."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise MalformedError("resolver.handle_api.content_type", field="Content-Type", value=content_type)
    parameters, handle = _parameters(request), _after(request, _HANDLES)
    indexes = None
    if "index" in parameters:
        indexes = frozenset[int]() if VARIOUS in parameters.texts("index") else parameters.indexes()
    writing = Writing(
        handle=handle,
        values=read_values(await request.body(), handle),
        indexes=indexes,
        overwrite=parameters.flag("overwrite", default=True),
        mint=parameters.flag("mintNewSuffix", default=False),
        version=seen_version(request.headers.get("if-match")),
    )
    return _written(request, await _api(request).write(writing, _who(request)))


@router.delete(
    "/api/handles/{handle:path}",
    openapi_extra=describe(
        "handle",
        {
            "index": "only these values; repeatable",
            "reason": "kept in the tombstone",
            "replacedBy": "kept in the tombstone; repeatable",
        },
    ),
)
async def remove(request: Request) -> Response:
    """Remove values, or without `index` the record, which leaves a tombstone."""
    parameters, handle = _parameters(request), _after(request, _HANDLES)
    api, who = _api(request), _who(request)
    version = seen_version(request.headers.get("if-match"))
    indexes = parameters.indexes()
    if indexes:
        return _written(request, await api.remove(handle, indexes, who, version=version))
    reason = parameters.text("reason")
    if reason is not None and len(reason) > _MAX_REASON:
        raise MalformedError("resolver.handle_api.reason_long", field="reason", limit=_MAX_REASON)
    language = preferred(request.headers.get("accept-language"))
    done = await api.delete(
        handle,
        who,
        reason=reason or text("resolver.handle_api.reason", language),
        replaced_by=parameters.texts("replacedBy"),
        version=version,
    )
    return _written(request, done)


def _written(request: Request, done: Written) -> Response:
    content = {"responseCode": 1, "handle": done.handle}
    return _sent(request, 201 if done.created else 200, content, {"ETag": f'"{done.version}"'})


_PAGING = {"page": "from 0", "pageSize": "up to 1,000; 0 only counts"}


@router.head("/api/handles", include_in_schema=False)
@router.get("/api/handles", openapi_extra=describe(query={"prefix": "whose identifiers", **_PAGING}))
async def list_handles(request: Request) -> Response:
    """List the identifiers of a prefix, page by page."""
    return await _listed(request, _parameters(request))


async def _listed(request: Request, parameters: Parameters) -> Response:
    prefix = parameters.text("prefix")
    if not prefix:
        raise MalformedIdentifierError("resolver.handle_api.no_handle", field="prefix")
    page, size = _page(parameters)
    found = await _api(request).list(_who(request), prefix, page=page, page_size=size)
    content = {
        "responseCode": 1,
        "prefix": prefix,
        "totalCount": str(found.total),
        "page": page,
        "pageSize": size,
        "handles": list(found.handles),
    }
    return _sent(request, 200, content)


def _page(parameters: Parameters) -> tuple[int, int]:
    page = parameters.number("page", default=0, low=0, high=_MAX_PAGE)
    return page, parameters.number("pageSize", default=MAX_LISTED, low=0, high=MAX_LISTED)


@router.options("/api/handles", include_in_schema=False)
@router.options("/api/handles/{handle:path}", include_in_schema=False)
async def options(request: Request) -> Response:
    """Say which methods there are, to any page."""
    methods = "GET, HEAD, OPTIONS" if request.url.path == "/api/handles" else _METHODS
    headers = {
        **CORS,
        "Allow": methods,
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
        "Access-Control-Max-Age": "86400",
    }
    return Response(status_code=204, headers=headers)


@router.get("/api/prefixes", openapi_extra=describe(query=_PAGING))
async def prefixes(request: Request) -> Response:
    """List the prefixes homed here."""
    page, size = _page(_parameters(request))
    homed = [prefix.handle.text for prefix in _api(request).homed()]
    content = {
        "responseCode": 1,
        "totalCount": str(len(homed)),
        "page": page,
        "pageSize": size,
        "prefixes": homed[page * size : (page + 1) * size],
    }
    return _sent(request, 200, content)


@router.post("/api/prefixes/{prefix:path}", openapi_extra=describe("prefix"))
async def home(request: Request) -> Response:
    """Home a prefix below one that this node homes."""
    homed = await _api(request).host(_who(request), _after(request, _PREFIXES))
    return _sent(request, 200, {"responseCode": 1, "handle": homed.handle.text})


# What is not offered stays out of the OpenAPI: it describes what there is.
@router.delete("/api/prefixes/{prefix:path}", include_in_schema=False)
async def unhome(request: Request) -> Response:
    """Refuse: a prefix is given up by other means."""
    raise NotSupportedError("resolver.handle_api.unhome", field=_after(request, _PREFIXES))


@router.get("/api/site", openapi_extra=describe())
async def site(request: Request) -> Response:
    """Say how this node is reached."""
    return _sent(request, 200, {"responseCode": 1, "site": dict(_node(request).site)})


@router.post("/api/sessions", include_in_schema=False)
@router.get("/api/sessions/this", include_in_schema=False)
@router.put("/api/sessions/this", include_in_schema=False)
@router.delete("/api/sessions/this", include_in_schema=False)
async def sessions() -> Response:
    """Refuse: this node makes no sessions."""
    raise NotSupportedError("resolver.handle_api.sessions")


@router.get("/api/verifications/{reference:path}", include_in_schema=False)
async def verifications() -> Response:
    """Refuse: this node checks no challenge responses for others."""
    raise NotSupportedError("resolver.handle_api.verifications")


@router.get("/hrls/ping")
async def ping() -> Response:
    """Say that the search is there."""
    return Response(b"OK", 200, dict(CORS), "text/plain;charset=UTF-8")


_LIST = {"type": "array", "items": {"type": "string"}}


@router.get("/hrls/handles", openapi_extra=describe(query=SEARCHING, answer=_LIST))
async def search(request: Request) -> Response:
    """Find identifiers by value: every other parameter is a type and its pattern (`*`, `?`)."""
    return await _found(request, None)


@router.get("/hrls/handles/{prefix:path}", openapi_extra=describe("prefix", SEARCHING, answer=_LIST))
async def search_prefix(request: Request) -> Response:
    """Find identifiers of one prefix by value."""
    return await _found(request, _after(request, _SEARCH) or None)


async def _found(request: Request, prefix: str | None) -> Response:
    parameters = _parameters(request)
    patterns: dict[str, str] = {}
    for name, given in parameters.items():
        if name in _OWN:
            continue
        if len(given) > 1:
            raise MalformedError("resolver.handle_api.pattern_twice", field=name)
        patterns[name] = given[0]
    limit = parameters.number("limit", default=1000, low=1, high=MAX_FOUND)
    page = parameters.number("page", default=0, low=0, high=MAX_FOUND)
    found = await _api(request).search(_who(request), patterns, prefix=prefix, page=page, limit=limit)
    return _sent(request, 200, list(found))
