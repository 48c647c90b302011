"""The sending side as its peers see it, whether over HTTPS or from this very process: one door to all of it."""

from collections.abc import Sequence
from typing import Any

import orjson

from federation.exchange.heads import Heads, expectation
from federation.exchange.polling import Downward
from federation.exchange.proving import Proofs
from federation.exchange.reaching import Reaching
from federation.exchange.receipt import Line
from federation.exchange.settling import Settlement
from federation.exchange.storage.sending_proofs import ProofUnit
from registry.errors import MalformedError
from registry.identifier import Prefix
from registry.storage.engine import Database

__all__ = ["Outbound"]

_MAX_SENT = 64
_MAX_SENT_BYTES = 4 << 20


class Outbound:
    """What waits here for a peer, and what it brings back; implements `federation.exchange.routes.Outbound`.

    Consistency: what is returned was committed before. Concurrency: any number of tasks and threads. Errors:
    HazlinkError; nothing was stored then.
    """

    def __init__(
        self,
        *,
        database: Database,
        downward: Downward,
        settlement: Settlement,
        heads: Heads,
        proofs: Proofs,
        reaching: Reaching,
    ) -> None:
        """Take the parts.

        Args:
            database: where everything is kept.
            downward: what waits for children.
            settlement: the books.
            heads: signs and takes heads.
            proofs: of this node's log.
            reaching: who is above whom.
        """
        self._database = database
        self._downward = downward
        self._settlement = settlement
        self._heads = heads
        self._proofs = proofs
        self._reaching = reaching

    async def poll(self, peer: Prefix, stream: str, after: tuple[int, int], wait: float) -> Sequence[bytes]:
        """Return lines for `peer` behind `after`; see `Downward.poll`."""
        return await self._downward.poll(peer, stream, after, wait)

    def take_receipts(self, peer: Prefix, receipts: Sequence[str]) -> Sequence[Line]:
        """Take receipts of what a peer fetched; see `Settlement.take`. Answer lines with a receipt count as well."""
        return self._settlement.take(peer, [_receipt(text) for text in receipts])

    def sent(self, peer: Prefix, stream: str, epoch: int, after: int, limit: int) -> Sequence[bytes]:
        """Return what a peer sent here, in order, each as a line `{"token", "receipt"}`.

        Args:
            peer: who sent it, and asks for it back.
            stream: which lane.
            epoch: of the lane.
            after: behind this number.
            limit: how many at most.

        Raises:
            UnavailableError: the database cannot be read.
        """
        aud = self._reaching.superior(peer)
        if aud is None:
            return []
        with self._database.read() as connection:
            rows = ProofUnit(connection).sent_by(
                peer, aud, stream, epoch=epoch, after=after, limit=min(limit, _MAX_SENT)
            )
        lines: list[bytes] = []
        size = 0
        for token, receipt in rows:
            size += len(token)
            if lines and size > _MAX_SENT_BYTES:
                break
            lines.append(orjson.dumps({"token": token.decode(), "receipt": receipt.decode()}))
        return lines

    def take_heads(self, peer: Prefix, heads: Sequence[str]) -> Sequence[str]:
        """Take the heads of a peer; return what is expected next on its lanes, and the heads of lanes to it.

        Raises:
            HazlinkError: as `Heads.take`.
        """
        told = [expectation(lane, expected) for lane, expected in self._heads.take(peer, heads)]
        return [*told, *self._heads.signed(aud=peer)]

    def proofs(self, peer: Prefix, envs: Sequence[str]) -> dict[str, Any]:
        """Return a checkpoint and the proofs of a peer's envelopes; see `Proofs.proofs`."""
        return self._proofs.proofs(peer, envs)


def _receipt(text: str) -> str:
    if not text.startswith("{"):
        return text
    receipt = Line.decode(text.encode()).receipt
    if receipt is None:
        raise MalformedError("federation.exchange_sending.answer", field="receipt")
    return receipt
