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
from itertools import count
from pathlib import Path

from sqlalchemy import func, select

from federation.exchange.storage.tables import exchange_in
from registry.storage.engine import Database
from tests.bench._harness import Figure, options_of, report
from tests.support.exchange_books import BELOW, Tally, database_url, opened, progress, require_equal
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
            database = Database(database_url(nodes.below.data))
            asked = queue(database, (an_entry(number) for number in range(self.records)))
            assert asked == self.records
            self.tell(f"{asked} envelopes asked for")
            nodes.proxy.part(silent=True)
            nodes.below.start()
            self._days(nodes, database, clock)
            self._return(nodes)
            self._catch_up(nodes, database, clock)
            database.close()
            nodes.settle(patience=_LONGEST_SECONDS)
            self.tally = require_equal(
                nodes.above.data, nodes.below.data, entries=self.records, alarms=self.raised
            )

    def _days(self, nodes: Nodes, database: Database, clock: ClockFile) -> None:
        """Let the time of the partition pass, and whatever waits get its number."""
        for hour in range(self.hours):
            if hour == self.hours // 2:
                nodes.proxy.part(silent=False)
                self._raise(database)
            clock.forward(_HOUR)
            time.sleep(_PAUSE_SECONDS)
            self._watch(nodes, f"hour {hour + 1} of {self.hours}")
        while pending := progress(nodes.below.data).pending:
            self._watch(nodes, f"{pending} without a number")
            time.sleep(_PAUSE_SECONDS)
        assert progress(nodes.below.data).acked == 0
        assert self._taken(nodes) == 0

    def _return(self, nodes: Nodes) -> None:
        nodes.proxy.rejoin()
        self.first_alarm = self._seconds_until_alarm(nodes)
        with opened(nodes.above.data) as connection:
            self.before_alarm = connection.execute(
                select(exchange_in.c.leaf_index).where(exchange_in.c.stream == "alarm")
            ).scalar_one()
        self.tell(f"the alarm arrived {self.first_alarm:.2f} s after the link returned")

    def _catch_up(self, nodes: Nodes, database: Database, clock: ClockFile) -> None:
        began, first, cut = time.monotonic(), progress(nodes.below.data).acked, False
        for turn in count():
            left = nodes.left()
            if not left and cut:
                break
            rate = (self.records - left) / (time.monotonic() - began)
            self._watch(nodes, f"{left} without a receipt, {rate:.0f} envelopes/s")
            if not cut and left < self.records / 2:
                cut = True
                began += self._cut_again(nodes, database, clock)
            elif turn % 10 == 5:
                self._raise(database)
                self.alarms.append(self._seconds_until_alarm(nodes))
            time.sleep(_PAUSE_SECONDS)
        took = time.monotonic() - began
        self.rate = (progress(nodes.below.data).acked - first) / took

    def _cut_again(self, nodes: Nodes, database: Database, clock: ClockFile) -> float:
        """Part them for an hour in which an alarm is raised; return the seconds that took."""
        began = time.monotonic()
        nodes.proxy.part(silent=True)
        self._raise(database)
        clock.forward(_HOUR)
        time.sleep(5 * _PAUSE_SECONDS)
        nodes.proxy.rejoin()
        self.second_alarm = self._seconds_until_alarm(nodes)
        self.tell(f"the second alarm arrived {self.second_alarm:.2f} s after the link returned")
        return time.monotonic() - began

    def _raise(self, database: Database) -> None:
        queue(database, [an_alarm(self.raised)])
        self.raised += 1

    def _seconds_until_alarm(self, nodes: Nodes) -> float:
        """Wait until every alarm that was raised is in the receiver's database."""
        began = time.monotonic()
        while self._taken(nodes, "alarm") < self.raised:
            assert time.monotonic() < began + 120, nodes.stuck()
            time.sleep(0.01)
        return time.monotonic() - began

    @staticmethod
    def _taken(nodes: Nodes, stream: str | None = None) -> int:
        asked = select(func.count()).select_from(exchange_in).where(exchange_in.c.iss == BELOW.key)
        if stream is not None:
            asked = asked.where(exchange_in.c.stream == stream)
        with opened(nodes.above.data) as connection:
            return connection.execute(asked).scalar_one()

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
