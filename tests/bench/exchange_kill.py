"""exchange-kill: kill -9 of sender and receiver at random points under load, over a bad network.

    hazlink bench exchange-kill [--kills 1000] [--seed 1] [--records 600] [--json FILE]

Two real nodes and a proxy between them that loses 30 % of the requests (before they arrived, or the answer to them),
doubles 10 %, holds back 10 % behind others, cuts 5 % of the answers and lets 1 % drip at one byte a second. Business
goes on at both without pause (`--records`: how many envelopes may wait); at random moments one of them or both are
killed, now and then again while they start. After each kill every receipt that ever left the victim must be in its
database. At the end both are left alone until nothing waits, and their books are compared: the accepted set equals the
sent set byte for byte, in order for each lane, each with one effect; every stored receipt is the receiver's; both logs
are sound. Anything else ends the run with the difference. The weather follows from the seed.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench._harness import Figure, options_of, report
from tests.support.exchange_books import progress, require_equal
from tests.support.exchange_processes import STORM, Killer, Load, Nodes, two_nodes

__all__ = ["run"]

_PATIENCE_SECONDS = 1_800


class _Told:
    """The progress line."""

    def __init__(self, nodes: Nodes, kills: int) -> None:
        self._nodes = nodes
        self._kills = kills
        self._began = time.monotonic()

    def killed(self, number: int, what: str) -> None:
        took = time.monotonic() - self._began
        books = progress(self._nodes.below.data)
        left = took / number * (self._kills - number)
        self._say(
            f"kill {number}/{self._kills} ({what}): {books.acked} acknowledged, "
            f"{self._nodes.receipts.count} receipts seen; {took:.0f} s, about {left:.0f} s left"
        )

    def waiting(self, left: int) -> None:
        self._say(f"{left} without a receipt")

    @staticmethod
    def _say(line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def run(argv: Sequence[str]) -> int:
    options = options_of("exchange-kill", argv, kills=1_000, seed=1, records=600)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, two_nodes(Path(folder), seed=options.seed) as nodes:
        told = _Told(nodes, options.kills)
        nodes.proxy.weather = STORM
        with Load(nodes, most=options.records) as load:
            killer = Killer(nodes, load, seed=options.seed)
            killer.kill(options.kills, told.killed)
            load.stop()
        nodes.settle(patience=_PATIENCE_SECONDS, tell=told.waiting)
        for served in nodes.both:
            nodes.receipts.require_kept(served.data)
        tally = require_equal(
            nodes.above.data, nodes.below.data, entries=load.entries, alarms=load.alarms, records=load.records
        )
    figure = Figure(
        "kills survived with equal books",
        sum(killer.kills.values()),
        "kills",
        options.kills,
        detail={
            **killer.kills,
            **{f"envelopes {name}": number for name, number in tally.envelopes.items()},
            "receipts seen on the network": nodes.receipts.count,
            "effects": tally.entries,
            "leaves": tally.leaves,
            **{f"requests {fate}": number for fate, number in sorted(nodes.proxy.fates.items())},
        },
    )
    return report("exchange-kill", [figure], started=started, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
