"""The HTTPS client towards a superior.

Addresses and certificate pin come from the invitation, never from an unverified answer. No redirect is followed,
an answer is read up to a limit, and each address of the superior is tried before giving up.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import orjson

from federation.membership.forms import from_application, to_standing
from registry.errors import (
    BusyError,
    ConflictError,
    ExistsError,
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    LimitError,
    MalformedError,
    NotFoundError,
    NotResponsibleError,
    RateLimitError,
    UnauthenticatedError,
    UnavailableError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.prefixes.joindesk import Application, Standing
from registry.trust import strict_json
from registry.trust.claims import Claims
from registry.trust.refusal import as_kind
from resolver.ports import Endpoint

__all__ = ["Connect", "HttpsSuperior", "HttpsSuperiors"]

#: Opens a client that accepts this certificate alone (base64url SHA-256), or whatever the certificate store does.
Connect = Callable[[str | None], httpx.AsyncClient]

#: Room for the signed lists that travel with a standing, of up to 256 KiB each.
_MAX_ANSWER_BYTES = 4_194_304
#: For one exchange as a whole, however slowly it drips.
_DEADLINE_SECONDS = 20.0
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
_OK = 200
_MAX_SAID = 1000
_RAISED: tuple[type[HazlinkError], ...] = (
    MalformedError,
    InvalidValueError,
    NotFoundError,
    ExistsError,
    ConflictError,
    UnauthenticatedError,
    ForbiddenError,
    NotResponsibleError,
    UntrustedError,
    LimitError,
    RateLimitError,
    BusyError,
    UnavailableError,
)
_BY_KIND = {error.kind.value: error for error in _RAISED}


class HttpsSuperior:
    """One superior; implements `SuperiorNode`."""

    def __init__(self, *, connect: Connect, endpoints: Sequence[Endpoint]) -> None:
        self._connect = connect
        self._endpoints = tuple(endpoints)

    async def challenge(self) -> str:
        """Get a nonce, good once."""
        return Claims(await self._call("POST", "challenge")).text("nonce", 128)

    async def join(self, application: Application) -> Standing:
        """Ask for a prefix."""
        return to_standing(await self._call("POST", "join", from_application(application)))

    async def standing(self, ticket: str) -> Standing:
        """See how a request stands."""
        return to_standing(await self._call("GET", f"join/{ticket}"))

    async def renew(self, amendment: str) -> Standing:
        """Renew a delegation, or change its endpoints or key."""
        return to_standing(await self._call("POST", "renew", {"amendment": amendment}))

    async def delegation(self, prefix: Prefix) -> Standing:
        """Return the newest delegation of a prefix."""
        return to_standing(await self._call("GET", f"delegations/{prefix.key}"))

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        failure: HazlinkError = UnavailableError("federation.membership.no_address")
        for endpoint in self._endpoints:
            try:
                return await self._call_at(endpoint, method, path, body)
            except UnavailableError as error:
                failure = error
        raise failure

    async def _call_at(
        self, endpoint: Endpoint, method: str, path: str, body: dict[str, Any] | None
    ) -> dict[str, Any]:
        url = endpoint.url.rstrip("/")
        target = f"{url}/federation/v1/{path}"
        content = orjson.dumps(body) if body is not None else None
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "accept-encoding": "identity",
        }
        try:
            async with (
                asyncio.timeout(_DEADLINE_SECONDS),
                self._connect(endpoint.tls_sha256) as client,
                client.stream(
                    method,
                    target,
                    content=content,
                    headers=headers,
                    follow_redirects=False,
                ) as response,
            ):
                raw = await _read(response)
                status, again = response.status_code, response.headers.get("retry-after")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise UnavailableError(
                "federation.membership.unreachable", url=url, reason=str(error) or type(error).__name__
            ) from error
        return _content(url, status, raw, again)


class HttpsSuperiors:
    """Superiors over HTTPS; implements `Superiors`.

    Args:
        connect: opens a client for a pin; it refuses forbidden addresses before it connects.
    """

    def __init__(self, *, connect: Connect) -> None:
        self._connect = connect

    def at(self, endpoints: Sequence[Endpoint]) -> HttpsSuperior:
        """Return the node behind these addresses."""
        return HttpsSuperior(connect=self._connect, endpoints=endpoints)


async def _read(response: httpx.Response) -> bytes:
    # We asked for no compression: a small answer must not become a large one.
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise MalformedError("federation.membership.answer_compressed")
    raw = bytearray()
    async for part in response.aiter_bytes():
        raw += part
        if len(raw) > _MAX_ANSWER_BYTES:
            raise MalformedError("federation.membership.answer_large", limit=_MAX_ANSWER_BYTES)
    return bytes(raw)


def _content(url: str, status: int, raw: bytes, again: str | None) -> dict[str, Any]:
    try:
        content = strict_json.loads(raw)
    except HazlinkError:
        content = None
    if isinstance(content, dict) and _OK <= status < _CLIENT_ERROR - 100:
        return content
    if isinstance(content, dict) and status >= _CLIENT_ERROR:
        raise _said(url, status, content, again)
    if status >= _SERVER_ERROR:
        raise UnavailableError("federation.membership.unreachable", url=url, reason=f"HTTP {status}")
    raise MalformedError("federation.membership.answer_unreadable", url=url, status=status)


def _said(url: str, status: int, content: dict[str, Any], again: str | None) -> HazlinkError:
    """Return the superior's refusal as the same kind of error, with its words in both languages."""
    kind = str(content.get("type", "")).rpartition(":")[2]
    fallback = UnavailableError if status >= _SERVER_ERROR else ForbiddenError
    detail = str(content.get("detail", f"HTTP {status}"))
    error = HazlinkError(
        "federation.membership.said",
        field=str(content.get("field", "")) or None,
        url=url,
        said_zh=str(content.get("detail_zh", detail))[:_MAX_SAID],
        said_en=str(content.get("detail_en", detail))[:_MAX_SAID],
    )
    made = as_kind(error, _BY_KIND.get(kind, fallback))
    made.retry_after = float(again) if again and again.isdigit() else None
    return made
