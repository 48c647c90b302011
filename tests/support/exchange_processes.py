"""Two real nodes with a bad network between them: the top above, one node below, and what is sent.

    with two_nodes(folder, seed=7) as nodes:
        nodes.proxy.weather = STORM
        queue(database, [an_entry(1)])
        nodes.settle()

Everything the node below asks of the one above goes through `nodes.proxy`: sessions, envelopes, polls, receipts,
checkpoints. What each side must have in its books afterwards is checked by `tests.support.exchange_books`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from federation.content.dataset import Entry, Operation, load_datasets
from federation.exchange.envelope import Draft, uuid7
from federation.exchange.outbox import to_waiting
from federation.exchange.storage.sending import SendingUnit
from registry.clock import SystemClock
from registry.storage.engine import Database
from tests.support.exchange_books import ABOVE, BELOW, Receipts, progress
from tests.support.fault_proxy import FaultProxy, Weather
from tests.support.forked import ForkedServed, Zygote
from tests.support.movable_clock import MovableServed
from tests.support.ports import free_ports
from tests.support.processes import Login, Served, an_init, joined, told

__all__ = [
    "QUICK",
    "STORM",
    "Memory",
    "Nodes",
    "a_word",
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
    forked: bool = False,
) -> Iterator[Nodes]:
    """Make both nodes, join them in fair weather, and serve.

    Args:
        folder: for their data.
        seed: of the weather.
        clock: by which both go; None: the machine's.
        settings: of both; `QUICK` when not said.
        start_below: whether the node below serves already.
        forked: start them by a fork, for those that start very often; by the machine's clock only.
    """
    given = QUICK if settings is None else settings
    base = free_ports(0, 1, 2, 3, 4)
    above, below = folder / ABOVE.key, folder / BELOW.key
    receipts = Receipts()
    with ExitStack() as stack:
        # it reads the code while the folders are made
        zygote = stack.enter_context(Zygote()) if forked else None
        proxy = stack.enter_context(
            FaultProxy(base, port=base + 4, seed=seed, on_answer=receipts.take),
        )
        made = told(above, *an_init(base, "--root", "--prefix", ABOVE.key, "--public-url", proxy.url))
        told(below, *an_init(base + 2))

        parent, child = (_serving(data, zygote, clock, given) for data in (above, below))
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


def _serving(data: Path, zygote: Zygote | None, clock: Path | None, given: dict[str, str]) -> Served:
    assert zygote is None or clock is None, "a forked node goes by the machine's clock"
    if zygote is not None:
        return ForkedServed(zygote, data, **given)
    return Served(data, **given) if clock is None else MovableServed(data, clock, **given)


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
