"""Business of two nodes, and somebody who kills them at random points while they are at it.

with two_nodes(folder, seed=7, forked=True) as nodes:
    business, killer = Business(), Killer(nodes, seed=7)
    with Load(nodes, business) as load:
        killer.kill(5, load)
        load.stop()
    nodes.settle()
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Self

import grpc

from proto import registry_pb2 as rpb
from proto import resolver_pb2 as pb
from registry.storage.engine import Database
from registry.value import DEFAULT_PERMISSIONS
from tests.support.exchange_books import BELOW, database_url, progress
from tests.support.exchange_processes import Nodes, a_word, an_alarm, an_entry, queue
from tests.support.processes import Served

__all__ = ["Business", "Killer", "Load", "Phase"]

#: Shares of the kills: while a node starts, in its first second, and whenever it is at work.
_YOUNG, _FRESH = 0.2, 0.2
#: A kill comes within so many seconds of a moment at which receipts came in, or of the start.
_WORK_SECONDS, _FRESH_SECONDS = 0.8, 1.2
_LOOK_SECONDS = 0.03
#: A sender that failed again and again waits for minutes: after so many seconds it is killed in that pause, after more
#: when that happens again and again (a busy machine). It may not stand still over more kills than it can by chance.
_PAUSE_SECONDS, _MOST_PAUSES = 8.0, 25


@dataclass
class Business:
    """What was asked for, over all the loads of a run.

    Attributes:
        records: those whose registration was acknowledged.
    """

    entries: int = 0
    alarms: int = 0
    words: int = 0
    records: list[str] = field(default_factory=list)
    turns: Iterator[int] = field(default_factory=count)


class Load:
    """Business of both nodes, without pause, whether they are alive or not: drafts, alarms, registrations.

    Args:
        nodes: the nodes.
        business: what was asked for before; it goes on.
        most: drafts and envelopes without a receipt at which business waits.
        at_once: drafts in one business transaction.
    """

    def __init__(self, nodes: Nodes, business: Business, *, most: int = 600, at_once: int = 25) -> None:
        self.surprise: BaseException | None = None
        self._nodes = nodes
        self._business = business
        self._most = most
        self._at_once = at_once
        self._stop = threading.Event()
        #: held by whoever opens the database of the node; the killer holds it when nobody else may
        self._hands = {served.data: threading.Lock() for served in nodes.both}
        self._databases = {data: Database(database_url(data), pool_size=1) for data in self._hands}
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def stop(self) -> None:
        """End the business; what was begun is done."""
        self.__exit__()
        self.look()

    def look(self) -> None:
        """Raise what ended the business, if anything did."""
        if self.surprise is not None:
            raise self.surprise

    @contextmanager
    def hands_off(self, served: Served) -> Iterator[None]:
        """Keep away from a node's database, so that the node finds it as the kill left it."""
        with self._hands[served.data]:
            yield

    @contextmanager
    def _at(self, data: Path) -> Iterator[Database | None]:
        """Lend the database, and close it again; None while the hands must be off it."""
        if not self._hands[data].acquire(blocking=False):
            yield None
            return
        try:
            yield self._databases[data]
        finally:
            # no connection stays that would keep the state of a killed node alive
            self._databases[data].close()
            self._hands[data].release()

    def _left(self) -> int:
        left = 0
        for data in self._hands:
            with self._at(data) as database:
                left += progress(data).left if database is not None else 0
        return left

    def _run(self) -> None:
        business, (above, below) = self._business, self._nodes.both
        try:
            for turn in business.turns:
                while turn % 3 == 0 and self._left() > self._most:
                    if self._stop.wait(0.1):
                        return
                if self._stop.wait(0.02):
                    return
                with self._at(below.data) as database:
                    if database is not None:
                        first = business.entries
                        drafts = [an_entry(first + n) for n in range(self._at_once)]
                        business.entries += queue(database, drafts)
                        if turn % 3 == 0:
                            business.alarms += queue(database, [an_alarm(business.alarms)])
                with self._at(above.data) as database:
                    if database is not None and turn % 3 == 0:
                        business.words += queue(database, [a_word(business.words)])
                if turn % 5 == 0:
                    self._register(turn)
        except BaseException as error:
            self.surprise = error

    def _register(self, turn: int) -> None:
        node, login = self._nodes.below, self._nodes.logins[BELOW.key]
        names = [f"{BELOW.key}/REC-{turn}-{place}" for place in range(5)]
        value = pb.Value(
            index=1, type="URL", data=b"https://e.example", ttl=60, permissions=DEFAULT_PERMISSIONS
        )
        asked = rpb.BatchRegisterRequest(
            drafts=[rpb.Draft(identifier=name, values=[value]) for name in names]
        )
        if not node.running:
            return
        with suppress(grpc.RpcError), node.new_channel() as channel:
            reply = Served.stub(channel).BatchRegister(asked, metadata=login.metadata, timeout=5)
            self._business.records += [
                name
                for name, result in zip(names, reply.results, strict=True)
                if result.done == rpb.DONE_CREATED
            ]


