"""The HTTP edge of `/id/<identifier>`.

Every answer, a refusal too, carries the `Link` to the linkset, `Vary`, and leave for any page to read it. A browser's
refusals are pages; everybody else's are the application's own problem details.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from registry.access import ANYONE, Access
from registry.errors import HTTP_STATUS, HazlinkError, MalformedIdentifierError
from registry.identifier import from_url_path, to_url_path
from registry.language import LANGUAGES, Language, preferred
from registry.principal import Principal
from registry.record import Record
from registry.template import TemplateCatalogue
from resolver.answer import Answer
from resolver.links import LINKSET_TYPE, Link, default_of, linkset
from resolver.linkset.negotiation import Form, Wish, wish
from resolver.linkset.service import Decision, Resolving, Scan, decide, successors_of
from resolver.scan.content import missing_page, page_of
from resolver.scan.page import HEADERS, render

__all__ = ["ACCESS", "LinkNode", "router"]

_MARK = b"/id/"
_PATH = "/id/{identifier:path}"
_HTML = "text/html;charset=UTF-8"
#: Parameters that are for this door; all others travel on with a redirect.
_OWN = frozenset({"linkType", "view", "lang"})

ACCESS: Access = {f"{method} {_PATH}": ANYONE for method in ("GET", "HEAD", "OPTIONS")}


class LinkNode(Protocol):
    """What this door reads of the node."""

    @property
    def resolver(self) -> Resolving:
        """Resolution."""
        ...

    @property
    def templates(self) -> TemplateCatalogue:
        """Names of the fields."""
        ...

    @property
    def public_url(self) -> str:
        """The base URL under which others reach this node; empty: as the request says."""
        ...


class _LinkRoute(APIRoute):
    """A route whose every answer carries the headers of this door, and whose refusals suit the reader."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with its refusals translated."""
        handler = super().get_route_handler()

        async def translated(request: Request) -> Response:
            try:
                return await handler(request)
            except HazlinkError as error:
                return await _refusal(request, error)

        return translated

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, the guard's refusals translated."""
        try:
            await super().handle(scope, receive, send)
        except HazlinkError as error:
            response = await _refusal(Request(scope, receive, send), error)
            await response(scope, receive, send)


router = APIRouter(route_class=_LinkRoute, tags=["scan"], default_response_class=Response)


def _node(request: Request) -> LinkNode:
    node: LinkNode = request.app.state.node
    return node


def _base(request: Request) -> str:
    return _node(request).public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"


def _asked(request: Request) -> str:
    """Return the identifier from the raw path.

    Raises:
        MalformedIdentifierError: a broken escape, bytes that are not UTF-8, or `/id/` itself written in escapes.
    """
    raw: bytes = request.scope["raw_path"]
    if not raw.startswith(_MARK):
        raise MalformedIdentifierError("resolver.scan.path", field="path", path=raw.decode("latin-1"))
    return from_url_path(raw[len(_MARK) :], field="identifier")


def _language(request: Request) -> Language:
    chosen = request.query_params.get("lang")
    named: Language | None = next((tag for tag in LANGUAGES if tag == chosen), None)
    return named or preferred(request.headers.get("accept-language"))


def _wish(request: Request) -> Wish:
    query = request.query_params
    return wish(accept=request.headers.get("accept"), link_type=query.get("linkType"), view=query.get("view"))


def _headers(request: Request) -> dict[str, str]:
    """Return what every answer of this door carries."""
    path = quote(request.scope["raw_path"], safe="/%:-._~")
    link = f'<{_base(request)}{path}?linkType=linkset>; rel="linkset"; type="{LINKSET_TYPE}"'
    principal: Principal | None = getattr(request.state, "principal", None)
    known = principal is not None and not principal.is_anonymous
    return {
        "Link": link,
        "Vary": "Accept, Accept-Language, Authorization",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Link",
        "Cache-Control": "private, no-store" if known else "no-cache",
    }


