"""The sender: for each stream a sealer and workers of its own; for each lane one task while it has something to send.

Rules (facts on federation, (b) "Flow", (f) rows 11, 17 and 23):

- streams have their own tasks, their own connections and their own share of work; none waits for another, but that
  alarms have the right of way: a request to the same receiver waits a moment at most while they are under way;
- a lane sends its envelopes in order, one request at a time; what an answer means is decided by `lane.Lane`; nothing
  is ever given up, and nothing is kept in memory beyond the batch at hand;
- while an alarm waits for a peer that does not answer, the peer is asked for a sign of life; when it comes, every
  lane to that peer goes on at once, alarms first, whatever its back-off said. A `Retry-After` is obeyed all the same;
- whatever goes wrong with one lane stays with that lane: it is noted, and tried again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

from federation.exchange.batches import Ahead, Batch
from federation.exchange.client import Peer
from federation.exchange.config import ExchangeConfig
from federation.exchange.contact import Contact, RightOfWay, first_of
from federation.exchange.lane import Halt, Idle, Lane, Send, Supply, Wait
from federation.exchange.peers import Peers
from federation.exchange.receipt import Expected, Line
from federation.exchange.sealing import Sealer, Speakers
from federation.exchange.settling import Settlement
from federation.exchange.storage.sending import LaneName, LaneState, Outgoing
from federation.exchange.streams import STREAMS
from federation.exchange.supplying import Supplier
from registry.clock import Clock
from registry.errors import HazlinkError
from registry.identifier import Prefix
from resolver.pool import in_pool

__all__ = ["Counts", "Sender"]

_LOG = logging.getLogger("federation.exchange.sender")
_ALARM = "alarm"
_ALARM_SHARE = 10
_FAILED_SECONDS = 1.0
_BROKEN_SECONDS = 300.0
#: Failures on the way, which say nothing about the receiver.
_CUT = frozenset(f"federation.exchange_sending.{code}" for code in ("unreachable", "no_address", "cut_off"))


@dataclass(slots=True)
class Counts:
    """What this process did since it started; growing numbers for the metrics."""

    sealed: int = 0
    sent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    failures: int = 0


@dataclass(slots=True)
class _Work:
    """One lane at work.

    Attributes:
        memory: its decisions; None: to be read from the database.
        cut: how often in a row it failed on the way, not by an answer: a sign of life is worth another try at once.
        wake: set to end a pause.
        bodies: detached bodies handed over since the last progress.
        ahead: reads the envelopes, those of the next request while one is under way.
    """

    ahead: Ahead
    memory: Lane | None = None
    cut: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: set[bytes] = field(default_factory=set)


class Sender:
    """Seals and sends, while this process is the elected one.

    Owner of all state: the event loop that runs `run`. Errors: none leave `run` but its cancellation.
    """

    def __init__(
        self,
        *,
        sealer: Sealer,
        settlement: Settlement,
        peers: Peers,
        speakers: Speakers,
        clock: Clock,
        executor: Executor,
        urgent: Executor,
        entropy: Callable[[int], bytes],
        config: ExchangeConfig,
    ) -> None:
        """Take the parts.

        Args:
            sealer: gives drafts their numbers.
            settlement: the books.
            peers: the receivers.
            speakers: the keys and chains of this node.
            clock: the time.
            executor: for blocking calls.
            urgent: for blocking calls of the alarm stream; a pool that bulk never fills.
            entropy: source of random bytes, for the jitter.
            config: limits.
        """
        self._sealer = sealer
        self._settlement = settlement
        self._peers = peers
        self._clock = clock
        self._executor = executor
        self._urgent = urgent
        self._entropy = entropy
        self._config = config
        self._told: dict[LaneName, Expected] = {}
        self._supplier = Supplier(settlement=settlement, speakers=speakers, pool=self._pool)
        self._work: dict[LaneName, _Work] = {}
        self._tasks: dict[LaneName, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._room: dict[str, asyncio.Semaphore] = {}
        self._contact = Contact(clock=clock, returned=self.returned)
        self._way = RightOfWay(clock=clock)
        self.counts = Counts()

    async def run(self) -> None:
        """Seal and send until cancelled; for as long as this process is the elected one."""
        self._news = {stream: asyncio.Event() for stream in STREAMS}
        self._room = {stream: asyncio.Semaphore(self._config.lanes_at_once) for stream in STREAMS}
        loops = [loop(stream) for stream in STREAMS for loop in (self._seal, self._dispatch)]
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        try:
            await asyncio.gather(*tasks)
        finally:
            waiting = [*tasks, *self._tasks.values()]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await self._contact.close()
            self._tasks.clear()
            self._work.clear()

    def expected(self, name: LaneName, expected: Expected) -> None:
        """Take note of what a receiver says it waits for on a lane, unasked."""
        self._told[name] = expected
        news = self._news.get(name.stream)
        if news is not None:
            news.set()

    def returned(self, aud: Prefix) -> None:
        """Take note that a peer answers again: lanes that were cut off go on at once, alarms first."""
        for name, work in self._work.items():
            if name.aud == aud and work.cut:
                if name.stream == _ALARM:
                    self._way.take(name)
                work.memory = None
                work.wake.set()

    def _pool(self, stream: str) -> Executor:
        return self._urgent if stream == _ALARM else self._executor

    # sealing

    async def _seal(self, stream: str) -> None:
        chunk = self._config.seal_chunk
        pause = self._config.seal_seconds / (_ALARM_SHARE if stream == _ALARM else 1)
        while True:
            try:
                made = await in_pool(self._pool(stream), self._sealer.seal, stream, chunk)
            except HazlinkError as error:
                self.counts.failures += 1
                _LOG.warning("sealing failed: %s", error, extra={"stream": stream})
                await self._clock.sleep(error.retry_after or _FAILED_SECONDS)
                continue
            self.counts.sealed += made
            if made:
                self._news[stream].set()
            if made < chunk:
                await self._clock.sleep(pause)

    # lanes

    async def _dispatch(self, stream: str) -> None:
        while True:
            self._news[stream].clear()
            try:
                states = await in_pool(self._pool(stream), self._settlement.unsent, stream)
                told = [name for name in self._told if name.stream == stream]
                for name in {state.lane for state in states}.union(told):
                    self._begin(name)
            except HazlinkError as error:
                _LOG.warning("looking for lanes failed: %s", error, extra={"stream": stream})
                await self._clock.sleep(_FAILED_SECONDS)
            await self._pause(self._news[stream], self._config.look_seconds)

    def _begin(self, name: LaneName) -> None:
        running = self._tasks.get(name)
        if running is not None and not running.done():
            return
        peer = self._peers.of(name.iss, name.aud)
        if peer is None:
            self._told.pop(name, None)
        else:
            work = self._work.setdefault(
                name, _Work(Ahead(partial(self._load, name), self._pool(name.stream)))
            )
            self._tasks[name] = asyncio.create_task(self._serve(name, work, peer), name=f"lane {name.stream}")

    async def _serve(self, name: LaneName, work: _Work, peer: Peer) -> None:
        """Send on one lane until nothing waits on it."""
        while True:
            work.wake.clear()
            await self._turn(name)
            try:
                async with self._room[name.stream]:
                    pause = await self._step(name, work, peer)
            except HazlinkError as error:
                pause = await self._failed(name, work, peer, error)
            except Exception:  # noqa: BLE001 — a fault of ours on one lane must not stop the others
                _LOG.exception("lane %s > %s %s broke", name.iss, name.aud, name.stream)
                work.memory, pause = None, _BROKEN_SECONDS
            if pause is None:
                break
            if pause > 0:
                self._way.leave(name)
                await self._pause(work.wake, pause)
        self._way.leave(name)
        work.ahead.drop()
        self._work.pop(name, None)

    async def _turn(self, name: LaneName) -> None:
        """Let alarms go first."""
        if name.stream == _ALARM:
            self._way.take(name)
        else:
            await self._way.give(name.aud)

    async def _step(self, name: LaneName, work: _Work, peer: Peer) -> float | None:
        """Do what the lane plans; return seconds to wait, or None when nothing is left to do."""
        pool = self._pool(name.stream)
        state = await in_pool(pool, self._settlement.state, name)
        if state is None or state.state != "open":
            return None
        if work.memory is None or work.memory.epoch != state.epoch:
            work.memory = self._remembered(name, state)
        told = self._told.pop(name, None)
        if told is not None and await self._hear(work.memory, name, state, told):
            return None
        plan = work.memory.plan(state.next_seq - 1, self._clock.monotonic())
        match plan:
            case Send():
                await self._send(name, work, peer, plan)
                return 0.0
            case Supply():
                await self._supplier.supply(name, peer, plan, work.bodies)
                work.memory.supplied()
                return 0.0
            case Wait(seconds):
                return seconds
            case Idle() | Halt():
                return None

    async def _hear(self, memory: Lane, name: LaneName, state: LaneState, told: Expected) -> bool:
        """Take what the receiver said it expects; True when that halts the lane."""
        memory.plan(state.next_seq - 1, self._clock.monotonic())
        for notice in memory.told(told):
            _LOG.warning("lane %s > %s %s: %s", name.iss, name.aud, name.stream, notice.kind)
        if memory.halted is not None:
            await in_pool(self._pool(name.stream), self._settlement.halt, name, memory.halted)
        return memory.halted is not None

    def _remembered(self, name: LaneName, state: LaneState) -> Lane:
        return Lane(
            name.iss,
            name.aud,
            name.stream,
            epoch=state.epoch,
            acked_seq=state.acked_seq,
            entropy=self._entropy,
            credit=self._config.batch_envelopes,
        )

    async def _send(self, name: LaneName, work: _Work, peer: Peer, plan: Send) -> None:
        """Send as planned, and go on for as long as everything is taken.

        While one batch's receipts are verified and stored, the next is on its way already: a receiver takes it only
        behind the one before, so being wrong about that costs nothing but the sending.
        """
        memory = work.memory
        if memory is None:
            return
        batch = await self._post(name, work, peer, plan)
        while batch is not None:
            settling = asyncio.ensure_future(self._settle(name, work, memory, batch))
            try:
                behind = batch.next(memory.window)
                following = await self._post(name, work, peer, behind) if batch.taken() else None
            except HazlinkError:
                await settling
                raise
            finally:
                await asyncio.wait([settling])
            settling.result()
            if memory.halted is not None or following is None or memory.next_seq != following.plan.first:
                return
            batch = following

    async def _post(self, name: LaneName, work: _Work, peer: Peer, plan: Send) -> Batch | None:
        """Send a batch; None when there is nothing behind the one before."""
        found = await work.ahead.rows(plan)
        rows = await self._supplier.with_bodies(name, peer, found, work.bodies)
        if not rows:
            return None
        if len(rows) == plan.count and not plan.alone:
            work.ahead.begin(Send(plan.epoch, plan.first + plan.count, plan.count))
        lines = await self._ask(name, peer, plan, [row.token for row in rows])
        if work.cut:
            work.cut = 0
            self.returned(name.aud)
        self.counts.sent += len(rows)
        return Batch(Send(plan.epoch, plan.first, len(rows), plan.alone), rows, lines)

    async def _ask(self, name: LaneName, peer: Peer, plan: Send, tokens: Sequence[bytes]) -> list[Line]:
        await self._turn(name)
        if plan.alone:
            asking = peer.send_alone(name.stream, plan.epoch, plan.first, tokens[0])
        else:
            asking = peer.send(name.stream, tokens)
        return await (self._contact.answered(peer, asking) if name.stream == _ALARM else asking)

    def _load(self, name: LaneName, plan: Send) -> Sequence[Outgoing]:
        return self._settlement.load(name, plan, self._config.batch_bytes)

    async def _settle(self, name: LaneName, work: _Work, memory: Lane, batch: Batch) -> None:
        try:
            result = await in_pool(
                self._pool(name.stream),
                self._settlement.settle,
                memory,
                batch.plan,
                batch.rows,
                batch.lines,
                self._clock.monotonic(),
            )
        except HazlinkError:
            # the memory has moved on, the database has not
            work.memory = None
            raise
        if result.finals:
            work.bodies.clear()
        self.counts.acknowledged += len(result.finals)
        for notice in result.notices:
            self.counts.rejected += notice.kind == "rejected"
            what = (name.iss, name.aud, name.stream, notice.kind, notice.code, notice.seq)
            _LOG.warning("lane %s > %s %s: %s %s at %d", *what)

    async def _failed(self, name: LaneName, work: _Work, peer: Peer, error: HazlinkError) -> float:
        self.counts.failures += 1
        _LOG.info("lane %s > %s %s: %s", name.iss, name.aud, name.stream, error)
        work.cut = work.cut + 1 if error.code in _CUT else 0
        if work.memory is not None:
            work.memory.failed(self._clock.monotonic(), error.retry_after)
        if work.cut and name.stream == _ALARM:
            self._contact.look_for(name, peer, lambda: work.cut if self._work.get(name) is work else 0)
        try:
            code = error.code.rpartition(".")[2]
            await in_pool(self._pool(name.stream), self._settlement.note, name, code)
        except HazlinkError:
            return _FAILED_SECONDS
        if work.cut and name.stream == _ALARM:
            # whoever looks whether the link is back is quicker than another try, and says so
            return _BROKEN_SECONDS
        return 0.0 if work.memory is not None else _FAILED_SECONDS

    async def _pause(self, wake: asyncio.Event, seconds: float) -> None:
        """Wait for an event, or so long."""
        await first_of(wake.wait(), self._clock.sleep(seconds))
