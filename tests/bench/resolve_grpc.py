"""resolve-grpc: Resolve beside an empty grpc.aio handler, and BatchResolve of 1,000 cached identifiers a call.

    hazlink bench resolve-grpc [--records 10000] [--rounds 9] [--seconds 2] [--json FILE]

The subject is a whole node (`serve` on SQLite) with its guard and limits. Targets: unary at least 0.7 of the empty
handler; a batch at least 200,000 identifiers a second.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench._floors import EMPTY
from tests.bench._harness import Figure, Series, load, measured, options_of, report, serving
from tests.bench._nodes import node, prepare

RESOLVE = "/hazlink.resolver.v1.Resolver/Resolve"
BATCH = "/hazlink.resolver.v1.Resolver/BatchResolve"


def run(argv: Sequence[str]) -> int:
    options = options_of("resolve-grpc", argv)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.records)
        floor, unary, batch = _rounds(Path(folder), options)
    figures = [
        Figure(
            "Resolve beside an empty grpc.aio handler",
            unary.beside(floor),
            "of its rate",
            0.7,
            detail={
                "Resolve calls/s": unary.rate,
                "empty calls/s": floor.rate,
                "server processor µs a Resolve": unary.cpu,
                "server processor µs an empty call": floor.cpu,
            },
        ),
        Figure(
            "BatchResolve, 1,000 cached identifiers a call",
            batch.rate * 1000,
            "identifiers/s",
            200_000,
            detail={"server processor µs an identifier": batch.cpu / 1000},
        ),
    ]
    return report("resolve-grpc", figures, started=started, as_json=options.json)


def _rounds(data: Path, options: argparse.Namespace) -> tuple[Series, Series, Series]:
    floor, unary, batch = Series("empty"), Series("Resolve"), Series("BatchResolve")
    timed = ("--seconds", str(options.seconds), "--records", str(options.records))
    unary_load = (*timed, "--concurrency", str(options.concurrency))
    batch_load = (*timed, "--concurrency", "4", "--batch", "1000")
    with node(data) as (subject, _), serving("floor", "tests.bench._floors", "grpc") as empty:
        at_node = ("grpc", str(subject.port))
        # once over all records: from here on they are cached
        load(*at_node, BATCH, *batch_load, "--warm", str(options.records // 1000 + 1))
        for _ in range(options.rounds):
            measured(floor, empty, "grpc", str(empty.port), EMPTY, *unary_load)
            measured(unary, subject, *at_node, RESOLVE, *unary_load)
            measured(batch, subject, *at_node, BATCH, *batch_load)
    return floor, unary, batch


if __name__ == "__main__":
    import sys

    raise SystemExit(run(sys.argv[1:]))
