"""exchange-partition: three days cut off with a million envelopes waiting, then catching up in bounded memory.

    hazlink bench exchange-partition [--records 1000000] [--hours 72] [--seed 1] [--json FILE]

Two real nodes by a clock that is put forward hour by hour while nothing gets through between them: in the first half
of the time everything is swallowed, in the second connections are refused. The lower node numbers, signs and logs what
its business asked for; an alarm is raised meanwhile. Then the link returns: the alarm must be in the receiver's
database within a second, and everything else follows, with more alarms in between and one more cut of an hour. Resident
memory of both is watched all the time: its own pages, without those of the database file that the system may take back.
At the end the books of both are compared, as by exchange-kill.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path

from sqlalchemy import func, select

from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import SendingUnit
from federation.exchange.storage.sending_tables import exchange_pending
from federation.exchange.storage.tables import exchange_in
from registry.storage.engine import Database
from tests.bench._harness import Figure, options_of, report
from tests.support.exchange_books import ABOVE, BELOW, Tally, database_url, require_equal
from tests.support.exchange_processes import QUICK, Memory, Nodes, an_alarm, an_entry, queue, two_nodes
from tests.support.movable_clock import ClockFile

__all__ = ["Partition", "run"]

_MOST_MEBIBYTES = 512
_ALARM_SECONDS = 1.0
_PAUSE_SECONDS = 0.3
_HOUR = 3_600.0
#: As an operator would run it, but for the limits on one caller.
_SETTINGS = {name: value for name, value in QUICK.items() if "LIMITS" in name or "RHYTHMS" in name}
_LONGEST_SECONDS = 6 * 3_600
_BEGAN = time.monotonic()
#: The date that a node's answers bear follows the clock a second or two later.
_DATED_SECONDS = 3.0


class _Book:
    """One node's database, looked into again and again at a price that does not grow with what waits."""

    def __init__(self, data: Path) -> None:
        self.database = Database(database_url(data), pool_size=1)

    def pending(self) -> int:
        """Drafts without a number; at most so many, and none when there is none."""
        with self.database.read() as connection:
            first, last = connection.execute(
                select(func.min(exchange_pending.c.position), func.max(exchange_pending.c.position))
            ).one()
        return 0 if first is None else int(last) - int(first) + 1

    def sent(self) -> tuple[int, int]:
        """Envelopes with a number, and those of them with a receipt."""
        with self.database.read() as connection:
            lanes = SendingUnit(connection).lanes()
        return sum(lane.next_seq - 1 for lane in lanes), sum(lane.acked_seq for lane in lanes)

    def left(self) -> int:
        """Drafts and envelopes without a receipt; at most so many."""
        sealed, acked = self.sent()
        return self.pending() + sealed - acked

    def alarms(self) -> int:
        """Alarms of the node below that were taken in here."""
        with self.database.read() as connection:
            return ReceivedUnit(connection).lane((BELOW.key, ABOVE.key, "alarm")).next_seq - 1

    def before_alarm(self) -> int | None:
        """How many envelopes were taken in here before the first alarm; None before there was any."""
        where = (exchange_in.c.iss == BELOW.key, exchange_in.c.aud == ABOVE.key)
        asked = select(exchange_in.c.leaf_index).where(*where).limit(1)
        with self.database.read() as connection:
            if connection.execute(asked).first() is None:
                return None
            found = connection.execute(asked.where(exchange_in.c.stream == "alarm")).scalar()
        return None if found is None else int(found)


