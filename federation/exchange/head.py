"""The signed head: how far the sender has come, said by the sender.

Rules (facts on federation, (b) "flow"):

- every 60 seconds and for each lane a JWS of type `hz-head+jws` with the last number used and the newest checkpoint;
- the lag is the sender's head minus the receiver's position, never the receiver's own opinion: a receiver that
  takes in nothing would otherwise see no lag;
- a head never goes back: one that is lower than a newer or equally new one is evidence, not news.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from federation.exchange.envelope import Position
from federation.exchange.members import handle_claim
from federation.exchange.streams import is_stream
from registry.errors import InvalidValueError, LimitError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.algorithms import PublicKey
from registry.trust.claims import Claims
from registry.trust.keys import Signer
from registry.trust.refusal import as_kind

__all__ = [
    "HEAD_SECONDS",
    "HEAD_TYPE",
    "MAX_HEAD_BYTES",
    "Head",
    "advances",
    "issue",
    "lag",
    "read",
    "verify",
]

HEAD_TYPE = "hz-head+jws"
#: How often a head is sent.
HEAD_SECONDS = 60
MAX_HEAD_BYTES = 32_768
_MAX_CHECKPOINT = 16_384


@dataclass(frozen=True, slots=True)
class Head:
    """A head that was read; verified only by `verify` with a key of its `iss`.

    Attributes:
        iss, aud, stream: the lane.
        epoch: the sender's epoch.
        last_seq: the last number used in it; 0: none yet.
        checkpoint: the sender's newest checkpoint, a signed note; None while there is none.
        at: POSIX seconds.
        kid: the key that signed.
        token, parsed: as received.
    """

    iss: Prefix
    aud: Prefix
    stream: str
    epoch: int
    last_seq: int
    checkpoint: str | None
    at: int
    kid: str
    token: str = field(repr=False)
    parsed: jws.Parsed = field(repr=False, compare=False)


def issue(
    signer: Signer,
    *,
    iss: Prefix,
    aud: Prefix,
    stream: str,
    epoch: int,
    last_seq: int,
    checkpoint: str | None,
    at: int,
) -> str:
    """Sign a head; by the same rules by which others will read it.

    Raises:
        InvalidValueError: a reader would refuse it; the reason is the reader's.
        UnavailableError: the key does not answer.
    """
    claims: dict[str, Any] = {
        "iss": iss.handle.text,
        "aud": aud.handle.text,
        "stream": stream,
        "epoch": epoch,
        "last_seq": last_seq,
        "at": at,
    }
    if checkpoint is not None:
        claims["checkpoint"] = checkpoint
    token = jws.sign(signer, HEAD_TYPE, orjson.dumps(claims))
    try:
        read(token)
    except (MalformedError, LimitError) as error:
        raise as_kind(error, InvalidValueError) from error
    return token


def read(token: str) -> Head:
    """Read a head without believing it.

    Raises:
        LimitError: larger than 32 KiB.
        MalformedError: a member is not as it must be.
    """
    parsed = jws.parse(token, typ=HEAD_TYPE, max_bytes=MAX_HEAD_BYTES)
    claims = Claims(parsed.claims())
    stream = claims.text("stream", 16)
    if not is_stream(stream):
        raise MalformedError("federation.exchange.stream", field="stream", value=stream)
    return Head(
        iss=handle_claim(claims, "iss"),
        aud=handle_claim(claims, "aud"),
        stream=stream,
        epoch=claims.integer("epoch", least=1),
        last_seq=claims.integer("last_seq"),
        checkpoint=claims.optional_text("checkpoint", _MAX_CHECKPOINT),
        at=claims.integer("at"),
        kid=parsed.kid,
        token=token,
        parsed=parsed,
    )


def verify(head: Head, key: PublicKey) -> None:
    """Check the signature with a key of the sender.

    Raises:
        UntrustedError: the head names another key or algorithm, or the signature does not fit.
    """
    jws.verify(head.parsed, key)


def advances(known: Head | None, head: Head) -> bool:
    """Say whether a head is news; False for one that came late or again.

    Raises:
        UntrustedError: both are signed and the later one is lower: the sender went back.
    """
    if known is None:
        return True
    before, now = (known.epoch, known.last_seq), (head.epoch, head.last_seq)
    if (head.at > known.at and now < before) or (head.at == known.at and now != before):
        raise UntrustedError(
            "federation.exchange.head_back",
            field="last_seq",
            value=f"{head.epoch}/{head.last_seq}",
            right=f"{known.epoch}/{known.last_seq}",
        )
    return head.at > known.at


def lag(head: Head, due: Position) -> int:
    """Return how many envelopes of the head's epoch the receiver waits for.

    Args:
        head: the sender's word.
        due: what comes next at the receiver.
    """
    if due.epoch != head.epoch:
        return head.last_seq if head.epoch > due.epoch else 0
    return max(0, head.last_seq - (due.seq - 1))
