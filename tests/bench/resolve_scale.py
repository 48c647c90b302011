"""resolve-scale: a uniform mix that misses the cache, over few records and over many.

    hazlink bench resolve-scale [--few 10000] [--many 1000000] [--rounds 9] [--seconds 2] [--data DIR] [--json FILE]

Every question asks for the owner's own word (`authoritative`), so that none is answered from what is kept, however
many records there are: both mixes miss alike. Target: over many records at least 0.9 of the rate over few. With
`--data` the folders `few` and `many` in it are filled when they are missing, and stay.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench._harness import Figure, Series, measured, options_of, report
from tests.bench._nodes import node, prepare
from tests.bench.resolve_grpc import BATCH, RESOLVE


def run(argv: Sequence[str]) -> int:
    options = options_of("resolve-scale", argv, few=10_000, many=1_000_000, data=True)
    started = time.monotonic()
    series = {
        (kind, size): Series(f"{kind} {size}") for kind in ("unary", "batch") for size in ("few", "many")
    }
    with ExitStack() as stack:
        folder = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sizes = {"few": options.few, "many": options.many}
        nodes = {}
        for size, records in sizes.items():
            if not (folder / size).exists():
                prepare(folder / size, records)
            nodes[size] = stack.enter_context(node(folder / size))[0]
        for turn in range(options.rounds):
            for size, records in sizes.items():
                at = ("grpc", str(nodes[size].port))
                how = ("--seconds", str(options.seconds), "--records", str(records), "--authoritative")
                where = ("--start", str(turn * 200_000))
                measured(series["unary", size], nodes[size], *at, RESOLVE, *how, *where)
                batch = ("--batch", "100", "--concurrency", "4")
                measured(series["batch", size], nodes[size], *at, BATCH, *how, *where, *batch)
    figures = [
        Figure(
            f"{kind} resolve over {options.many:,} records beside {options.few:,}, no answer kept",
            series[kind, "many"].beside(series[kind, "few"]),
            "of its rate",
            0.9,
            detail={
                "identifiers/s over many": series[kind, "many"].rate * size,
                "identifiers/s over few": series[kind, "few"].rate * size,
                "server processor µs, many": series[kind, "many"].cpu / size,
                "server processor µs, few": series[kind, "few"].cpu / size,
            },
        )
        for kind, size in (("unary", 1), ("batch", 100))
    ]
    return report("resolve-scale", figures, started=started, as_json=options.json)


if __name__ == "__main__":
    import sys

    raise SystemExit(run(sys.argv[1:]))
