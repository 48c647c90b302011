"""Receipts held against the envelopes they answer: who signed, about what, under which leaf of their log."""

from functools import lru_cache
from typing import Protocol

from federation.exchange import receipt as wire
from federation.exchange.receipt import Receipt
from federation.exchange.storage.sending import LaneName, Outgoing
from federation.log.leaf import Leaf
from federation.log.merkle import leaf_hash
from registry.errors import UntrustedError
from registry.identifier import Prefix
from registry.trust.algorithms import PublicKey
from registry.trust.encoding import b64u

__all__ = ["ReceiverKeys", "leaf_of", "read_answer"]


class ReceiverKeys(Protocol):
    """The keys receivers sign with; `federation.exchange.reaching.Reaching` is one.

    Concurrency: any number of threads. Errors: as said.
    """

    def key(self, iss: Prefix, aud: Prefix, kid: str, at: float) -> PublicKey:
        """Return the key with which `aud` signed something for `iss` at the time `at`.

        Raises:
            UntrustedError: no chain known here vouches for it.
        """
        ...


def read_answer(row: Outgoing, token: str, keys: ReceiverKeys) -> Receipt:
    """Read a receipt and hold it against the envelope it answers.

    Raises:
        MalformedError, LimitError: it cannot be read.
        UntrustedError: nobody who may signed it, it is about something else, or the leaf it names is not its own.
    """
    receipt = wire.read(token)
    lane = row.lane
    shown = (receipt.env, receipt.aud, receipt.stream, receipt.epoch, receipt.seq)
    if shown != (b64u(row.env), lane.iss, lane.stream, row.epoch, row.seq):
        raise UntrustedError("federation.exchange_sending.other_envelope", field="receipt", value=receipt.env)
    # who was not meant says so in his own name
    if receipt.iss != lane.aud and receipt.outcome != "misdirected":
        raise UntrustedError(
            "federation.exchange.other_iss", field="iss", value=receipt.iss.key, right=lane.aud.key
        )
    wire.verify(receipt, keys.key(lane.iss, receipt.iss, receipt.kid, receipt.received_at))
    if receipt.leaf is not None and receipt.leaf != b64u(leaf_hash(leaf_of(lane, receipt, "in"))):
        raise UntrustedError("federation.exchange_sending.other_leaf", field="leaf", value=receipt.leaf)
    return receipt


def leaf_of(lane: LaneName, receipt: Receipt, kind: str) -> bytes:
    """Return a leaf about an envelope and its receipt: `in` is the receiver's, `ack` ours."""
    return Leaf(
        kind=kind,
        env=receipt.env,
        iss=_handle(lane.iss),
        aud=_handle(lane.aud),
        stream=lane.stream,
        epoch=receipt.epoch,
        seq=receipt.seq,
        at=receipt.received_at,
        outcome=receipt.outcome,
        code=receipt.code,
        rcpt=receipt.sha256 if kind == "ack" else None,
    ).encode()


@lru_cache(maxsize=4096)
def _handle(prefix: Prefix) -> str:
    return prefix.handle.text
