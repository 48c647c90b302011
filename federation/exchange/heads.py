"""Signed heads: every minute each sender says how far it has come, so that nobody's lag can be hidden.

Rules (facts on federation, (b) "Flow"):

- a head is about one lane and signed by its sender; it goes with the newest checkpoint of the sender's log, so that
  neighbours see each other's logs grow;
- the child brings its heads and gets the superior's heads of the lanes that lead to it;
- the receiver keeps the newest head of each lane, and answers with what it expects next: a receiver that was restored
  while nothing was under way is noticed by that alone.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol

import orjson

from federation.exchange import head as wire
from federation.exchange.config import ExchangeConfig
from federation.exchange.head import Head
from federation.exchange.members import handle_claim
from federation.exchange.peers import Peers
from federation.exchange.reaching import Reaching
from federation.exchange.receipt import Expected
from federation.exchange.sealing import Speakers
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import LaneName, LaneState, SendingUnit
from federation.log.storage import LogUnit
from registry.clock import Clock
from registry.errors import HazlinkError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import strict_json
from registry.trust.claims import Claims
from resolver.pool import in_pool

__all__ = ["HeadKeys", "HeadSender", "Heads", "expectation", "read_expectation"]

_LOG = logging.getLogger("federation.exchange.heads")
_MAX_HEADS = 256


class HeadKeys(Protocol):
    """Which prefixes are homed here; `registry.prefixes.homes.Homes` is one. Errors: none."""

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is homed here."""
        ...


class Heads:
    """Signs and takes heads.

    Consistency: each call is one transaction. Durability: a head that was taken is kept. Concurrency: any number of
    threads. Errors: as said.
    """

    def __init__(
        self,
        *,
        database: Database,
        speakers: Speakers,
        homes: HeadKeys,
        reaching: Reaching,
        clock: Clock,
        saw: Callable[[Prefix, bytes], None] | None = None,
    ) -> None:
        """Take the parts.

        Args:
            database: where lanes are.
            speakers: the keys of this node.
            homes: which prefixes are homed here.
            reaching: the keys of others.
            clock: the time.
            saw: told each checkpoint that came with a head: (sender, signed note); compares views of its log.
        """
        self._database = database
        self._speakers = speakers
        self._homes = homes
        self._reaching = reaching
        self._clock = clock
        self._saw = saw

    def signed(self, *, iss: Prefix | None = None, aud: Prefix | None = None) -> list[str]:
        """Return the heads of the lanes from `iss`, or to `aud`, or both; signed now.

        Raises:
            UnavailableError: the database cannot be read.
        """
        return self._signed(iss, aud)[:_MAX_HEADS]

    def take(self, peer: Prefix, tokens: Sequence[str]) -> list[tuple[LaneName, Expected]]:
        """Keep the heads a peer brings; return, for each of the lanes, what is expected next here.

        Raises:
            UntrustedError: one is not the peer's own, or about a prefix of somebody else.
            MalformedError, LimitError: one cannot be read.
            UnavailableError: nothing was stored.
        """
        heads = [self._verified(peer, token) for token in tokens[:_MAX_HEADS]]
        if not heads:
            return []
        with self._database.write() as connection:
            unit = ReceivedUnit(connection)
            _put(unit, heads)
            due = [(LaneName(head.iss, head.aud, head.stream), unit.lane(_place(head))) for head in heads]
        notes = {head.checkpoint for head in heads if head.checkpoint is not None}
        if self._saw is not None:
            for note in notes:
                self._saw(peer, note.encode())
        return [(lane, Expected(row.epoch, row.next_seq)) for lane, row in due]

    def _signed(
        self, iss: Prefix | None = None, aud: Prefix | None = None, *, local: bool = False
    ) -> list[str]:
        with self._database.read() as connection:
            states = SendingUnit(connection).lanes()
            newest = LogUnit(connection).newest()
        note = newest.note.decode() if newest is not None else None
        heads = []
        for state in states:
            wanted = iss in (None, state.lane.iss) and aud in (None, state.lane.aud)
            if not wanted or (local and not self._homes.answers_for(state.lane.aud)):
                continue
            try:
                heads.append(self._sign(state, None if local else note))
            except HazlinkError as error:
                _LOG.info("no head for %s: %s", state.lane.iss, error)
        return heads

    def local(self) -> None:
        """Sign the heads of the lanes that stay in this node, and keep them.

        Raises:
            UnavailableError: nothing was stored.
        """
        tokens = [wire.read(token) for token in self._signed(local=True)]
        if tokens:
            with self._database.write() as connection:
                _put(ReceivedUnit(connection), tokens)

    def _sign(self, state: LaneState, note: str | None) -> str:
        signer, _ = self._speakers.signer_for(state.lane.iss)
        return wire.issue(
            signer,
            iss=state.lane.iss,
            aud=state.lane.aud,
            stream=state.lane.stream,
            epoch=state.epoch,
            last_seq=state.next_seq - 1,
            checkpoint=note,
            at=int(self._clock.now()),
        )

    def _verified(self, peer: Prefix, token: str) -> Head:
        head = wire.read(token)
        if head.iss != peer or not self._homes.answers_for(head.aud):
            raise UntrustedError(
                "federation.exchange_sending.other_head", field="head", value=head.iss.key, right=peer.key
            )
        wire.verify(head, self._reaching.key(head.aud, peer, head.kid, head.at))
        return head


