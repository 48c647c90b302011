"""resolve-http: GET /api/handles/<identifier>, cached, beside a bare ASGI application on the same server.

    hazlink bench resolve-http [--records 10000] [--rounds 9] [--seconds 2] [--json FILE]

The subject is a whole node (`serve` on SQLite); both run on uvicorn with httptools and uvloop. Target: at least 0.5 of
the bare application.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench._harness import Figure, Series, load, measured, options_of, report, serving
from tests.bench._nodes import node, prepare

PATH = "/api/handles/"


def run(argv: Sequence[str]) -> int:
    options = options_of("resolve-http", argv)
    started = time.monotonic()
    floor, hot = Series("bare"), Series("resolve")
    timed = ("--seconds", str(options.seconds), "--records", str(options.records))
    how = (*timed, "--concurrency", str(options.concurrency))
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.records)
        with node(Path(folder)) as (subject, _), serving("floor", "tests.bench._floors", "asgi") as bare:
            at_node = ("http", str(subject.told["http"]), PATH)
            load(*at_node, *how, "--warm", str(options.records))
            for _ in range(options.rounds):
                measured(floor, bare, "http", str(bare.port), PATH, *how)
                measured(hot, subject, *at_node, *how)
    figure = Figure(
        "HTTP resolve beside a bare ASGI application",
        hot.beside(floor),
        "of its rate",
        0.5,
        detail={
            "resolve calls/s": hot.rate,
            "bare calls/s": floor.rate,
            "server processor µs a resolve": hot.cpu,
            "server processor µs a bare call": floor.cpu,
        },
    )
    return report("resolve-http", [figure], started=started, as_json=options.json)


if __name__ == "__main__":
    import sys

    raise SystemExit(run(sys.argv[1:]))