@dataclass
class Partition:
    """The story and what it found out.

    Attributes:
        records: entries in the queue.
        hours: of the partition.
        first_alarm: seconds from the link's return until the alarm raised before was in the receiver's database.
        second_alarm: the same after the second cut.
        alarms: seconds from the commit of an alarm to its place in the receiver's database, while the rest follows.
        before_alarm: envelopes taken before the first alarm.
        peaks: greatest resident memory of each node, MiB.
        rate: envelopes a second while catching up.
    """

    folder: Path
    records: int
    hours: int
    seed: int = 1
    tell: Callable[[str], None] = lambda _: None
    first_alarm: float = 0.0
    second_alarm: float = 0.0
    before_alarm: int = 0
    alarms: list[float] = field(default_factory=list)
    peaks: dict[str, Memory] = field(default_factory=dict)
    rate: float = 0.0
    raised: int = 0
    above: _Book = field(init=False)
    below: _Book = field(init=False)
    tally: Tally = field(default_factory=Tally)

    def run(self) -> None:
        """Tell it from beginning to end; AssertionError when something is not as it must be."""
        clock = ClockFile(self.folder / "clock")
        with two_nodes(
            self.folder,
            seed=self.seed,
            clock=self.folder / "clock",
            settings=_SETTINGS,
            start_below=False,
        ) as nodes:
            # nobody dies here: whether receipts are kept is asked of the books alone, at the end
            nodes.proxy.on_answer = None
            self.above, self.below = _Book(nodes.above.data), _Book(nodes.below.data)
            asked = queue(self.below.database, (an_entry(number) for number in range(self.records)))
            assert asked == self.records
            self.tell(f"{asked} envelopes asked for")
            nodes.proxy.part(silent=True)
            nodes.below.start()
            self._days(nodes, clock)
            self._return(nodes)
            self._catch_up(nodes, clock)
            for book in (self.above, self.below):
                book.database.close()
            nodes.settle(patience=_LONGEST_SECONDS)
            self.tally = require_equal(
                nodes.above.data, nodes.below.data, entries=self.records, alarms=self.raised
            )

    def _days(self, nodes: Nodes, clock: ClockFile) -> None:
        """Let the time of the partition pass, and whatever waits get its number."""
        for hour in range(self.hours):
            if hour == self.hours // 2:
                nodes.proxy.part(silent=False)
                self._raise()
            clock.forward(_HOUR)
            time.sleep(_PAUSE_SECONDS)
            self._watch(nodes, f"hour {hour + 1} of {self.hours}")
        while pending := self.below.pending():
            self._watch(nodes, f"{pending} without a number")
            time.sleep(_PAUSE_SECONDS)
        time.sleep(_DATED_SECONDS)
        assert self.below.sent()[1] == 0
        assert self.above.before_alarm() is None

    def _return(self, nodes: Nodes) -> None:
        nodes.proxy.rejoin()
        self.first_alarm = self._seconds_until_alarm(nodes)
        self.before_alarm = self.above.before_alarm() or 0
        self.tell(f"the alarm arrived {self.first_alarm:.2f} s after the link returned")

    def _catch_up(self, nodes: Nodes, clock: ClockFile) -> None:
        began, first, cut = time.monotonic(), self.below.sent()[1], False
        for turn in count():
            left = self.above.left() + self.below.left()
            if not left and cut:
                break
            rate = (self.records - left) / (time.monotonic() - began)
            self._watch(nodes, f"{left} without a receipt, {rate:.0f} envelopes/s")
            if not cut and left < self.records / 2:
                cut = True
                began += self._cut_again(nodes, clock)
            elif turn % 10 == 5:
                self._raise()
                self.alarms.append(self._seconds_until_alarm(nodes))
            time.sleep(_PAUSE_SECONDS)
        took = time.monotonic() - began
        self.rate = (self.below.sent()[1] - first) / took

    def _cut_again(self, nodes: Nodes, clock: ClockFile) -> float:
        """Part them for an hour in which an alarm is raised; return the seconds that took."""
        began = time.monotonic()
        nodes.proxy.part(silent=True)
        self._raise()
        clock.forward(_HOUR)
        time.sleep(_DATED_SECONDS)
        nodes.proxy.rejoin()
        self.second_alarm = self._seconds_until_alarm(nodes)
        self.tell(f"the second alarm arrived {self.second_alarm:.2f} s after the link returned")
        return time.monotonic() - began

    def _raise(self) -> None:
        queue(self.below.database, [an_alarm(self.raised)])
        self.raised += 1

    def _seconds_until_alarm(self, nodes: Nodes) -> float:
        """Wait until every alarm that was raised is in the receiver's database."""
        began = time.monotonic()
        while self.above.alarms() < self.raised:
            assert time.monotonic() < began + 120, nodes.stuck()
            time.sleep(0.01)
        return time.monotonic() - began

    def _watch(self, nodes: Nodes, what: str) -> None:
        told = []
        for served in nodes.both:
            name, found = served.data.name, Memory.of(served)
            known = self.peaks.get(name, found)
            self.peaks[name] = Memory(max(known.own, found.own), max(known.all, found.all))
            told.append(f"{name} {found.own:.0f} MiB ({found.all:.0f} with mapped files)")
        self.tell(f"{what}; resident: {', '.join(told)}")

    @property
    def peak(self) -> float:
        """The greatest resident memory of its own that either node had, in MiB."""
        return max(found.own for found in self.peaks.values())


def _say(line: str) -> None:
    line = f"{timedelta(seconds=int(time.monotonic() - _BEGAN))} {line}"
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def run(argv: Sequence[str]) -> int:
    options = options_of("exchange-partition", argv, records=1_000_000, hours=72, seed=1)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told = Partition(Path(folder), options.records, options.hours, options.seed, _say)
        told.run()
    peaks = {
        f"{name}, MiB with mapped files": round(found.all, 1) for name, found in sorted(told.peaks.items())
    }
    figures = [
        Figure(
            f"an alarm raised in a partition of {options.hours} h, after the link's return",
            told.first_alarm,
            "s",
            _ALARM_SECONDS,
            better="lower",
            detail={"after a second cut, in the middle of catching up": told.second_alarm},
        ),
        Figure(
            "greatest resident memory of either node",
            told.peak,
            "MiB",
            _MOST_MEBIBYTES,
            better="lower",
            detail={
                **{f"{name}, MiB": round(found.own, 1) for name, found in sorted(told.peaks.items())},
                **peaks,
            },
        ),
        Figure(
            "envelopes that caught up",
            sum(told.tally.envelopes.values()),
            "envelopes",
            options.records,
            detail={
                "envelopes a second": told.rate,
                "alarms meanwhile, median s": statistics.median(told.alarms) if told.alarms else 0.0,
                "alarms meanwhile, greatest s": max(told.alarms, default=0.0),
                "leaves checked": told.tally.leaves,
            },
        ),
    ]
    return report("exchange-partition", figures, started=started, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
