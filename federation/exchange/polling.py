"""What goes downward: the child fetches it, hands it to its own receiver, and brings the receipts back.

Rules (facts on federation, (b) "Transport"):

- nothing ever connects to a child: it asks, and the superior keeps the question waiting until there is something;
- the superior answers from the first envelope whose receipt it does not have, or from where the child says it is,
  whichever comes first: a receipt that got lost on its way up is simply given again;
- before an envelope stand, as lines of JSON, what a child that lost its store could not have: the chain the
  envelope names, and its detached body;
- before the first envelope of an epoch the child is not in stands the countersigned announcement of it, and of those
  between; what an epoch that is over left without a receipt is not given again, for it was sealed anew;
- waiting costs one look at the database for all children together.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from federation.exchange import epoch as epochs
from federation.exchange.client import HttpPeer
from federation.exchange.config import ExchangeConfig
from federation.exchange.peers import Here, Peers
from federation.exchange.reaching import Reaching
from federation.exchange.settling import Settlement
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import LaneName, LaneState, Outgoing, SendingUnit
from federation.exchange.tokens import named_chain
from registry.clock import Clock
from registry.errors import HazlinkError, MalformedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import strict_json
from registry.trust.claims import Claims
from registry.trust.encoding import b64u, from_b64u
from resolver.pool import in_pool

__all__ = ["POLLED", "Downward", "Poller"]

_LOG = logging.getLogger("federation.exchange.polling")
#: The streams on which a superior speaks to its children.
POLLED = ("control", "query")
_LOOK_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 30.0
_LEAST_SECONDS = 1.0
_GRACE_SECONDS = 10.0
_MAX_BYTES = 4 << 20
_HALF = 1 << 56


class Downward:
    """The superior's side: what waits for a child.

    Consistency: what is returned was committed before. Concurrency: any number of tasks of one event loop; the
    blocking part runs in the pool. Errors: HazlinkError; nothing is stored by asking.
    """

    def __init__(
        self,
        *,
        database: Database,
        reaching: Reaching,
        settlement: Settlement,
        clock: Clock,
        executor: Executor,
        config: ExchangeConfig,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the parts.

        Args:
            database: where envelopes are.
            reaching: who is above a child.
            settlement: the books.
            clock: the time.
            executor: for blocking calls.
            config: limits.
            stopping: whether this process ends: nobody is kept waiting then.
        """
        self._stopping = stopping
        self._database = database
        self._reaching = reaching
        self._settlement = settlement
        self._clock = clock
        self._executor = executor
        self._config = config
        self._waiting: dict[str, frozenset[str]] = {}
        self._looked: dict[str, float] = {}
        self._looking = asyncio.Lock()

    async def poll(self, peer: Prefix, stream: str, after: tuple[int, int], wait: float) -> list[bytes]:
        """Return lines for `peer` behind `after` (epoch, seq), waiting up to `wait` seconds for the first.

        A line is an envelope, or JSON with what belongs to the next one: `{"chain": […]}`, `{"body": base64url}`,
        `{"epoch": {"statement": jws, "countersignature": jws}}`.
        """
        end = self._clock.monotonic() + min(wait, self._config.poll_wait_seconds)
        while True:
            found = await in_pool(self._executor, self.waiting, peer, stream, after)
            if found:
                return found
            while not await self._news(peer, stream):
                if self._clock.monotonic() >= end or self._stopping():
                    return []
                await self._clock.sleep(_LOOK_SECONDS)

    def waiting(self, peer: Prefix, stream: str, after: tuple[int, int]) -> list[bytes]:
        """Return the lines that wait for `peer` now."""
        iss = self._reaching.superior(peer)
        if iss is None:
            return []
        lane = LaneName(iss, peer, stream)
        with self._database.read() as connection:
            unit = SendingUnit(connection)
            state = unit.lane(lane)
            if state is None or state.state != "open":
                return []
            start = min(after, (state.epoch, state.acked_seq))
            rows = self._rows(unit, state, start)
        lines: list[bytes] = []
        told: set[str] = set()
        epoch = max(after[0], 1)
        for row in rows:
            if row.epoch > epoch:
                lines += self._epochs(lane, epoch, row.epoch)
                epoch = row.epoch
            lines += self._before(row, told)
            lines.append(row.token)
            if row.body is not None:
                break
        return lines

    def _rows(self, unit: SendingUnit, state: LaneState, start: tuple[int, int]) -> list[Outgoing]:
        """Return the next envelopes behind `start` that are to be given."""
        while True:
            found = unit.batch(state.lane, start, limit=self._config.poll_limit, max_bytes=_MAX_BYTES)
            given = [row for row in found if row.epoch == state.epoch or row.receipt is not None]
            if given or not found:
                return given
            start = (found[-1].epoch, found[-1].seq)

    def _epochs(self, lane: LaneName, after: int, last: int) -> list[bytes]:
        """Return the announcements of the epochs behind `after`, up to `last`."""
        return [
            orjson.dumps({"epoch": {"statement": statement, "countersignature": countersigned}})
            for statement, countersigned in self._settlement.announcements(lane, after)
            if epochs.read(statement).epoch <= last
        ]

    def _before(self, row: Outgoing, told: set[str]) -> list[bytes]:
        lines = []
        named = named_chain(row.token)
        if named is not None and named not in told:
            told.add(named)
            chain = self._settlement.chain(named)
            if chain is not None:
                lines.append(orjson.dumps({"chain": chain}))
        if row.body is not None:
            lines.append(orjson.dumps({"body": b64u(self._settlement.body(row.body))}))
        return lines

    async def _news(self, peer: Prefix, stream: str) -> bool:
        """Say whether something waits for `peer`, as of a look at most a quarter of a second ago."""
        async with self._looking:
            now = self._clock.monotonic()
            if now - self._looked.get(stream, -_LOOK_SECONDS) >= _LOOK_SECONDS:
                states = await in_pool(self._executor, self._settlement.unsent, stream)
                self._waiting[stream] = frozenset(state.lane.aud.key for state in states)
                self._looked[stream] = now
        return peer.key in self._waiting[stream]


