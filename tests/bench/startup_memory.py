"""startup-memory: how long a node with 100,000 records takes until it is ready, and how much memory it then holds.

    hazlink bench startup-memory [--records 100000] [--rounds 3] [--data DIR] [--json FILE]

Memory is read when the node is ready and again after it was asked for a third of its records through both doors, so
that what it keeps ready is counted. Targets: under 300 MB, under 3 s.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench._harness import Figure, load, options_of, report
from tests.bench._nodes import node, prepare
from tests.bench.resolve_grpc import BATCH
from tests.bench.resolve_http import PATH

#: The target is given in MB of a million bytes.
_MEBIBYTE = (1 << 20) / 1e6


def run(argv: Sequence[str]) -> int:
    options = options_of("startup-memory", argv, records=100_000, rounds=3, data=True)
    started = time.monotonic()
    starts: list[float] = []
    worked: list[float] = []
    idle: list[float] = []
    busy: list[float] = []
    with ExitStack() as stack:
        folder = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "node"
        if not folder.exists():
            prepare(folder, options.records)
        for _ in range(options.rounds):
            with node(folder) as (subject, seconds):
                starts.append(seconds)
                worked.append(subject.cpu_seconds())
                idle.append(subject.resident_mebibytes() * _MEBIBYTE)
                third = str(options.records // 3)
                how = ("--records", third, "--seconds", "3")
                load("grpc", str(subject.port), BATCH, *how, "--batch", "1000", "--concurrency", "4")
                load("http", str(subject.told["http"]), PATH, *how)
                busy.append(subject.resident_mebibytes() * _MEBIBYTE)
    figures = [
        Figure(
            f"resident memory with {options.records:,} records",
            max(busy),
            "MB",
            300,
            better="lower",
            detail={"when ready": statistics.median(idle), "after work": statistics.median(busy)},
        ),
        Figure(
            "start until ready",
            statistics.median(starts),
            "s",
            3,
            better="lower",
            detail={"processor seconds": statistics.median(worked)},
        ),
    ]
    return report("startup-memory", figures, started=started, as_json=options.json)


if __name__ == "__main__":
    import sys

    raise SystemExit(run(sys.argv[1:]))
