"""What a receiver lacks before it can take an envelope in: a detached body, a chain, an epoch, a session."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from federation.exchange.client import Peer
from federation.exchange.lane import Send, Supply
from federation.exchange.sealing import Speakers
from federation.exchange.settling import Settlement
from federation.exchange.storage.sending import LaneName, Outgoing
from federation.exchange.streams import MAX_BATCH, MAX_BATCH_BYTES
from federation.exchange.tokens import named_chain
from registry.errors import UnavailableError
from resolver.pool import in_pool

__all__ = ["Supplier"]

_TAKEN = 200


class Supplier:
    """Gives receivers what they lack.

    Consistency: it only reads the books. Concurrency: any number of tasks of one event loop. Errors: UnavailableError
    when it is not here, and whatever the peer raises; then it is asked for again.
    """

    def __init__(
        self, *, settlement: Settlement, speakers: Speakers, pool: Callable[[str], Executor]
    ) -> None:
        """Take the parts.

        Args:
            settlement: the books.
            speakers: the chains of this node.
            pool: where blocking calls of a stream run.
        """
        self._settlement = settlement
        self._speakers = speakers
        self._pool = pool

    async def with_bodies(
        self, name: LaneName, peer: Peer, rows: Sequence[Outgoing], given: set[bytes]
    ) -> Sequence[Outgoing]:
        """Hand over the detached body of the first envelope that has one; the batch ends before the next.

        Args:
            name: the lane.
            peer: its receiver.
            rows: the envelopes of a batch.
            given: bodies the receiver has been given already; added to.
        """
        for place, row in enumerate(rows):
            if row.body is None or row.body in given:
                continue
            if place:
                return rows[:place]
            await self._hand_over(name, peer, row.body, given)
        return rows

    async def supply(self, name: LaneName, peer: Peer, plan: Supply, given: set[bytes]) -> None:
        """Give the receiver what it asked for.

        Raises:
            UnavailableError: it is not here.
        """
        pool = self._pool(name.stream)
        if plan.need == "session":
            await peer.introduce(self._speakers.chain(name.iss))
        elif plan.need == "epoch":
            await self._older(name, peer, plan)
            found = await in_pool(pool, self._settlement.announcements, name, plan.epoch)
            if not found:
                raise UnavailableError("federation.exchange_sending.no_epoch", stream=name.stream)
            for statement, countersigned in found:
                await peer.announce(name.stream, statement, countersigned)
        else:
            wanted = Send(plan.epoch, plan.seq, 1)
            rows = await in_pool(pool, self._settlement.load, name, wanted, 1)
            if not rows:
                raise UnavailableError(
                    "federation.exchange_sending.pruned", field="seq", value=plan.seq, stream=name.stream
                )
            if plan.need == "chain":
                await self._introduce(name, peer, rows[0])
            elif rows[0].body is not None:
                await self._hand_over(name, peer, rows[0].body, given)

    async def _older(self, name: LaneName, peer: Peer, plan: Supply) -> None:
        """Send again what there is of an epoch that is over, for a receiver that lost it.

        Raises:
            UnavailableError: it does not take it; everything comes again.
        """
        pool = self._pool(name.stream)
        first = plan.seq
        while True:
            wanted = Send(plan.epoch, first, MAX_BATCH)
            rows = await in_pool(pool, self._settlement.load, name, wanted, MAX_BATCH_BYTES)
            if not rows:
                return
            for row in rows:
                if row.body is not None:
                    await self._hand_over(name, peer, row.body, set())
            lines = await peer.send(name.stream, [row.token for row in rows])
            if len(lines) != len(rows) or any(line.status != _TAKEN for line in lines):
                raise UnavailableError("federation.exchange_sending.no_epoch", stream=name.stream)
            await in_pool(pool, self._settlement.settle_older, rows, lines)
            first = rows[-1].seq + 1

    async def _hand_over(self, name: LaneName, peer: Peer, sha256: bytes, given: set[bytes]) -> None:
        data = await in_pool(self._pool(name.stream), self._settlement.body, sha256)
        await peer.put_body(name.stream, sha256, data)
        given.add(sha256)

    async def _introduce(self, name: LaneName, peer: Peer, row: Outgoing) -> None:
        """Show the chain an envelope names, and the one of today where that is another."""
        today = self._speakers.chain(name.iss)
        named = named_chain(row.token)
        kept = None
        if named is not None:
            kept = await in_pool(self._pool(name.stream), self._settlement.chain, named)
        if kept is not None and kept != today:
            await peer.introduce(kept)
        await peer.introduce(today)
