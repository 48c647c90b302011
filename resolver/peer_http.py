"""HTTPS to other nodes: `resolver.peer_guard` says where, here is how.

- a host name is looked up once, at the moment of connecting, and the connection goes to the very address that was
  checked: a name that changes in between gains nothing;
- a pinned certificate is compared right after the handshake, before a byte of the question is sent;
- no redirects, no proxies from the environment, no compressed replies, a limit on size and one on time for the whole
  exchange, however slowly it drips.
"""

import asyncio
import hashlib
import hmac
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from registry.errors import HazlinkError, LimitError, MalformedError, UnavailableError, UntrustedError
from registry.trust.encoding import b64u
from resolver.peer_guard import GuardConfig, PeerGuard

__all__ = ["GuardedHttp", "Reply", "guarded_client"]

_PIN = "tls_sha256"
#: Pools of connections kept open; each certificate has its own.
_MAX_POOLS = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the other node wants to be asked again."""
        spelled = self.headers.get("retry-after", "")
        return float(spelled) if spelled.isascii() and spelled.isdigit() and len(spelled) < 7 else None  # noqa: PLR2004 — a day has five digits


class GuardedHttp:
    """Asks other nodes over HTTPS.

    Consistency and durability: none. Concurrency: any number of tasks of one event loop. Errors: as each method says;
    no exception of the HTTP library leaves.
    """

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self.guard = PeerGuard(config)
        self._client = _client(self.guard, config, None)

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, tls_sha256: str | None = None
    ) -> Reply:
        """Read from another node; raises as `post`."""
        return await self._exchange("GET", url, None, headers, tls_sha256)

    async def post(
        self,
        url: str,
        *,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        tls_sha256: str | None = None,
    ) -> Reply:
        """Send to another node.

        Args:
            url: the whole address.
            content: the body.
            headers: more headers.
            tls_sha256: base64url SHA-256 of its certificate; None relies on the certificate store.

        Returns:
            Whatever the other node says, also a refusal; a redirect is returned, not followed.

        Raises:
            UntrustedError: the address is forbidden, or the certificate is not the expected one.
            UnavailableError: it does not answer, or too slowly.
            LimitError: the reply is too large.
            MalformedError: the reply is no HTTP, or compressed.
        """
        return await self._exchange("POST", url, content, headers, tls_sha256)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _exchange(
        self,
        method: str,
        url: str,
        content: bytes | None,
        headers: Mapping[str, str] | None,
        tls_sha256: str | None,
    ) -> Reply:
        self.guard.check_url(url)
        where = urlsplit(url).netloc
        try:
            async with (
                asyncio.timeout(self._config.reply_deadline_seconds),
                self._client.stream(
                    method,
                    url,
                    content=content,
                    headers={**(headers or {}), "Accept-Encoding": "identity"},
                    extensions={_PIN: tls_sha256},
                ) as response,
            ):
                return Reply(response.status_code, response.headers, await self._body(response, where))
        except HazlinkError:
            raise
        except (TimeoutError, httpx.TimeoutException) as error:
            raise UnavailableError("resolver.peer.slow", field="url", value=where) from error
        except (httpx.ProtocolError, httpx.InvalidURL) as error:
            raise MalformedError("resolver.peer.no_http", field="url", value=where) from error
        except httpx.HTTPError as error:
            if _is_certificate_error(error):
                raise UntrustedError("resolver.peer.certificate", field="url", value=where) from error
            raise UnavailableError("resolver.peer.silent", field="url", value=where) from error

    async def _body(self, response: httpx.Response, where: str) -> bytes:
        limit = self._config.max_reply_bytes
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise MalformedError("resolver.peer.compressed", field="Content-Encoding", value=where)
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > limit:
                raise LimitError("resolver.peer.large", field="body", value=where, limit=limit)
            chunks.append(chunk)
        return b"".join(chunks)


def guarded_client(config: GuardConfig, tls_sha256: str | None = None) -> httpx.AsyncClient:
    """Return an HTTP client under the rules of this module, for one node; limits on size are the caller's.

    Args:
        config: settings.
        tls_sha256: base64url SHA-256 of the node's certificate; None relies on the certificate store.
    """
    return _client(PeerGuard(config), config, tls_sha256)


def _client(guard: PeerGuard, config: GuardConfig, pin: str | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=_Transport(guard, config, pin),
        timeout=httpx.Timeout(config.reply_deadline_seconds, connect=config.connect_timeout_seconds),
        follow_redirects=False,
        trust_env=False,
    )


class _Transport(httpx.AsyncBaseTransport):
    """Connections by certificate: one that was opened for a pin serves no other."""

    def __init__(self, guard: PeerGuard, config: GuardConfig, pin: str | None) -> None:
        self._guard = guard
        self._config = config
        self._pin = pin
        self._pools: OrderedDict[tuple[str | None, bool], httpcore.AsyncConnectionPool] = OrderedDict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        self._guard.check_url(str(url))
        pool = await self._pool(request.extensions.get(_PIN) or self._pin, plain=url.scheme == "http")
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": request.extensions.get("timeout", {})},
        )
        with _as_httpx():
            reply = await pool.handle_async_request(asked)
        return httpx.Response(reply.status, headers=reply.headers, stream=_Stream(reply.stream))

    async def aclose(self) -> None:
        while self._pools:
            _, pool = self._pools.popitem()
            await pool.aclose()

    def _context(self, *, pinned: bool) -> ssl.SSLContext:
        """Made when it is needed: reading the store of certificates takes longer than a request."""
        if not pinned:
            return ssl.create_default_context(cafile=self._config.ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # the pin vouches for the certificate, whoever signed it and whatever name it bears
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    async def _pool(self, pin: str | None, *, plain: bool) -> httpcore.AsyncConnectionPool:
        key = (pin, plain)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = httpcore.AsyncConnectionPool(
                ssl_context=None if plain else self._context(pinned=pin is not None),
                max_connections=self._config.max_connections,
                keepalive_expiry=30,
                network_backend=_Backend(self._guard, pin, plain=plain),
            )
        self._pools.move_to_end(key)
        idle = next((old for old, one in self._pools.items() if not one.connections), None)
        if len(self._pools) > _MAX_POOLS and idle not in (None, key):
            await self._pools.pop(idle).aclose()
        return pool


class _Stream(httpx.AsyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for chunk in self._inner:
                yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to the address that was checked, and to no other."""

    def __init__(self, guard: PeerGuard, pin: str | None, *, plain: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._guard = guard
        self._pin = pin
        self._plain = plain

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 — the base class's parameter
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception | None = None
        for address in await self._guard.addresses(host, port, plain=self._plain):
            try:
                stream = await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return stream if self._pin is None else _PinnedStream(stream, self._pin)
        raise failure or httpcore.ConnectError(host)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 — the base class's parameter
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError(f"{path}: {timeout}, {socket_options}: other nodes are not sockets")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _PinnedStream(httpcore.AsyncNetworkStream):
    """A connection whose certificate is compared before it is used."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, pin: str) -> None:
        self._inner = inner
        self._pin = pin

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 — as above
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 — as above
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 — the base class's parameter
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        tls = stream.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else b""
        shown = b64u(hashlib.sha256(certificate or b"").digest())
        if not hmac.compare_digest(shown, self._pin):
            await stream.aclose()
            raise UntrustedError(
                "resolver.peer.pin", field="x5t#S256", value=server_hostname, shown=shown, right=self._pin
            )
        return stream


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise what the lower library raises as what the users of the upper one expect."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.ReadTimeout(str(error)) from error
    except httpcore.ProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
    except (httpcore.NetworkError, ssl.SSLError, OSError) as error:
        raise httpx.NetworkError(str(error)) from error


def _is_certificate_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
