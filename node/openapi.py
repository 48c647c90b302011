"""What the description of the HTTP API says about every route alike: how refusals look, and who must log in.

Both come from what is enforced: refusals from `node.problems`, logins from the rules of the guard.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from node.problems import MEDIA_TYPE
from registry.access import Access

__all__ = ["describe"]

_TEXT = {"type": "string"}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details, in both languages",
    "required": ["type", "title", "status", "detail", "code", "detail_zh", "detail_en"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT | {"description": "in the language of Accept-Language"},
        "code": _TEXT | {"description": "stable name of the refusal"},
        "detail_zh": _TEXT,
        "detail_en": _TEXT,
        "field": _TEXT | {"description": "where it is wrong"},
        "retry_after": {"type": "integer", "description": "seconds"},
        "instance": _TEXT | {"description": "the request's id, which is in the log as well"},
    },
}
_REFUSED = {
    "description": "refused",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_LOGINS = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "from POST /auth/token",
    },
    "basic": {"type": "http", "scheme": "basic", "description": "over TLS or the loopback interface only"},
}
#: What the framework would say about its own refusals, which never leave in that form.
_FRAMEWORK = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI, routes: Iterable[Route], access: Access) -> None:
    """Have the application's description tell how refusals look, and which routes need a login."""
    plain = app.openapi
    open_doors = {door for door, rule in access.items() if rule.operation is None}
    templates = {route.path_format: route.path for route in routes if isinstance(route, APIRoute)}

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = plain()
            for path, method, operation in _operations(made):
                _complete(operation, anyone=f"{method.upper()} {templates[path]}" in open_doors)
            components = made.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            for name in _FRAMEWORK:
                schemas.pop(name, None)
            schemas["Problem"] = _PROBLEM
            components["securitySchemes"] = _LOGINS
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the framework's own way to extend the description


def _operations(made: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in made.get("paths", {}).items():
        for method, operation in methods.items():
            yield path, method, operation


def _complete(operation: dict[str, Any], *, anyone: bool) -> None:
    responses = operation.setdefault("responses", {})
    if _FRAMEWORK[0] in str(responses.get("422", "")):
        del responses["422"]
    responses.setdefault("default", _REFUSED)
    # With nothing in front: a login is welcome where some may see more, and not asked for.
    logins: list[dict[str, list[str]]] = [{name: []} for name in _LOGINS]
    operation["security"] = [{}, *logins] if anyone else logins
