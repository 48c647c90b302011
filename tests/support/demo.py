"""The demonstration as documents and clients meet it: `hazlink demo`, its four nodes, its JSON file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.support.ports import free_ports
from tests.support.processes import PATIENCE, ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Four nodes are made, joined and told a story about; on a busy machine that takes minutes.
DEMO_SECONDS = 600.0
#: Every port that the contract of the demonstration names.
OFFSETS = tuple(10 * place + door for place in range(4) for door in range(3))


@dataclass(frozen=True)
class ShownNode:
    """One entry of the JSON file.

    Attributes:
        data: the node's data folder.
    """

    prefix: str
    tier: str
    http: str
    grpc: str
    wire: str | None
    admin: str
    secret: str = field(repr=False)
    data: Path


@dataclass(frozen=True)
class Demo:
    """A demonstration that stays up; `nodes` by prefix."""

    process: subprocess.Popen[bytes]
    base_port: int
    json_file: Path
    output: Path
    nodes: dict[str, ShownNode]

    def __getitem__(self, prefix: str) -> ShownNode:
        return self.nodes[prefix]


@contextmanager
def a_demo(folder: Path) -> Iterator[Demo]:
    """Run the demonstration until the block ends; then Ctrl-C."""
    base, data, shown, output = (
        free_ports(*OFFSETS),
        folder / "data",
        folder / "nodes.json",
        folder / "output",
    )
    words = ["--data", str(data), "--base-port", str(base), "--json", str(shown)]
    with output.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "node", "demo", *words],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
        )
    try:
        end = time.monotonic() + DEMO_SECONDS
        while not shown.exists():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < end, output.read_text()
            time.sleep(0.1)
        nodes = {
            entry["prefix"]: ShownNode(**entry, data=data / entry["prefix"])
            for entry in orjson.loads(shown.read_bytes())["nodes"]
        }
        yield Demo(process, base, shown, output, nodes)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demonstration, its story told, its nodes up; one for all tests of a test process.

    Tests of one file run in one process (`--dist loadfile`), so it runs once for each file that uses it.
    """
    with a_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running
    # Ctrl-C after the story is its planned end
    assert running.process.returncode == 0, running.output.read_text()
