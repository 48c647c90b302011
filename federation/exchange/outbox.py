"""The outbox: what a business transaction wants sent, stored in that very transaction.

Rules (facts on federation, (b) "Sender"):

- a draft is stored or not together with what it tells about; it gets its number, its place in the chain of hashes and
  its signature later, from the one process that may sign;
- positions are gapless and in the order of commits (a row-locked counter), so a reader that goes by them misses none;
- what no envelope could carry is refused here, where somebody still learns of it.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from federation.exchange.envelope import Detached, Draft, detach, encode_body, uuid7
from federation.exchange.storage.sending import LaneName, SendingUnit, Waiting
from federation.exchange.streams import MAX_BODY_BYTES, is_stream
from registry.clock import Clock
from registry.errors import InvalidValueError, LimitError
from registry.trust import strict_json

__all__ = ["Outbox", "to_draft", "to_waiting"]

_MAX_NAME = 128
_MILLISECONDS = 1000


class Outbox:
    """Takes drafts inside other rooms' transactions.

    Consistency: as the transaction it is given. Durability: the draft is kept when that transaction commits.
    Concurrency: any number of threads; writers wait for each other at the counter `pending`.

    Args:
        clock: the time.
        entropy: source of random bytes.
    """

    def __init__(self, *, clock: Clock, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._entropy = entropy

    def append(self, connection: Any, draft: Draft) -> int:
        """Store one draft; return its position.

        Args:
            connection: the open transaction of the business that has something to tell.
            draft: what is to be sent.

        Raises:
            InvalidValueError: an unknown stream, a name that is empty or too long.
            LimitError: the body is larger than any envelope may carry.
            MalformedError: the body is not JSON that every reader understands alike.
        """
        now = self._clock.now()
        named = replace(to_waiting(draft, int(now)), jti=uuid7(int(now * _MILLISECONDS), self._entropy))
        return SendingUnit(connection).append([named])


def to_waiting(draft: Draft, at: int) -> Waiting:
    """Return a draft as it is stored.

    Raises:
        InvalidValueError, LimitError, MalformedError: as `Outbox.append`.
    """
    if not is_stream(draft.stream):
        raise InvalidValueError(
            "federation.exchange_sending.stream", field="stream", value=str(draft.stream)[:32]
        )
    for name, value in (("type", draft.type), ("schema", draft.schema)):
        if not 0 < len(value) <= _MAX_NAME:
            raise InvalidValueError(
                "federation.exchange_sending.name", field=name, value=value[:_MAX_NAME], limit=_MAX_NAME
            )
    raw, media = _body(draft.body)
    if len(raw) > MAX_BODY_BYTES:
        raise LimitError(
            "federation.exchange.body_large", field="body", length=len(raw), limit=MAX_BODY_BYTES
        )
    return Waiting(
        position=None,
        lane=LaneName(draft.iss, draft.aud, draft.stream),
        type=draft.type,
        schema=draft.schema,
        body=raw,
        media=media,
        ref=draft.ref,
        at=at,
    )


def to_draft(waiting: Waiting) -> Draft:
    """Return a stored draft as it was given; bytes come back as a detached body."""
    iss, aud, stream = waiting.lane
    body = orjson.loads(waiting.body) if waiting.media is None else detach(waiting.body, waiting.media)
    return Draft(
        iss=iss,
        aud=aud,
        stream=stream,
        type=waiting.type,
        schema=waiting.schema,
        body=body,
        ref=waiting.ref,
    )


def _body(body: Any) -> tuple[bytes, str | None]:
    if isinstance(body, bytes):
        body = detach(body)
    if isinstance(body, Detached):
        if body.data is None or detach(body.data).sha256 != body.sha256:
            raise InvalidValueError("federation.exchange_sending.no_data", field="body")
        return body.data, body.media
    raw = encode_body(body)
    # the receiver's reader: what it refuses, or reads as something else, must not get a number
    if strict_json.loads(raw) != body:
        raise InvalidValueError("federation.exchange.body_changed", field="body")
    return raw, None