async def _refusal(request: Request, error: HazlinkError) -> Response:
    """Return a page to a browser, to others what the application says, with this door's headers."""
    if _wish(request).form is Form.PAGE:
        language = _language(request)
        messages = (error.message(language), error.message("en" if language == "zh" else "zh"))
        try:
            asked = _asked(request)
        except MalformedIdentifierError:
            asked = request.scope["raw_path"].decode("latin-1")
        page = missing_page(asked, messages, language=language)
        response = Response(render(page), HTTP_STATUS[error.kind], media_type=_HTML, headers=HEADERS)
    else:
        translate = request.app.exception_handlers.get(HazlinkError)
        if translate is None:
            raise error
        response = await translate(request, error)
    response.headers.update(_headers(request))
    return response


_OPENAPI = {
    "parameters": [
        {"name": "identifier", "in": "path", "required": True, "schema": {"type": "string"}},
        *(
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in {
                "linkType": "redirect to this type of link; `linkset` or `all`: list them",
                "view": "`page`: the page, whoever asks",
                "lang": "`zh` or `en`",
            }.items()
        ),
    ],
    "responses": {
        "200": {
            "description": "the page, or the links",
            "content": {
                "text/html": {"schema": {"type": "string"}},
                LINKSET_TYPE: {"schema": {"type": "object", "required": ["linkset"]}},
                "application/json": {"schema": {"type": "object", "required": ["linkset"]}},
            },
        },
        "300": {"description": "several links fit equally well"},
        "307": {"description": "to the link asked for, or to the default link"},
        "404": {"description": "not registered, or no such link"},
        "410": {"description": "withdrawn or deleted, with the links to what replaces it"},
        "default": {"description": "refused"},
    },
}


@router.head(_PATH, include_in_schema=False)
@router.get(_PATH, openapi_extra=_OPENAPI)
async def scan(request: Request) -> Response:
    """Answer a scan: the page for people, links or a redirect for programs."""
    principal: Principal = request.state.principal
    wanted = _wish(request)
    finder = Scan(resolver=_node(request).resolver)
    page = wanted.form is Form.PAGE
    answer, record = await finder.look_up(_asked(request), principal, with_chain=page)
    made = decide(
        record,
        wanted,
        base_url=_base(request),
        accept=request.headers.get("accept"),
        accept_language=request.headers.get("accept-language"),
    )
    if page:
        return await _page(request, finder, answer, record)
    if made.target is not None:
        return Response(
            status_code=307, headers=_headers(request) | {"Location": _onward(request, made.target)}
        )
    return _linkset(request, record, made, wanted)


async def _page(request: Request, finder: Scan, answer: Answer, record: Record) -> Response:
    content = page_of(
        answer,
        record,
        language=_language(request),
        base_url=_base(request),
        templates=_node(request).templates,
        inside=await finder.inside(record, request.state.principal),
    )
    status = 200 if record.tombstone is None else 410
    return Response(render(content), status, headers=_headers(request) | HEADERS, media_type=_HTML)


def _linkset(request: Request, record: Record, made: Decision, wanted: Wish) -> Response:
    language, base = _language(request), _base(request)
    document = linkset(
        f"{base}/id/{to_url_path(record.identifier.text)}",
        made.choices + tuple(_page_link(made)) if made.choices else made.links,
        language=language,
        successors=successors_of(record, base),
        description=next((v.text for v in record.values if v.type in {"NAME_ZH", "TITLE"} and v.text), ""),
    )
    status = 300 if made.choices else 410 if made.gone else 200
    return Response(orjson.dumps(document), status, headers=_headers(request), media_type=wanted.media_type)


def _page_link(made: Decision) -> tuple[Link, ...]:
    """Return the page, which must be at hand when it is the default link of the choices."""
    default = default_of(made.links)
    return () if default in made.choices else tuple(link for link in made.links if link.rel == "alternate")


def _onward(request: Request, target: Link) -> str:
    """Return a redirect's address, with every parameter that was not for this door."""
    passed = [(name, value) for name, value in request.query_params.multi_items() if name not in _OWN]
    if not passed:
        return target.href
    before, mark, fragment = target.href.partition("#")
    joint = "&" if urlsplit(before).query else "?"
    return f"{before}{joint}{urlencode(passed)}{mark}{fragment}"


@router.options(_PATH, include_in_schema=False)
async def options(request: Request) -> Response:
    """Say which methods there are, to any page."""
    allowed: Mapping[str, str] = {
        "Allow": "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Headers": "Accept, Accept-Language, Authorization",
        "Access-Control-Max-Age": "86400",
    }
    return Response(status_code=204, headers=_headers(request) | dict(allowed))
