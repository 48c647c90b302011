"""A real node for the benchmarks: a data folder filled once, and `python -m node serve` on it."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench._harness import ROOT, Server, stopped
from tests.support.ports import free_port

#: One caller may ask as often as it can; everything else stands as an operator would run it.
UNLIMITED = {
    "HAZLINK_LIMITS__ADDRESS_PER_SECOND": "1e9",
    "HAZLINK_LIMITS__ADDRESS_BURST": "1000000000",
    "HAZLINK_LIMITS__PRINCIPAL_PER_SECOND": "1e9",
    "HAZLINK_LIMITS__PRINCIPAL_BURST": "1000000000",
}


def prepare(data: Path, records: int) -> dict[str, float]:
    """Fill `data` with a node that homes the benchmark's prefix and `records` signed records, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench._prepare", str(data), str(records)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = done.stdout.split()
    return {"records/s": float(said[0]), "bytes a record": float(said[1])}


@contextmanager
def node(data: Path) -> Iterator[tuple[Server, float]]:
    """Run `serve` on a data folder; give the server, with its ports, and the seconds until it was ready."""
    http, grpc = free_port(), free_port()
    environment = {
        **os.environ,
        **UNLIMITED,
        "PYTHONPATH": str(ROOT),
        "HAZLINK_DOORS__HTTP_PORT": str(http),
        "HAZLINK_DOORS__GRPC_PORT": str(grpc),
    }
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "node", "serve", "--data", str(data)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        _wait_ready(f"http://127.0.0.1:{http}/health/ready", process)
        took = time.monotonic() - started
        yield Server("node", process, {"port": grpc, "http": http}), took
    finally:
        stopped(process)


def _wait_ready(url: str, process: "subprocess.Popen[str]", patience: float = 120) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the node ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.02)
    raise SystemExit("the node was not ready in time")
