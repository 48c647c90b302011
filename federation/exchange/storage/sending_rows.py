"""Rows of what is sent, and what they stand for: the one place where the two are converted."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Row

from registry.identifier import Prefix

__all__ = [
    "ANSWERED",
    "Acknowledgement",
    "LaneName",
    "LaneState",
    "Outgoing",
    "Proven",
    "Waiting",
    "lane_row",
    "out_row",
    "pending_row",
    "place",
    "to_outgoing",
    "to_state",
]

#: `state` of an envelope that has its receipt.
ANSWERED = 1


class LaneName(NamedTuple):
    """Sender, receiver, stream."""

    iss: Prefix
    aud: Prefix
    stream: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A draft as stored; `position` is None for one that was never stored.

    Attributes:
        body: JSON, or with `media` the bytes themselves.
        at: POSIX seconds.
        jti: what its envelope will be called; None: named when it is sealed.
    """

    position: int | None
    lane: LaneName
    type: str
    schema: str
    body: bytes
    media: str | None
    ref: str | None
    at: int
    jti: str | None = None


@dataclass(frozen=True, slots=True)
class LaneState:
    """Where a lane stands.

    Attributes:
        epoch: incarnation of the store.
        next_seq: the number the next envelope gets.
        prev: hash it names.
        acked_seq: of this epoch; every number up to here has its receipt.
        state: `open` or `stopped`.
        failure: code of what keeps it from getting through now, and since when (`failed_at`).
        chain: digest of the chain that went out whole last.
        rejected: final rejections so far.
        sealed_at, acked_at: POSIX seconds of the newest envelope and receipt.
    """

    lane: LaneName
    epoch: int
    next_seq: int
    prev: bytes
    acked_seq: int = 0
    state: str = "open"
    failure: str | None = None
    failed_at: int | None = None
    chain: bytes | None = None
    rejected: int = 0
    sealed_at: int = 0
    acked_at: int | None = None

    @property
    def unsent(self) -> int:
        """How many envelopes have no receipt yet."""
        return self.next_seq - 1 - self.acked_seq


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A numbered, signed envelope.

    Attributes:
        env: hash of its signing input.
        token: as sent.
        body: digest of its detached body.
        receipt, outcome, code, acked_at, leaf_index, ack_index: once it is answered.
        proof, proof_size, proof_origin: once its inclusion in the receiver's log is proven.
    """

    lane: LaneName
    epoch: int
    seq: int
    env: bytes
    jti: str
    token: bytes
    queued_at: int
    out_index: int
    body: bytes | None = None
    receipt: bytes | None = None
    outcome: str | None = None
    code: str | None = None
    acked_at: int | None = None
    leaf_index: int | None = None
    ack_index: int | None = None
    proof: bytes | None = None
    proof_size: int | None = None
    proof_origin: str | None = None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a verified receipt says about one number of a lane."""

    seq: int
    receipt: bytes
    outcome: str
    code: str
    leaf_index: int | None
    ack_index: int


@dataclass(frozen=True, slots=True)
class Proven:
    """Inclusion hashes of one envelope, leaf to root, under the receiver's checkpoint of `size`."""

    env: bytes
    hashes: bytes
    size: int
    origin: str


def _name(row: Row[Any]) -> LaneName:
    return LaneName(Prefix(row.iss), Prefix(row.aud), row.stream)


def place(lane: LaneName) -> dict[str, Any]:
    """Return the columns that name a lane."""
    return {"iss": lane.iss.key, "aud": lane.aud.key, "stream": lane.stream}


def pending_row(draft: Waiting, position: int) -> dict[str, Any]:
    """Return a draft as a row."""
    return {
        "position": position,
        **place(draft.lane),
        "type": draft.type,
        "schema": draft.schema,
        "body": draft.body,
        "media": draft.media,
        "ref": draft.ref,
        "jti": draft.jti,
        "at": draft.at,
    }


def lane_row(state: LaneState) -> dict[str, Any]:
    """Return a lane as a row."""
    return {
        **place(state.lane),
        "epoch": state.epoch,
        "next_seq": state.next_seq,
        "prev": state.prev,
        "acked_seq": state.acked_seq,
        "state": state.state,
        "failure": state.failure,
        "failed_at": state.failed_at,
        "chain": state.chain,
        "rejected": state.rejected,
        "sealed_at": state.sealed_at,
        "acked_at": state.acked_at,
    }


def to_state(row: Row[Any]) -> LaneState:
    """Return the lane of a row."""
    return LaneState(
        lane=_name(row),
        epoch=row.epoch,
        next_seq=row.next_seq,
        prev=bytes(row.prev),
        acked_seq=row.acked_seq,
        state=row.state,
        failure=row.failure,
        failed_at=row.failed_at,
        chain=_bytes(row.chain),
        rejected=row.rejected,
        sealed_at=row.sealed_at,
        acked_at=row.acked_at,
    )


def out_row(made: Outgoing) -> dict[str, Any]:
    """Return an envelope as a row."""
    return {
        **place(made.lane),
        "epoch": made.epoch,
        "seq": made.seq,
        "env": made.env,
        "jti": made.jti,
        "token": made.token,
        "body": made.body,
        "queued_at": made.queued_at,
        "out_index": made.out_index,
        "state": 0 if made.receipt is None else ANSWERED,
        "receipt": made.receipt,
        "outcome": made.outcome,
        "code": made.code,
        "acked_at": made.acked_at,
        "leaf_index": made.leaf_index,
        "ack_index": made.ack_index,
        "proof": made.proof,
        "proof_size": made.proof_size,
        "proof_origin": made.proof_origin,
    }


def to_outgoing(row: Row[Any]) -> Outgoing:
    """Return the envelope of a row."""
    return Outgoing(
        lane=_name(row),
        epoch=row.epoch,
        seq=row.seq,
        env=bytes(row.env),
        jti=row.jti,
        token=bytes(row.token),
        queued_at=row.queued_at,
        out_index=row.out_index,
        body=_bytes(row.body),
        receipt=_bytes(row.receipt),
        outcome=row.outcome,
        code=row.code,
        acked_at=row.acked_at,
        leaf_index=row.leaf_index,
        ack_index=row.ack_index,
        proof=_bytes(row.proof),
        proof_size=row.proof_size,
        proof_origin=row.proof_origin,
    )


def _bytes(content: Any) -> bytes | None:
    return None if content is None else bytes(content)
