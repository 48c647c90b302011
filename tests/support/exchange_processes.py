"""Two real nodes with a bad network between them: the top above, one node below, what is sent, and who is killed.

    with two_nodes(folder, seed=7) as nodes, Load(nodes) as load:
        nodes.proxy.weather = STORM
        Killer(nodes, load, seed=7).kill(5)
        load.stop(); nodes.settle()

Everything the node below asks of the one above goes through `nodes.proxy`: sessions, envelopes, polls, receipts,
checkpoints. What each side must have in its books afterwards is checked by `tests.support.exchange_books`.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any, Self

import grpc

from federation.content.dataset import Entry, Operation, load_datasets
from federation.exchange.envelope import Draft, uuid7
from federation.exchange.outbox import to_waiting
from federation.exchange.storage.sending import SendingUnit
from proto import registry_pb2 as rpb
from proto import resolver_pb2 as pb
from registry.clock import SystemClock
from registry.storage.engine import Database
from registry.value import DEFAULT_PERMISSIONS
from tests.support.exchange_books import ABOVE, BELOW, Receipts, database_url, progress
from tests.support.fault_proxy import FaultProxy, Weather
from tests.support.movable_clock import MovableServed
from tests.support.ports import free_ports
from tests.support.processes import Login, Served, an_init, joined, told, until

__all__ = [
    "QUICK",
    "STORM",
    "Killer",
    "Load",
    "Memory",
    "Nodes",
    "an_alarm",
    "an_entry",
    "queue",
    "two_nodes",
]

#: Done when 2: 30 % loss, doubles and reordering, and what else row 11 of the list names.
STORM = Weather(lose=0.3, double=0.1, late=0.1, cut=0.05, drip=0.01)
#: Settings of both nodes: small batches, so that there are many requests to lose, and little patience with them.
QUICK = {
    "HAZLINK_SHARING__RHYTHMS": "t9=real-time",
    "HAZLINK_EXCHANGE__BATCH_ENVELOPES": "16",
    "HAZLINK_EXCHANGE__SEAL_SECONDS": "0.1",
    "HAZLINK_EXCHANGE__LOOK_SECONDS": "0.1",
    "HAZLINK_EXCHANGE__REQUEST_SECONDS": "3",
    "HAZLINK_EXCHANGE__POLL_WAIT_SECONDS": "1",
    "HAZLINK_EXCHANGE__HEAD_SECONDS": "2",
    "HAZLINK_EXCHANGE__PROVE_SECONDS": "2",
    "HAZLINK_LIMITS__ADDRESS_PER_SECOND": "1000000",
    "HAZLINK_LIMITS__ADDRESS_BURST": "1000000",
    "HAZLINK_LIMITS__PRINCIPAL_PER_SECOND": "1000000",
    "HAZLINK_LIMITS__PRINCIPAL_BURST": "1000000",
}
_T9, _ALARM = load_datasets().newest("t9"), load_datasets().newest("alarm")
_AT_ONCE = 2_000


# --- what is sent --------------------------------------------------------------------------------------------------


def an_entry(number: int) -> Draft:
    """An entry of the docking table of registrations, in an envelope of its own."""
    content = {
        "identifier": f"{BELOW.key}/LOAD-{number}",
        "created": "2026-09-01",
        "metadata": "TEMPLATE/1",
        "status": "active",
        "name": f"示例溶剂{number % 100}号",
    }
    body = _T9.body([Entry(1, Operation.ADD, 1_790_000_000, content)])
    return Draft(BELOW, ABOVE, _T9.stream, _T9.type, _T9.schema, body)


def an_alarm(number: int | str) -> Draft:
    """A raised alarm."""
    content = {
        "id": f"alarm-{number}",
        "subject": f"{BELOW.key}/TANK-7",
        "state": "raised",
        "grade": 1,
        "at": 1_790_000_000,
    }
    body = _ALARM.body([Entry(1, Operation.ADD, 1_790_000_000, content)])
    return Draft(BELOW, ABOVE, _ALARM.stream, _ALARM.type, _ALARM.schema, body)


def a_word(number: int) -> Draft:
    """Something from above, of a type that the node below does not know yet."""
    return Draft(ABOVE, BELOW, "control", "test.word", "test/1", {"number": number})


def queue(database: Database, drafts: Iterator[Draft] | Sequence[Draft], *, at_once: int = _AT_ONCE) -> int:
    """Let business transactions of so many drafts each ask for envelopes, as the outbox does; return how many."""
    clock, entropy, found, asked = SystemClock(), Random(1), iter(drafts), 0
    while True:
        now = clock.now()
        some = [
            replace(to_waiting(draft, int(now)), jti=uuid7(int(now * 1000), entropy.randbytes))
            for draft in islice(found, at_once)
        ]
        if not some:
            return asked
        with database.write() as connection:
            SendingUnit(connection).append(some)
        asked += len(some)


# --- the nodes -----------------------------------------------------------------------------------------------------


@dataclass
class Nodes:
    """Both nodes, and the network between them.

    Attributes:
        rounds: for tests that share the nodes: how many of them asked for envelopes so far.
    """

    above: Served
    below: Served
    proxy: FaultProxy
    receipts: Receipts
    logins: dict[str, Login]
    rounds: int = 0

    @property
    def both(self) -> tuple[Served, Served]:
        return self.above, self.below

    def left(self) -> int:
        """How many drafts and envelopes of either node have no receipt yet."""
        return sum(progress(served.data).left for served in self.both)

    def settle(self, *, patience: float = 120.0, tell: Callable[[int], None] | None = None) -> None:
        """Wait until everything has its receipt, and stop both nodes in that state."""
        end = time.monotonic() + patience
        while True:
            while left := self.left():
                assert time.monotonic() < end, f"{left} without a receipt after {patience} s: {self.stuck()}"
                for served in self.both:
                    assert served.running, served.log.read_text()[-3_000:]
                if tell is not None:
                    tell(left)
                time.sleep(0.25)
            for served in (self.below, self.above):
                assert served.stop() == 0
            if not self.left():
                return
            # something of its own came between, at the last moment
            for served in self.both:
                served.start()

    def stuck(self) -> list[Any]:
        """What does not move on, and what the nodes said last."""
        logs = [served.log.read_text()[-1_500:] for served in self.both]
        return [progress(served.data) for served in self.both] + logs


@contextmanager
def two_nodes(
    folder: Path,
    *,
    seed: int = 0,
    clock: Path | None = None,
    settings: dict[str, str] | None = None,
    start_below: bool = True,
) -> Iterator[Nodes]:
    """Make both nodes, join them in fair weather, and serve.

    Args:
        folder: for their data.
        seed: of the weather.
        clock: by which both go; None: the machine's.
        settings: of both; `QUICK` when not said.
        start_below: whether the node below serves already.
    """
    given = QUICK if settings is None else settings
    base = free_ports(0, 1, 2, 3, 4)
    above, below = folder / ABOVE.key, folder / BELOW.key
    receipts = Receipts()
    with ExitStack() as stack:
        proxy = stack.enter_context(
            FaultProxy(base, port=base + 4, seed=seed, on_answer=receipts.take),
        )
        made = told(above, *an_init(base, "--root", "--prefix", ABOVE.key, "--public-url", proxy.url))
        told(below, *an_init(base + 2))

        def serving(data: Path) -> Served:
            return Served(data, **given) if clock is None else MovableServed(data, clock, **given)

        parent, child = serving(above), serving(below)
        stack.callback(child.__exit__)
        stack.enter_context(parent)
        login = joined(above, below, BELOW.key)
        if start_below:
            child.start()
        yield Nodes(
            parent,
            child,
            proxy,
            receipts,
            {ABOVE.key: Login(made["admin"], made["secret"]), BELOW.key: login},
        )


class Load:
    """Business of both nodes, without pause, whether they are alive or not: drafts, alarms, registrations.

    Args:
        nodes: the nodes.
        most: drafts and envelopes without a receipt at which business waits.
        at_once: drafts in one business transaction.
    """

    def __init__(self, nodes: Nodes, *, most: int = 600, at_once: int = 25) -> None:
        self.entries = self.alarms = self.words = 0
        #: Records whose registration was acknowledged.
        self.records: list[str] = []
        self.surprise: BaseException | None = None
        self._nodes = nodes
        self._most = most
        self._at_once = at_once
        self._stop = threading.Event()
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
        if self.surprise is not None:
            raise self.surprise

    def _run(self) -> None:
        below = Database(database_url(self._nodes.below.data))
        above = Database(database_url(self._nodes.above.data))
        try:
            for turn in count():
                while self._nodes.left() > self._most and not self._stop.wait(0.1):
                    pass
                if self._stop.wait(0.02):
                    return
                first = self.entries
                self.entries += queue(below, [an_entry(first + n) for n in range(self._at_once)])
                if turn % 3 == 0:
                    self.alarms += queue(below, [an_alarm(self.alarms)])
                    self.words += queue(above, [a_word(self.words)])
                if turn % 5 == 0:
                    self._register(turn)
        except BaseException as error:
            self.surprise = error
        finally:
            below.close()
            above.close()

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
            self.records += [
                name
                for name, result in zip(names, reply.results, strict=True)
                if result.done == rpb.DONE_CREATED
            ]


@dataclass
class Killer:
    """Ends processes without a word, at random points while they are at work.

    Attributes:
        kills: by what was killed.
    """

    nodes: Nodes
    load: Load
    seed: int
    kills: dict[str, int] = field(default_factory=dict)

    def kill(self, times: int, tell: Callable[[int, str], None] | None = None) -> None:
        """Kill so many times; after each, nothing that was acknowledged may be missing from the books."""
        random = Random(self.seed)
        for turn in range(times):
            self._at_work()
            time.sleep(random.random() * 0.8)
            victims = random.choice([(self.nodes.above,), (self.nodes.below,), self.nodes.both])
            what = "+".join(victim.data.name for victim in victims)
            for victim in victims:
                victim.kill()
            self._kept(victims)
            if random.random() < 0.15:
                what += " at its start"
                self._die_young(victims[0], 0.3 + random.random() * 3)
                self._kept(victims[:1])
            for victim in victims:
                victim.start()
            self.kills[what] = self.kills.get(what, 0) + 1
            if tell is not None:
                tell(turn + 1, what)
            if self.load.surprise is not None:
                raise self.load.surprise

    def _at_work(self) -> None:
        """Wait until receipts come in again: a kill in idleness shows little."""
        known = progress(self.nodes.below.data).acked
        until(
            lambda: progress(self.nodes.below.data).acked > known + 10,
            "the exchange goes on after a kill",
            pause=0.02,
        )

    def _kept(self, victims: Sequence[Served]) -> None:
        for victim in victims:
            self.nodes.receipts.require_kept(victim.data)

    @staticmethod
    def _die_young(served: Served, seconds: float) -> None:
        timer = threading.Timer(seconds, lambda: served.process.kill())  # noqa: PLW0108 — the process is another by then
        timer.start()
        try:
            with suppress(AssertionError):
                served.start()
        finally:
            timer.cancel()
            timer.join()
            if served.running:
                served.kill()
            else:
                served.__exit__()


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process, in MiB: its own, and with the pages of files it has mapped."""

    own: float
    all: float

    @classmethod
    def of(cls, served: Served) -> "Memory":
        found = dict(
            line.split(":", 1) for line in Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
        )
        return cls(*(int(found[name].split()[0]) / 1024 for name in ("RssAnon", "VmRSS")))
