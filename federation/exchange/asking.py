"""Asking another node over HTTPS: what every request of the exchange has in common.

Rules (facts on federation, (f) rows 8 and 23; OWASP API 2023, 7 and 10):

- whoever opens the connection (`Connect`) refuses forbidden addresses and other certificates than the pinned one
  before a byte is sent; no redirect is followed, and nothing compressed is read;
- an answer is read up to a limit of bytes and of time, however slowly it drips;
- addresses are tried in order, the one that answered last first; a refusal in words ends the search;
- each channel has connections of its own: an alarm is never behind a batch of something else.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import httpx

from federation.exchange.config import ExchangeConfig
from federation.exchange.reaching import Reach
from registry.errors import (
    BusyError,
    ConflictError,
    ForbiddenError,
    HazlinkError,
    LimitError,
    MalformedError,
    NotFoundError,
    NotResponsibleError,
    UnauthenticatedError,
    UnavailableError,
)
from registry.trust import strict_json
from resolver.pool import in_pool
from resolver.ports import Endpoint

__all__ = ["Asker", "Connect", "Reply", "Request", "is_good", "refusal"]

#: Opens a client that accepts this certificate alone (base64url SHA-256), or whatever the certificate store does.
Connect: TypeAlias = Callable[[str | None], httpx.AsyncClient]

_OK = 200
_REDIRECT = 300
_LONGEST_RETRY = 3_600.0
_CONNECT_SECONDS = 5.0
_MAX_SAID = 1_000

_BY_STATUS: Mapping[int, type[HazlinkError]] = {
    400: MalformedError,
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: LimitError,
    421: NotResponsibleError,
    429: BusyError,
    503: BusyError,
}


@dataclass(frozen=True, slots=True)
class Request:
    """One question.

    Attributes:
        method: of HTTP.
        path: below the base URL.
        channel: requests of one channel share connections, others never wait for them.
        content: the body.
        headers: more headers.
        seconds: for the whole exchange; None: the configured ones.
    """

    method: str
    path: str
    channel: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a peer answered: status, content, when it wants to be asked again, and its own time (POSIX seconds)."""

    status: int
    body: bytes
    retry_after: float | None
    date: float | None = None

    def lines(self) -> list[bytes]:
        """Return the lines of an NDJSON body."""
        return [line for line in self.body.split(b"\n") if line]


class Asker:
    """Asks one node. Owner of the open connections: the event loop that uses it.

    Consistency and durability: none. Errors: UnavailableError when no address answers, UntrustedError for a forbidden
    address or another certificate, LimitError and MalformedError for an answer that is too large or compressed.
    """

    def __init__(
        self,
        *,
        reach: Callable[[], Reach | None],
        connect: Connect,
        executor: Executor,
        config: ExchangeConfig,
        name: str,
    ) -> None:
        """Take the parts.

        Args:
            reach: where the node is now.
            connect: opens a client for a certificate pin.
            executor: for looking up where it is.
            config: limits.
            name: how the node is called in errors.
        """
        self._reach = reach
        self._connect = connect
        self._executor = executor
        self._config = config
        self._name = name
        self._clients: dict[tuple[str, str | None], httpx.AsyncClient] = {}
        self._first = 0

    async def ask(self, request: Request) -> Reply:
        """Ask; whatever the node says is returned, also a refusal.

        Raises:
            HazlinkError: as the class says.
        """
        reach = await in_pool(self._executor, self._reach)
        endpoints = reach.endpoints if reach is not None else ()
        failure: HazlinkError = UnavailableError("federation.exchange_sending.no_address", prefix=self._name)
        first = self._first
        for turn in range(len(endpoints)):
            place = (first + turn) % len(endpoints)
            try:
                reply = await self._ask_at(endpoints[place], request)
            except UnavailableError as error:
                failure = error
            else:
                self._first = place
                return reply
        raise failure

    async def close(self) -> None:
        """Close every connection."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    async def _ask_at(self, endpoint: Endpoint, request: Request) -> Reply:
        client = self._clients.get((request.channel, endpoint.tls_sha256))
        if client is None:
            client = self._connect(endpoint.tls_sha256)
            self._clients[request.channel, endpoint.tls_sha256] = client
        seconds = request.seconds or self._config.request_seconds
        try:
            async with (
                asyncio.timeout(seconds),
                client.stream(
                    request.method,
                    f"{endpoint.url.rstrip('/')}/{request.path}",
                    content=request.content,
                    headers={**request.headers, "accept-encoding": "identity"},
                    timeout=httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
                    follow_redirects=False,
                ) as response,
            ):
                body = await self._read(response)
                return Reply(
                    response.status_code,
                    body,
                    _retry_after(response.headers.get("retry-after")),
                    _date(response.headers.get("date")),
                )
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError) as error:
            raise UnavailableError(
                "federation.exchange_sending.unreachable",
                url=endpoint.url,
                reason=str(error)[:200] or type(error).__name__,
            ) from error

    async def _read(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise MalformedError("federation.exchange_sending.compressed", field="content-encoding")
        raw = bytearray()
        async for part in response.aiter_bytes():
            raw += part
            if len(raw) > self._config.answer_bytes:
                raise LimitError(
                    "federation.exchange_sending.large", field="body", limit=self._config.answer_bytes
                )
        return bytes(raw)


def is_good(reply: Reply) -> bool:
    """Say whether a reply is an answer, not a refusal or a redirect."""
    return _OK <= reply.status < _REDIRECT


def refusal(what: str, reply: Reply) -> HazlinkError:
    """Return a refusal of a whole request as the kind of error its status says, in the peer's own words."""
    try:
        content: Any = strict_json.loads(reply.body)
    except HazlinkError:
        content = None
    said = content if isinstance(content, dict) else {}
    detail = str(said.get("detail", ""))
    kind = _BY_STATUS.get(reply.status, UnavailableError)
    return kind(
        "federation.exchange_sending.refused",
        field=what,
        retry_after=reply.retry_after,
        status=reply.status,
        said_zh=str(said.get("detail_zh", detail))[:_MAX_SAID],
        said_en=str(said.get("detail_en", detail))[:_MAX_SAID],
    )


def _retry_after(said: str | None) -> float | None:
    if said is None or not said.isascii() or not said.isdigit():
        return None
    return min(float(said[:7]), _LONGEST_RETRY)


def _date(said: str | None) -> float | None:
    try:
        return None if said is None else parsedate_to_datetime(said[:64]).timestamp()
    except ValueError:
        return None
