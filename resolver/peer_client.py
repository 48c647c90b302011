"""The peer port over HTTPS: questions and answers in protobuf, to the batch door of another node."""

from collections.abc import Sequence

from registry.errors import LimitError, MalformedError, UnavailableError
from resolver.answer import Answer, Query
from resolver.peer_http import GuardedHttp, Reply
from resolver.ports import Endpoint
from resolver.servicer_messages import batch_answers, batch_request

__all__ = ["BATCH_PATH", "HttpsPeer"]

BATCH_PATH = "/resolver/v1/batch"
_PROTOBUF = "application/x-protobuf"
_OK = 200
_BUSY = 429
_TOO_LARGE = 413
_FAULT = 500


class HttpsPeer:
    """`resolver.ports.Peer` over HTTPS.

    Nothing in an answer is verified here but the connection it came over.
    """

    def __init__(self, *, http: GuardedHttp) -> None:
        self._http = http

    async def ask(self, endpoint: Endpoint, queries: Sequence[Query]) -> list[Answer]:
        """Ask another node; one unverified answer for each query, in order.

        Raises:
            UnavailableError: it does not answer, or says that it cannot now.
            UntrustedError: its address is forbidden, or its certificate is not the pinned one.
            LimitError: question or reply are too large for one exchange.
            MalformedError: the reply cannot be read.
        """
        reply = await self._http.post(
            endpoint.url.rstrip("/") + BATCH_PATH,
            content=batch_request(queries),
            headers={"Content-Type": _PROTOBUF, "Accept": _PROTOBUF},
            tls_sha256=endpoint.tls_sha256,
        )
        _check(reply, endpoint.url)
        return batch_answers(reply.body, queries)


def _check(reply: Reply, url: str) -> None:
    status = reply.status
    if status == _OK:
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _PROTOBUF:
            raise MalformedError("resolver.peer.media_type", field="Content-Type", value=url, given=kind[:80])
        return
    if status == _TOO_LARGE:
        raise LimitError("resolver.peer.question_large", field="body", value=url)
    if status == _BUSY or status >= _FAULT:
        raise UnavailableError(
            "resolver.peer.unwell", field="url", retry_after=reply.retry_after, value=url, status=status
        )
    raise MalformedError("resolver.peer.status", field="url", value=url, status=status)
