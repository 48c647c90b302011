"""exchange-kill: kill -9 of sender and receiver at random points under load, over a bad network.

    hazlink bench exchange-kill [--kills 1000] [--seed 1] [--records 600] [--leg 250] [--json FILE]

Two real nodes and a proxy between them that loses 30 % of the requests (before they arrived, or the answer to them),
doubles 10 %, holds back 10 % behind others, cuts 5 % of the answers and lets 1 % drip at one byte a second. Business
goes on at both without pause (`--records`: how many envelopes may wait); at random moments of their work, of the first
second after a start and of the start itself one of them or both are killed. After each kill every receipt that ever
left a node must be in its database. After every `--leg` kills, and at the end, both are left alone until nothing
waits, and their books are compared: the accepted set equals the sent set byte for byte, in order for each lane, each
with one effect; every stored receipt is the receiver's; both logs are sound. Anything else ends the run with the
difference, the seed and the number of the kill, and the folders of both nodes are kept. The weather and the choice of
the moments follow from the seed, not what the processes are doing then.

A node is started by a fork of a process that has read its code already: that takes the start of the interpreter and
its imports out of each start, and nothing else (`tests.support.zygote`).
"""

import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench._harness import Figure, options_of, report
from tests.support.exchange_books import Tally, require_equal
from tests.support.exchange_killing import Business, Killer, Load
from tests.support.exchange_processes import STORM, Nodes, two_nodes

__all__ = ["run"]

_PATIENCE_SECONDS = 1_800


class _Run:
    """The kills of one run, leg by leg.

    Args:
        nodes: what is killed.
        kills: how often.
        seed: of the moments.
        most: envelopes that may wait.
    """

    def __init__(self, nodes: Nodes, *, kills: int, seed: int, most: int) -> None:
        self.business = Business()
        self.killer = Killer(nodes, seed=seed)
        self.tally = Tally()
        self._nodes = nodes
        self._kills = kills
        self._most = most
        self._began = time.monotonic()
        self._left = 0

    def leg(self, kills: int) -> None:
        """Kill so often, then let both come to rest, and compare their books."""
        nodes, business = self._nodes, self.business
        for served in nodes.both:
            if not served.running:
                served.start()
        with Load(nodes, business, most=self._most) as load:
            self.killer.kill(kills, load, self._killed)
            load.stop()
        with self.killer.phase.spent("settle"):
            nodes.settle(patience=_PATIENCE_SECONDS, tell=self._waiting)
        for served in nodes.both:
            nodes.receipts.require_kept(served.data)
        with self.killer.phase.spent("compare"):
            self.tally = require_equal(
                nodes.above.data,
                nodes.below.data,
                entries=business.entries,
                alarms=business.alarms,
                records=business.records,
            )
        print(f"\nequal books after {self.killer.done} kills: {json.dumps(self.found())}", flush=True)

    def found(self) -> dict[str, Any]:
        """What was found so far."""
        nodes = self._nodes
        return {
            **self.killer.kills,
            "nodes that recovered their database by themselves": self.killer.alone,
            **{f"envelopes {name}": number for name, number in self.tally.envelopes.items()},
            "receipts seen on the network": nodes.receipts.count,
            "effects": self.tally.entries,
            "leaves": self.tally.leaves,
            **{f"requests {fate}": number for fate, number in sorted(nodes.proxy.fates.items())},
            **{f"seconds {name}": round(took) for name, took in asdict(self.killer.phase).items()},
            "own processor seconds": round(time.process_time()),
            "own memory at most, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "disk, MiB": sum(_mebibytes(served.data) for served in nodes.both),
        }

    def _killed(self, what: str) -> None:
        number = self.killer.done
        took = time.monotonic() - self._began
        nodes = self._nodes
        _say(
            f"kill {number}/{self._kills} ({what}): {self.business.entries} entries asked for, "
            f"{nodes.receipts.count} receipts seen; {took:.0f} s, about "
            f"{took / number * (self._kills - number):.0f} s left"
        )
        if number % 50 == 0:
            # what is known if the machine itself goes down later
            print(f"\nso far, {number} kills in {took:.0f} s: {json.dumps(self.found())}", flush=True)

    def _waiting(self, left: int) -> None:
        if left != self._left:
            self._left = left
            _say(f"{left} without a receipt")


def _say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def _mebibytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) >> 20


def run(argv: Sequence[str]) -> int:
    options = options_of("exchange-kill", argv, kills=1_000, seed=1, records=600, leg=250)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="exchange-kill-"))
    with two_nodes(folder, seed=options.seed, forked=True) as nodes:
        nodes.proxy.weather = STORM
        made = _Run(nodes, kills=options.kills, seed=options.seed, most=options.records)
        try:
            while made.killer.done < options.kills:
                made.leg(min(options.leg, options.kills - made.killer.done))
        except BaseException as error:
            print(
                f"\nFAILED at kill {made.killer.done + 1} of {options.kills}, seed {options.seed}: "
                f"{type(error).__name__}: {error}\nbooks and logs: {nodes.stuck()}\nthe folders of both nodes are kept: {folder}\n"
                f"until then: {json.dumps(made.found())}",
                flush=True,
            )
            raise
        detail = made.found()
    shutil.rmtree(folder)
    figure = Figure(
        "kills survived with equal books", made.killer.done, "kills", options.kills, detail=detail
    )
    return report("exchange-kill", [figure], started=started, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
