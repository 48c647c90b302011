"""What the OpenAPI says about the parameters and bodies of the Handle API.

The door reads them from the request itself, because a bare parameter is true there and a wrong one is refused in the
door's own envelope; so they are described here.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["READING", "SEARCHING", "WRITING", "describe"]

_FORM = {"pretty": "indent the answer", "callback": "JSONP: wrap the answer in a call of this function"}
_REPEATED = frozenset({"index", "type", "replacedBy"})

READING = {
    "index": "only these indexes; repeatable",
    "type": "only these types; `URL.` also matches `URL.*`; repeatable",
    "publicOnly": "true: what is public, no questions; false: insist on everything",
    "auth": "ask the owner, not a cache",
    "cert": "with the signatures and the chain",
    "doNotRefer": "no referral to a delegated prefix",
    "recurse": "false: do not walk the tiers",
}
WRITING = {
    "index": "only these values; must be those of the body, or `various`",
    "overwrite": "replace what is there (default true)",
    "mintNewSuffix": "let the node complete the suffix",
}
SEARCHING = {"limit": "1 to 10,000", "page": "from 0"}

_ENVELOPE = {
    "type": "object",
    "required": ["responseCode"],
    "properties": {
        "responseCode": {"type": "integer"},
        "handle": {"type": "string"},
        "message": {"type": "string"},
        "values": {"type": "array", "items": {"type": "object"}},
    },
}
_SCRIPT = {"application/javascript": {"schema": {"type": "string"}}}


def describe(
    path: str | None = None,
    query: Mapping[str, str] | None = None,
    *,
    body: Mapping[str, Any] | None = None,
    answer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what to add to an operation: its path parameter, query parameters, body, and every answer's form."""
    parameters: list[dict[str, Any]] = []
    if path is not None:
        parameters.append({"name": path, "in": "path", "required": True, "schema": {"type": "string"}})
    for name, text in {**(query or {}), **_FORM}.items():
        schema: dict[str, Any] = {"type": "string"}
        if name in _REPEATED:
            schema = {"type": "array", "items": schema}
        parameters.append({"name": name, "in": "query", "description": text, "schema": schema})
    content = {"application/json": {"schema": answer or _ENVELOPE}, **_SCRIPT}
    refused = {"application/json": {"schema": _ENVELOPE}, **_SCRIPT}
    made: dict[str, Any] = {
        "parameters": parameters,
        "responses": {
            "200": {"description": "done, or found", "content": content},
            "401": {"description": "a login is needed; with an empty body: what was shown does not hold"},
            "default": {"description": "refused, or referred: see responseCode", "content": refused},
        },
    }
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made
