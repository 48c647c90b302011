"""The membership client's way out: the same guarded HTTPS that resolution uses.

One set of rules about addresses, certificates, redirects and sizes for everything this node asks of others.
"""

from collections.abc import Callable

import httpx

from resolver.peer_http import GuardedHttp

__all__ = ["guarded_client"]

#: Set by the guarded client itself, from the request it sends.
_OWN = frozenset({"host", "content-length", "accept-encoding", "connection", "user-agent"})


def guarded_client(http: GuardedHttp) -> Callable[[str | None], httpx.AsyncClient]:
    """Return what opens a client for a certificate pin (base64url SHA-256), or for the certificate store."""

    def connect(tls_sha256: str | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=_Guarded(http, tls_sha256), trust_env=False, follow_redirects=False
        )

    return connect


class _Guarded(httpx.AsyncBaseTransport):
    def __init__(self, http: GuardedHttp, tls_sha256: str | None) -> None:
        self._http = http
        self._pin = tls_sha256

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN}
        url = str(request.url)
        if request.method == "GET":
            reply = await self._http.get(url, headers=headers, tls_sha256=self._pin)
        else:
            reply = await self._http.post(url, content=content, headers=headers, tls_sha256=self._pin)
        kept = {name: value for name, value in reply.headers.items() if name.lower() != "transfer-encoding"}
        return httpx.Response(reply.status, headers=kept, content=reply.body)
