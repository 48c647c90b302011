"""Epochs: how a lane begins, and how it begins again when its sender's store is lost for good.

Rules (facts on federation, (b) "restore from backup"):

- `prev` of number 1 is the digest of the opening: who to whom, on which stream, and where the epoch before ended;
- the first epoch of a lane is 1, follows 0, and needs no announcement;
- a later one is announced by the sender (`hz-epoch+jws`) and countersigned by its superior, who thereby
  vouches that it was necessary; neither alone opens it;
- an epoch opens only above the one before, never again.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from federation.exchange.envelope import Position
from federation.exchange.members import digest_claim, handle_claim
from federation.exchange.streams import is_stream
from registry.errors import InvalidValueError, LimitError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.claims import Claims
from registry.trust.encoding import b64u
from registry.trust.keys import Signer
from registry.trust.refusal import as_kind

__all__ = [
    "EPOCH_TYPE",
    "MAX_EPOCH_BYTES",
    "REASONS",
    "Countersignature",
    "EpochStatement",
    "countersign",
    "first_position",
    "issue",
    "opening",
    "read",
    "read_countersignature",
    "require_pair",
]

EPOCH_TYPE = "hz-epoch+jws"
MAX_EPOCH_BYTES = 4096
#: Why an epoch may be opened: the store was lost, or a prefix was handed over to another node.
REASONS = ("store_lost", "handover")


@dataclass(frozen=True, slots=True)
class EpochStatement:
    """The sender's announcement that an epoch opens; verified only with a key of `iss`.

    Attributes:
        iss, aud, stream: the lane.
        old_epoch: the one that ends; 0: there was none.
        last_seq_known: the last number of it that the sender knows to have used.
        epoch: the one that opens.
        reason: one of `REASONS`.
        iat: POSIX seconds.
        sha256: its name, which the countersignature carries.
        token, parsed: as received.
    """

    iss: Prefix
    aud: Prefix
    stream: str
    old_epoch: int
    last_seq_known: int
    epoch: int
    reason: str
    iat: int
    sha256: str
    token: str = field(repr=False)
    parsed: jws.Parsed = field(repr=False, compare=False)

    @property
    def start(self) -> Position:
        """The position of the first envelope of the epoch."""
        prev = opening(
            self.iss,
            self.aud,
            self.stream,
            epoch=self.epoch,
            old_epoch=self.old_epoch,
            last_seq_known=self.last_seq_known,
        )
        return Position(self.epoch, 1, prev)


@dataclass(frozen=True, slots=True)
class Countersignature:
    """The superior's consent to a statement; verified only with a key of `iss`.

    Attributes:
        statement: name of the statement.
        iss: the superior of its sender.
        iat: POSIX seconds.
        token, parsed: as received.
    """

    statement: str
    iss: Prefix
    iat: int
    token: str = field(repr=False)
    parsed: jws.Parsed = field(repr=False, compare=False)


def opening(
    iss: Prefix, aud: Prefix, stream: str, *, epoch: int, old_epoch: int = 0, last_seq_known: int = 0
) -> str:
    """Return what `prev` of number 1 says: base64url SHA-256 of the lines that open the epoch."""
    lines = (
        "hazlink/epoch/v1",
        iss.handle.text,
        aud.handle.text,
        stream,
        str(epoch),
        str(old_epoch),
        str(last_seq_known),
    )
    return b64u(hashlib.sha256("".join(f"{line}\n" for line in lines).encode("ascii")).digest())


def first_position(iss: Prefix, aud: Prefix, stream: str) -> Position:
    """Return the position of the very first envelope of a lane."""
    return Position(1, 1, opening(iss, aud, stream, epoch=1))


def issue(
    signer: Signer,
    *,
    iss: Prefix,
    aud: Prefix,
    stream: str,
    old_epoch: int,
    last_seq_known: int,
    epoch: int,
    reason: str,
    iat: int,
) -> str:
    """Announce an epoch; by the same rules by which others will read it.

    Raises:
        InvalidValueError: a reader would refuse it; the reason is the reader's.
        UnavailableError: the key does not answer.
    """
    claims = {
        "iss": iss.handle.text,
        "aud": aud.handle.text,
        "stream": stream,
        "old_epoch": old_epoch,
        "last_seq_known": last_seq_known,
        "epoch": epoch,
        "reason": reason,
        "iat": iat,
    }
    token = _sign(signer, claims)
    try:
        read(token)
    except (MalformedError, LimitError) as error:
        raise as_kind(error, InvalidValueError) from error
    return token


def read(token: str) -> EpochStatement:
    """Read an announcement without believing it.

    Raises:
        LimitError: larger than 4 KiB.
        MalformedError: a member is not as it must be, or the epoch does not lie above the old one.
    """
    parsed, claims = _open(token)
    stream = claims.text("stream", 16)
    if not is_stream(stream):
        raise MalformedError("federation.exchange.stream", field="stream", value=stream)
    old_epoch = claims.integer("old_epoch", least=1)
    epoch = claims.integer("epoch")
    if epoch <= old_epoch:
        raise MalformedError("federation.exchange.epoch_order", field="epoch", value=epoch, right=old_epoch)
    reason = claims.text("reason", 64)
    if reason not in REASONS:
        raise MalformedError(
            "federation.exchange.epoch_reason", field="reason", value=reason, right=", ".join(REASONS)
        )
    return EpochStatement(
        iss=handle_claim(claims, "iss"),
        aud=handle_claim(claims, "aud"),
        stream=stream,
        old_epoch=old_epoch,
        last_seq_known=claims.integer("last_seq_known"),
        epoch=epoch,
        reason=reason,
        iat=claims.integer("iat"),
        sha256=parsed.sha256,
        token=token,
        parsed=parsed,
    )


def countersign(signer: Signer, statement: EpochStatement, *, iss: Prefix, iat: int) -> str:
    """Consent to a statement that was verified.

    Args:
        signer: the key of `iss`.
        statement: what is consented to.
        iss: the superior of its sender.
        iat: POSIX seconds.

    Raises:
        UnavailableError: the key does not answer.
    """
    return _sign(signer, {"statement": statement.sha256, "iss": iss.handle.text, "iat": iat})


def read_countersignature(token: str) -> Countersignature:
    """Read a countersignature without believing it.

    Raises:
        LimitError: larger than 4 KiB.
        MalformedError: a member is not as it must be.
    """
    parsed, claims = _open(token)
    return Countersignature(
        statement=digest_claim(claims, "statement"),
        iss=handle_claim(claims, "iss"),
        iat=claims.integer("iat"),
        token=token,
        parsed=parsed,
    )


def require_pair(statement: EpochStatement, countersignature: Countersignature, superior: Prefix) -> None:
    """Refuse a countersignature of another statement, or by another than the sender's superior.

    Raises:
        UntrustedError: it is one.
    """
    if countersignature.statement != statement.sha256:
        raise UntrustedError(
            "federation.exchange.other_statement",
            field="statement",
            value=countersignature.statement,
            right=statement.sha256,
        )
    if countersignature.iss != superior:
        raise UntrustedError(
            "federation.exchange.other_iss", field="iss", value=countersignature.iss.key, right=superior.key
        )


def _sign(signer: Signer, claims: dict[str, Any]) -> str:
    return jws.sign(signer, EPOCH_TYPE, orjson.dumps(claims))


def _open(token: str) -> tuple[jws.Parsed, Claims]:
    parsed = jws.parse(token, typ=EPOCH_TYPE, max_bytes=MAX_EPOCH_BYTES)
    return parsed, Claims(parsed.claims())
