"""HTTPS to another node's log and witness: bounded answers, one deadline, no redirects."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from registry.errors import UnavailableError

__all__ = ["Connect", "LogHttp", "silent"]

#: Opens a client that accepts this certificate alone (base64url SHA-256), or whatever the certificate store does.
Connect = Callable[[str | None], httpx.AsyncClient]

_MAX_ANSWER_BYTES = 8 << 20
_DEADLINE_SECONDS = 30.0


def silent(url: str, reason: str) -> UnavailableError:
    """Return the error for a node that does not answer, or not in a way that makes sense."""
    return UnavailableError(
        "federation.log.witness_silent", field="witness", value=url, reason=reason, retry_after=5
    )


class LogHttp:
    """One node's doors of the log.

    Consistency and durability: none. Concurrency: any number of tasks of one event loop. Errors: UnavailableError for
    whatever keeps an answer from coming whole.

    Args:
        connect: opens a client for a pin; it refuses forbidden addresses before it connects.
        url: its base URL, as its verified statement says.
        tls_sha256: base64url SHA-256 of its certificate, or None.
        token: gives the bearer token of the session with that node; None where it needs none.
    """

    def __init__(
        self,
        *,
        connect: Connect,
        url: str,
        tls_sha256: str | None = None,
        token: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._connect = connect
        self._pin = tls_sha256
        self._token = token

    async def send(self, method: str, path: str, content: bytes | None = None) -> tuple[int, bytes]:
        """Ask, and return the HTTP status with the body.

        Raises:
            UnavailableError: no answer, too late or too large.
        """
        headers = {"content-type": "application/octet-stream", "accept-encoding": "identity"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {await self._token()}"
        try:
            async with (
                asyncio.timeout(_DEADLINE_SECONDS),
                self._connect(self._pin) as client,
                client.stream(
                    method, f"{self.url}/{path}", content=content, headers=headers, follow_redirects=False
                ) as response,
            ):
                raw = bytearray()
                async for part in response.aiter_bytes():
                    raw += part
                    if len(raw) > _MAX_ANSWER_BYTES:
                        raise silent(self.url, f"> {_MAX_ANSWER_BYTES} B")
                return response.status_code, bytes(raw)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise silent(self.url, str(error) or type(error).__name__) from error