@dataclass
class Phase:
    """Where the seconds of the kills went, as the killer sees it.

    Attributes:
        work: until receipts came in again, as far as it was waited for.
        chance: the random waits.
        start: until a killed node served again.
        check: of the receipts after each kill.
        settle: until nothing waited, at the end of each leg.
        compare: of all the books, there.
    """

    work: float = 0.0
    chance: float = 0.0
    start: float = 0.0
    check: float = 0.0
    settle: float = 0.0
    compare: float = 0.0

    @contextmanager
    def spent(self, name: str) -> Iterator[None]:
        """Add the time of a block."""
        began = time.monotonic()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.monotonic() - began)


class Killer:
    """Ends processes without a word, one or both, at random points: of their work, after their start, in their start.

    While it fails a sender waits longer each time, as it should; it is not waited for, but killed in such a pause.

    Every kill of one or both at a moment counts as one. After it every receipt that left a node must be in its books.
    Before half of the kills everybody else takes his hands off the database, until the node serves again: then the
    node itself recovers what the kill left; in the other half the books are looked into before it starts.

    Attributes:
        kills: by what was killed, and when.
        alone: starts at which a node found its database as the kill had left it, untouched by others.
        phase: where the time went.
    """

    def __init__(self, nodes: Nodes, *, seed: int) -> None:
        self.kills: dict[str, int] = {}
        self.alone = 0
        self.phase = Phase()
        self._nodes = nodes
        self._random = Random(seed)
        #: how long a start takes here
        self._start_seconds = 1.0
        self._pauses = 0

    @property
    def done(self) -> int:
        """How often."""
        return sum(self.kills.values())

    def kill(self, times: int, load: Load, tell: Callable[[str], None] | None = None) -> None:
        """Kill so many times.

        Args:
            times: how often.
            load: the business meanwhile.
            tell: told after each kill what was killed.
        """
        end = self.done + times
        while self.done < end:
            fresh = self.done > 0 and self._random.random() < _FRESH / (1 - _YOUNG)
            when = "after its start" if fresh else self._at_work()
            with self.phase.spent("chance"):
                time.sleep(self._random.random() * (_FRESH_SECONDS if fresh else _WORK_SECONDS))
            self._once(when, end, load, tell)
            load.look()

    def _once(self, when: str, end: int, load: Load, tell: Callable[[str], None] | None) -> None:
        victims = self._some()
        with ExitStack() as alone:
            left_alone = self._random.random() < 0.5
            if left_alone:
                for victim in victims:
                    alone.enter_context(load.hands_off(victim))
            for victim in victims:
                victim.kill()
            self._noted(victims, when, tell)
            while self.done < end and self._random.random() < _YOUNG:
                if not left_alone:
                    self._kept()
                self._die_young(victims)
                self._noted(victims, "at its start", tell)
            if not left_alone:
                self._kept()
            self.alone += len(victims) if left_alone else 0
            with self.phase.spent("start"):
                began = time.monotonic()
                for victim in victims:
                    victim.launch()
                for victim in victims:
                    victim.ready()
                self._start_seconds = (time.monotonic() - began) / len(victims)
        self._kept()

    def _some(self) -> tuple[Served, ...]:
        above, below = self._nodes.both
        return self._random.choice([(above,), (below,), (above, below)])

    def _noted(self, victims: tuple[Served, ...], when: str, tell: Callable[[str], None] | None) -> None:
        what = f"{'+'.join(victim.data.name for victim in victims)} {when}"
        self.kills[what] = self.kills.get(what, 0) + 1
        if tell is not None:
            tell(what)

    def _at_work(self) -> str:
        """Wait until receipts come in again, a kill in idleness shows little; say what is going on."""
        known = self._acknowledged()
        with self.phase.spent("work"):
            end = time.monotonic() + _PAUSE_SECONDS * (1 + self._pauses / 4)
            while self._acknowledged() <= known + 10:
                if time.monotonic() > end:
                    self._pauses += 1
                    assert self._pauses <= _MOST_PAUSES, f"the exchange stands still: {self._nodes.stuck()}"
                    return "in a pause"
                time.sleep(_LOOK_SECONDS)
        self._pauses = 0
        return "at work"

    def _acknowledged(self) -> int:
        return progress(self._nodes.below.data).acked

    def _kept(self) -> None:
        with self.phase.spent("check"):
            for served in self._nodes.both:
                self._nodes.receipts.require_kept(served.data)

    def _die_young(self, victims: tuple[Served, ...]) -> None:
        """Kill them at any point of their start, or just behind it."""
        for victim in victims:
            victim.launch()
        with self.phase.spent("chance"):
            time.sleep(self._random.random() * 1.3 * self._start_seconds * len(victims))
        for victim in victims:
            victim.kill()