@dataclass(frozen=True, slots=True)
class _Line:
    """One conversation of the child: its own prefix, the superior's, and the stream."""

    own: Prefix
    superior: Prefix
    stream: str


class Poller:
    """The child's side: fetches, hands over, brings receipts. Owner of its tasks: the event loop that runs `run`."""

    def __init__(
        self,
        *,
        database: Database,
        peers: Peers,
        here: Here,
        clock: Clock,
        executor: Executor,
        entropy: Callable[[int], bytes],
        config: ExchangeConfig,
        on_contact: Callable[[Prefix], None] | None = None,
    ) -> None:
        """Take the parts.

        Args:
            database: where it stands written how far this node has come.
            peers: the superiors.
            here: the receiver of this process.
            clock: the time.
            executor: for blocking calls.
            entropy: source of random bytes, for the jitter.
            config: limits.
            on_contact: told when a superior answers again; `Sender.returned`.
        """
        self._database = database
        self._peers = peers
        self._here = here
        self._clock = clock
        self._executor = executor
        self._entropy = entropy
        self._config = config
        self._on_contact = on_contact
        self._tasks: dict[_Line, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Poll every superior until cancelled."""
        try:
            while True:
                wanted = {
                    _Line(own, superior, stream)
                    for own, superior in self._peers.superiors()
                    for stream in POLLED
                }
                for line in wanted - {line for line, task in self._tasks.items() if not task.done()}:
                    self._tasks[line] = asyncio.create_task(self._follow(line), name=f"poll {line.stream}")
                for line in self._tasks.keys() - wanted:
                    self._tasks.pop(line).cancel()
                await self._clock.sleep(_LEAST_SECONDS)
        finally:
            tasks = list(self._tasks.values())
            self._tasks.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, line: _Line) -> None:
        failed = 0
        while True:
            began = self._clock.monotonic()
            try:
                moved = await self.once(line.own, line.superior, line.stream)
            except HazlinkError as error:
                failed += 1
                _LOG.info("polling %s for %s: %s", line.superior, line.stream, error)
                await self._clock.sleep((error.retry_after or 0.0) + self._jitter(failed))
                continue
            if failed and self._on_contact is not None:
                self._on_contact(line.superior)
            failed = 0
            # a superior that never lets us wait, or envelopes that get nowhere, must not make us run in circles
            if not moved and self._clock.monotonic() - began < _LEAST_SECONDS:
                await self._clock.sleep(_LEAST_SECONDS)

    async def once(self, own: Prefix, superior: Prefix, stream: str) -> bool:
        """Ask once; say whether something was taken in.

        Raises:
            HazlinkError: it did not work; nothing is lost, the same comes again.
        """
        peer = self._peers.above(own, superior)
        epoch, seq = await in_pool(self._executor, self._position, own, superior, stream)
        wait = self._config.poll_wait_seconds
        reply = await peer.ask(
            "GET",
            f"exchange/{stream}?after={epoch}/{seq}&wait={wait:g}",
            channel=f"poll {stream}",
            seconds=wait + _GRACE_SECONDS,
        )
        lines = reply.lines()
        if not lines:
            return False
        answers = await in_pool(self._executor, self._take, own, superior, stream, lines)
        await self._bring(peer, answers)
        return await in_pool(self._executor, self._position, own, superior, stream) > (epoch, seq)

    def _position(self, own: Prefix, superior: Prefix, stream: str) -> tuple[int, int]:
        with self._database.read() as connection:
            row = ReceivedUnit(connection).lane((superior.key, own.key, stream))
        return row.epoch, row.next_seq - 1

    def _take(self, own: Prefix, superior: Prefix, stream: str, lines: Sequence[bytes]) -> list[bytes]:
        """Take what came, in order; return the receipts."""
        tokens: list[bytes] = []
        left = self._config.batch_envelopes
        receipts: list[bytes] = []

        def take_in() -> None:
            found = self._here.receive(superior, stream, tokens, receiver=own) if tokens else []
            receipts.extend(line.receipt.encode() for line in found if line.receipt is not None)
            tokens.clear()

        for line in lines:
            if not line.startswith(b"{"):
                if not left:
                    break
                left -= 1
                tokens.append(line)
            elif not self._learn(superior, line):
                # what stands before an epoch is taken in before it opens
                take_in()
                self._enter(superior, line)
        take_in()
        return receipts

    def _enter(self, superior: Prefix, line: bytes) -> None:
        """Open the epoch that the superior announces with the consent of its own superior."""
        claims = Claims(Claims(strict_json.loads(line)).object("epoch"), at="epoch")
        statement = claims.text("statement", epochs.MAX_EPOCH_BYTES)
        self._here.announce(superior, statement, claims.text("countersignature", epochs.MAX_EPOCH_BYTES))

    def _learn(self, superior: Prefix, line: bytes) -> bool:
        """Take what stands before an envelope; False: an epoch, which opens only after what came before."""
        content: Any = strict_json.loads(line)
        chain, body = content.get("chain"), content.get("body")
        if isinstance(chain, list) and all(isinstance(token, str) for token in chain):
            self._here.introduce(superior, chain)
        elif isinstance(body, str):
            data = from_b64u(body)
            if data is None:
                raise MalformedError("federation.exchange_sending.answer", field="body")
            self._here.put_body(superior, sha256(data).digest(), data)
        return "epoch" not in content

    async def _bring(self, peer: HttpPeer, answers: Sequence[bytes]) -> None:
        if answers:
            content = b"\n".join(answers) + b"\n"
            await peer.ask(
                "POST",
                "exchange/receipts",
                channel="receipts",
                content=content,
                media="application/x-ndjson",
            )

    def _jitter(self, failed: int) -> float:
        most = min(_LONGEST_PAUSE_SECONDS, self._config.poll_backoff_seconds * 2 ** min(failed, 8))
        return int.from_bytes(self._entropy(7)) / _HALF * float(most)
