"""Rows of what was received, as the rest of the exchange sees them, and how they come out of the tables."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

__all__ = [
    "Conflict",
    "EpochRow",
    "LaneRow",
    "Session",
    "Stored",
    "Waiting",
    "to_conflict",
    "to_epoch",
    "to_lane",
    "to_stored",
    "to_waiting",
]

_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class LaneRow:
    """Where a lane stands at its receiver.

    Attributes:
        next_seq: the number that comes next.
        prev: what the next envelope must carry; None for the first epoch, which needs no announcement.
        head_epoch, head_seq, head_at: the newest head its sender signed, if one came.
    """

    iss: str
    aud: str
    stream: str
    epoch: int = 1
    next_seq: int = 1
    prev: bytes | None = None
    head_epoch: int | None = None
    head_seq: int | None = None
    head_at: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """An envelope of the inbox; `token` is empty where only its receipt was asked for."""

    iss: str
    aud: str
    stream: str
    epoch: int
    seq: int
    env: bytes
    receipt: str
    code: str
    token: bytes = b""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An envelope that was accepted and not applied yet."""

    env: bytes
    iss: str
    aud: str
    stream: str
    epoch: int
    seq: int
    token: bytes
    body: bytes | None
    chain: bytes
    type: str
    schema: str
    received_at: int
    leaf_index: int


@dataclass(frozen=True, slots=True)
class Session:
    """The newest copy of a peer's node: its instance and fencing number, and the key it showed."""

    instance: bytes
    fence: int
    kid: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two envelopes under one number, with the signed answer to the second."""

    iss: str
    aud: str
    stream: str
    epoch: int
    seq: int
    env: bytes
    token: bytes
    known_env: bytes
    known_token: bytes
    receipt: str
    chain: bytes
    at: int


@dataclass(frozen=True, slots=True)
class EpochRow:
    """An epoch after the first."""

    iss: str
    aud: str
    stream: str
    epoch: int
    old_epoch: int
    last_seq_known: int
    opening: bytes
    statement: str
    countersigned: str | None
    at: int


def to_stored(row: Any) -> Stored:
    """Read an envelope of the inbox."""
    return Stored(
        iss=row.iss,
        aud=row.aud,
        stream=row.stream,
        epoch=int(row.epoch),
        seq=int(row.seq),
        env=bytes(row.env),
        receipt=bytes(row.receipt).decode("ascii"),
        code=row.code,
        token=bytes(getattr(row, "token", b"")),
    )


def to_waiting(row: Row[Any]) -> Waiting:
    """Read an envelope that waits."""
    return Waiting(
        env=bytes(row.env),
        iss=row.iss,
        aud=row.aud,
        stream=row.stream,
        epoch=int(row.epoch),
        seq=int(row.seq),
        token=bytes(row.token),
        body=bytes(row.body) if row.body is not None else None,
        chain=bytes(row.chain),
        type=row.type,
        schema=row.schema,
        received_at=int(row.received_at),
        leaf_index=int(row.leaf_index),
    )


def to_lane(row: Row[Any]) -> LaneRow:
    """Read where a lane stands."""
    prev = bytes(row.prev)
    return LaneRow(
        iss=row.iss,
        aud=row.aud,
        stream=row.stream,
        epoch=int(row.epoch),
        next_seq=int(row.next_seq),
        prev=prev if len(prev) == _DIGEST_BYTES else None,
        head_epoch=row.head_epoch,
        head_seq=row.head_seq,
        head_at=row.head_at,
    )


def to_conflict(row: Row[Any]) -> Conflict:
    """Read a conflict."""
    return Conflict(
        iss=row.iss,
        aud=row.aud,
        stream=row.stream,
        epoch=int(row.epoch),
        seq=int(row.seq),
        env=bytes(row.env),
        token=bytes(row.token),
        known_env=bytes(row.known_env),
        known_token=bytes(row.known_token),
        receipt=bytes(row.receipt).decode("ascii"),
        chain=bytes(row.chain),
        at=int(row.at),
    )


def to_epoch(row: Row[Any]) -> EpochRow:
    """Read an announced epoch."""
    return EpochRow(
        iss=row.iss,
        aud=row.aud,
        stream=row.stream,
        epoch=int(row.epoch),
        old_epoch=int(row.old_epoch),
        last_seq_known=int(row.last_seq_known),
        opening=bytes(row.opening),
        statement=row.statement,
        countersigned=row.countersigned,
        at=int(row.at),
    )
