"""What an own envelope that comes back turns into: the row it was, and the leaves it had; plain functions."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from federation.exchange.envelope import Envelope, encode_body
from federation.exchange.epoch import EpochStatement
from federation.exchange.receipt import Receipt
from federation.exchange.storage.rows import EpochRow
from federation.exchange.storage.sending import LaneName, LaneState, Outgoing, Waiting
from federation.log.leaf import Leaf
from registry.errors import MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust.encoding import from_b64u

__all__ = [
    "Reached",
    "Returned",
    "ack_leaf",
    "epoch_leaf",
    "epoch_row",
    "follow",
    "out_leaf",
    "prefix_of",
    "raw_digest",
    "read_leaf",
    "sent_already",
    "settled",
    "to_outgoing",
]


@dataclass(frozen=True, slots=True)
class Returned:
    """An own envelope as its receiver gives it back: the token, and the receipt it gave."""

    token: bytes
    receipt: str


@dataclass(slots=True)
class Reached:
    """How far the log says a lane had come: the last (epoch, seq) sealed and the hash of that envelope."""

    place: tuple[int, int] = (0, 0)
    env: str = ""


def follow(state: LaneState, envelope: Envelope, *, new: bool) -> LaneState:
    """Return the lane after an envelope that came back.

    Args:
        state: the lane before.
        envelope: signed by us.
        new: nothing is known of the lane yet.

    Raises:
        UntrustedError: it is not the next one.
    """
    prev, env = raw_digest(envelope.prev), raw_digest(envelope.env)
    if (envelope.epoch, envelope.seq) == (state.epoch, state.next_seq):
        good = (new and envelope.seq == 1) or prev == state.prev
    else:
        good = envelope.epoch > state.epoch and envelope.seq == 1
    if not good:
        raise UntrustedError(
            "federation.exchange_healing.not_next",
            field="seq",
            value=f"{envelope.epoch}/{envelope.seq}",
            right=f"{state.epoch}/{state.next_seq}",
        )
    return replace(state, epoch=envelope.epoch, next_seq=envelope.seq + 1, prev=env, acked_seq=envelope.seq)


def to_outgoing(lane: LaneName, envelope: Envelope, receipt: Receipt | None) -> Outgoing:
    """Return the row of an envelope; with its receipt, answered."""
    body = raw_digest(envelope.detached.sha256) if envelope.detached is not None else None
    made = Outgoing(
        lane=lane,
        epoch=envelope.epoch,
        seq=envelope.seq,
        env=raw_digest(envelope.env),
        jti=envelope.jti,
        token=envelope.token.encode(),
        queued_at=envelope.iat,
        out_index=0,
        body=body,
    )
    if receipt is None:
        return made
    return replace(
        made,
        receipt=receipt.token.encode(),
        outcome=receipt.outcome,
        code=receipt.code,
        acked_at=receipt.received_at,
        leaf_index=receipt.leaf_index,
    )


def sent_already(waiting: Sequence[Waiting], envelopes: Sequence[Envelope]) -> list[int]:
    """Return the drafts that these envelopes carry; each envelope stands for one draft, the oldest."""
    left: dict[tuple[str, str, str | None, bytes], list[int]] = {}
    for draft in waiting:
        if draft.position is not None:
            content = draft.body if draft.media is None else b"#" + _sha256(draft.body)
            left.setdefault((draft.type, draft.schema, draft.ref, content), []).append(draft.position)
    gone = []
    for envelope in envelopes:
        if envelope.detached is not None:
            content = b"#" + raw_digest(envelope.detached.sha256)
        else:
            content = encode_body(envelope.body)
        same = left.get((envelope.type, envelope.schema, envelope.ref, content))
        if same:
            gone.append(same.pop(0))
    return gone


def settled(state: LaneState, answered: Sequence[tuple[Envelope, Receipt]], now: int) -> LaneState:
    """Return the lane after these answers; there is at least one of the epoch it is in."""
    rejected = sum(receipt.outcome == "rejected" for _, receipt in answered)
    last = max(envelope.seq for envelope, _ in answered if envelope.epoch == state.epoch)
    return replace(
        state,
        acked_seq=max(state.acked_seq, last),
        acked_at=now,
        sealed_at=now,
        rejected=state.rejected + rejected,
        # the next envelope brings the whole chain again
        chain=None,
    )


def out_leaf(lane: LaneName, envelope: Envelope) -> bytes:
    """Return the leaf that was made when it was sealed."""
    return Leaf(
        kind="out",
        env=envelope.env,
        iss=lane.iss.handle.text,
        aud=lane.aud.handle.text,
        stream=lane.stream,
        epoch=envelope.epoch,
        seq=envelope.seq,
        at=envelope.iat,
    ).encode()


def ack_leaf(lane: LaneName, receipt: Receipt) -> bytes:
    """Return the leaf that was made when its receipt came."""
    return Leaf(
        kind="ack",
        env=receipt.env,
        iss=lane.iss.handle.text,
        aud=lane.aud.handle.text,
        stream=lane.stream,
        epoch=receipt.epoch,
        seq=receipt.seq,
        at=receipt.received_at,
        outcome=receipt.outcome,
        code=receipt.code,
        rcpt=receipt.sha256,
    ).encode()


def epoch_leaf(lane: LaneName, statement: EpochStatement) -> bytes:
    """Return the leaf of an epoch that opens."""
    return Leaf(
        kind="epoch",
        env=statement.sha256,
        iss=lane.iss.handle.text,
        aud=lane.aud.handle.text,
        stream=lane.stream,
        epoch=statement.epoch,
        seq=statement.last_seq_known,
        at=statement.iat,
    ).encode()


def epoch_row(lane: LaneName, statement: EpochStatement, countersigned: str, now: int) -> EpochRow:
    """Return an epoch as it is stored."""
    return EpochRow(
        iss=lane.iss.key,
        aud=lane.aud.key,
        stream=lane.stream,
        epoch=statement.epoch,
        old_epoch=statement.old_epoch,
        last_seq_known=statement.last_seq_known,
        opening=raw_digest(statement.start.prev),
        statement=statement.token,
        countersigned=countersigned,
        at=now,
    )


def read_leaf(raw: bytes) -> Leaf | None:
    """Return a leaf; None for one that is none of ours."""
    try:
        return Leaf.decode(raw)
    except MalformedError:
        return None


def prefix_of(handle: str) -> Prefix:
    """Return the prefix of a handle `0.NA/<prefix>` that was read before."""
    return Prefix.parse(handle.removeprefix("0.NA/"))


def raw_digest(digest: str) -> bytes:
    """Return the bytes of a digest that was read before, so is one."""
    return from_b64u(digest) or b""


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
