"""Refusals over HTTP as RFC 9457 problem details, built in this one place.

A problem carries the text in the language the caller prefers as `detail`, and both languages beside it, because a
caller is often a system between two people. What is not a `HazlinkError` becomes "internal": its text goes to the
log under the request's id, never to the caller.
"""

import math
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from node.logs import logger
from registry.errors import (
    HTTP_STATUS,
    ForbiddenError,
    HazlinkError,
    InternalError,
    InvalidValueError,
    Kind,
    LimitError,
    MalformedError,
    NotFoundError,
    NotSupportedError,
    UnauthenticatedError,
)
from registry.identifier import from_url_path
from registry.language import preferred, text
from resolver.handle_api.messages import describes, refusal, rendered

__all__ = ["MEDIA_TYPE", "TYPE_BASE", "install", "problem", "problem_headers", "refused"]

MEDIA_TYPE = "application/problem+json"
#: A name, not an address: nothing has to be fetched to understand it.
TYPE_BASE = "urn:hazlink:problem:"

_HANDLES = b"/api/handles/"
_FROM_NODES = "/federation/"
#: Rules a request can break that have a text in `messages/rules.toml`, and what bounds are called in them.
_RULES = frozenset(
    {
        "bool_parsing",
        "bool_type",
        "enum",
        "extra_forbidden",
        "greater_than_equal",
        "int_parsing",
        "less_than_equal",
        "list_type",
        "literal_error",
        "missing",
        "model_attributes_type",
        "string_too_long",
        "string_type",
        "too_long",
    }
)
_LIMITS = ("max_length", "ge", "le")
_CHALLENGE = 'Bearer realm="hazlink", Basic realm="hazlink", charset="UTF-8"'


def problem(
    error: HazlinkError, *, accept_language: str | None, request_id: str = ""
) -> tuple[int, dict[str, Any]]:
    """Return status and body of a refusal."""
    language = preferred(accept_language)
    status = HTTP_STATUS[error.kind]
    shown = (
        InternalError("node.problems.internal_detail", request=request_id)
        if error.kind is Kind.INTERNAL
        else error
    )
    body: dict[str, Any] = {
        "type": TYPE_BASE + error.kind.value,
        "title": text(f"node.problems.{error.kind.value}", language),
        "status": status,
        "detail": shown.message(language),
        "code": shown.code,
        "detail_zh": shown.message("zh"),
        "detail_en": shown.message("en"),
    }
    if error.field:
        body["field"] = error.field
    if error.retry_after is not None:
        body["retry_after"] = math.ceil(error.retry_after)
    if request_id:
        body["instance"] = f"urn:uuid:{request_id}" if _is_uuid(request_id) else request_id
    return status, body


def problem_headers(error: HazlinkError) -> dict[str, str]:
    """Return the headers that go with a refusal: when to come back, and how to log in."""
    headers = {"cache-control": "no-store"}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if error.kind is Kind.UNAUTHENTICATED:
        headers["www-authenticate"] = _CHALLENGE
    return headers


def install(app: FastAPI) -> None:
    """Answer every exception that reaches the application."""
    app.add_exception_handler(HazlinkError, _hazlink)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


def refused(scope: MutableMapping[str, Any], error: HazlinkError, *, status: int | None = None) -> Response:
    """Return the answer to a refused request: a problem, or at the Handle API's doors what its clients read.

    Args:
        scope: the request.
        error: why.
        status: instead of that of the error's kind, where HTTP itself has a number for it.
    """
    accepted = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"), None
    )
    if describes(scope["path"]):
        answer = _envelope(scope, error, accepted)
        answer.status_code = status or answer.status_code
        return answer
    usual, body = problem(error, accept_language=accepted, request_id=scope.get("hazlink.request_id", ""))
    if error.kind is Kind.UNTRUSTED and scope["path"].startswith(_FROM_NODES):
        # What does not hold is what the caller itself sent, not what another node said.
        usual = 403
    body["status"] = status = status or usual
    return Response(
        orjson.dumps(body), status_code=status, headers=problem_headers(error), media_type=MEDIA_TYPE
    )


def _answer(
    request: Request, error: HazlinkError, more: dict[str, str] | None = None, *, status: int | None = None
) -> Response:
    answer = refused(request.scope, error, status=status)
    answer.headers.update(more or {})
    return answer


def _envelope(scope: MutableMapping[str, Any], error: HazlinkError, accepted: str | None) -> Response:
    """Answer in the form of the Handle API what was refused before its own door."""
    _, asked, raw = scope["raw_path"].partition(_HANDLES)
    try:
        handle = from_url_path(raw) if asked else None
    except HazlinkError:
        handle = None
    made = refusal(error, handle, preferred(accepted))
    if made.content is None:
        return Response(status_code=made.status, headers=dict(made.headers))
    body, media_type = rendered(made.content)
    return Response(body, status_code=made.status, headers=dict(made.headers), media_type=media_type)


async def _hazlink(request: Request, error: Exception) -> Response:
    if not isinstance(error, HazlinkError):
        return await _unknown(request, error)
    if error.kind is Kind.INTERNAL:
        logger("node.http").error("internal", code=error.code, exc_info=error)
    return _answer(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    first: dict[str, Any] = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    where = ".".join(str(part) for part in first.get("loc", ()))
    if first.get("type") == "json_invalid":
        return _answer(request, MalformedError("node.problems.json", field=where))
    return _answer(request, _broken_rule(first, where))


def _broken_rule(first: dict[str, Any], where: str) -> InvalidValueError:
    """Say in our own words which rule of the description a request breaks."""
    kind = first.get("type", "")
    if kind not in _RULES:
        return InvalidValueError("node.problems.request", field=where, reason=first.get("msg", ""))
    said = first.get("ctx", {})
    limit = next((said[name] for name in _LIMITS if name in said), "")
    expected = str(said.get("expected", "")).replace(" or ", ", ")
    return InvalidValueError(f"node.rules.{kind}", field=where, limit=limit, expected=expected)


async def _http(request: Request, error: Exception) -> Response:
    """Translate what the web framework itself refuses: no such path, wrong method, broken body."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    path = request.scope["path"][:200]
    known: dict[int, HazlinkError] = {
        401: UnauthenticatedError("node.problems.login"),
        403: ForbiddenError("node.problems.denied", path=path),
        404: NotFoundError("node.problems.path", path=path),
        405: NotSupportedError("node.problems.method", method=request.method, path=path),
        413: LimitError("node.problems.large"),
    }
    found = known.get(status, MalformedError("node.problems.unreadable"))
    return _answer(request, found, headers, status=405 if status == 405 else None)  # noqa: PLR2004 — the number is the name


async def _unknown(request: Request, error: Exception) -> Response:
    logger("node.http").error("internal", path=request.scope["path"][:200], exc_info=error)
    return _answer(request, InternalError("node.problems.internal_detail", request=""))


def _is_uuid(spelling: str) -> bool:
    try:
        UUID(spelling)
    except ValueError:
        return False
    return True