def _place(head: Head) -> tuple[str, str, str]:
    return head.iss.key, head.aud.key, head.stream


def _put(unit: ReceivedUnit, heads: Sequence[Head]) -> None:
    # one order for all, so that two of them never wait for each other
    for head in sorted(heads, key=_place):
        unit.put_head(_place(head), epoch=head.epoch, seq=head.last_seq, at=head.at, token=head.token)


def expectation(lane: LaneName, expected: Expected) -> str:
    """Return the line that tells a sender what is expected next on a lane of its."""
    line = {
        "iss": lane.iss.handle.text,
        "aud": lane.aud.handle.text,
        "stream": lane.stream,
        "expected": {"epoch": expected.epoch, "seq": expected.seq},
    }
    return orjson.dumps(line).decode()


def read_expectation(line: bytes) -> tuple[LaneName, Expected]:
    """Read such a line.

    Raises:
        MalformedError: it is none.
    """
    claims = Claims(strict_json.loads(line, max_depth=4), at="expected")
    inner = Claims(claims.object("expected"), at="expected")
    lane = LaneName(handle_claim(claims, "iss"), handle_claim(claims, "aud"), claims.text("stream", 16))
    return lane, Expected(inner.integer("epoch", least=1), inner.integer("seq", least=1))


class HeadSender:
    """Brings the heads of this node's lanes to where they lead. Owner: the event loop that runs `run`."""

    def __init__(
        self,
        *,
        heads: Heads,
        peers: Peers,
        clock: Clock,
        executor: Executor,
        config: ExchangeConfig,
        on_expected: Callable[[LaneName, Expected], None] | None = None,
    ) -> None:
        """Take the parts.

        Args:
            heads: signs and takes.
            peers: the superiors.
            clock: the time.
            executor: for blocking calls.
            config: how often.
            on_expected: told what a receiver expects next on a lane; `Sender.expected`.
        """
        self._on_expected = on_expected
        self._heads = heads
        self._peers = peers
        self._clock = clock
        self._executor = executor
        self._config = config

    async def run(self) -> None:
        """Bring heads until cancelled."""
        while True:
            await self.once()
            await self._clock.sleep(self._config.head_seconds)

    async def once(self) -> None:
        """Bring all heads once; what fails comes again in a minute."""
        try:
            await in_pool(self._executor, self._heads.local)
        except HazlinkError as error:
            _LOG.warning("heads within this node: %s", error)
        for own, superior in self._peers.superiors():
            try:
                await self._exchange(own, superior)
            except HazlinkError as error:
                _LOG.info("heads of %s for %s: %s", own, superior, error)

    async def _exchange(self, own: Prefix, superior: Prefix) -> None:
        mine = await in_pool(self._executor, self._heads.signed, iss=own, aud=superior)
        content = b"".join(token.encode() + b"\n" for token in mine)
        reply = await self._peers.above(own, superior).ask(
            "POST", "exchange/heads", channel="heads", content=content, media="application/x-ndjson"
        )
        lines = reply.lines()
        theirs = [line.decode("ascii", "replace") for line in lines if not line.startswith(b"{")]
        await in_pool(self._executor, self._heads.take, superior, theirs)
        for line in lines:
            if line.startswith(b"{") and self._on_expected is not None:
                lane, expected = read_expectation(line)
                if (lane.iss, lane.aud) == (own, superior):
                    self._on_expected(lane, expected)
