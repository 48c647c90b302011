"""What the benchmarks share: servers in processes of their own, alternating rounds, medians, one report.

Machines differ and are shared: a figure alone says little. Each benchmark measures its subject and a floor in turns, in
the same minutes, by the same load generator, and prints their ratio. Beside the rate seen by the client stands the
processor time the server spent for each call, which does not depend on who else wanted the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Server:
    """A server process that told its port."""

    name: str
    process: "subprocess.Popen[str]"
    told: dict[str, Any]

    @property
    def port(self) -> int:
        return int(self.told["port"])

    def cpu_seconds(self) -> float:
        """Return the processor time it has used, in user and kernel mode."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mebibytes(self) -> float:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE / (1 << 20)


@contextmanager
def serving(name: str, *arguments: str) -> Iterator[Server]:
    """Start `python -m <arguments>`, wait for its line of JSON with the port, stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=_environment()
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("{"):
            raise SystemExit(f"{name} did not start: {line!r}")
        yield Server(name, process, json.loads(line))
    finally:
        stopped(process)


def stopped(process: "subprocess.Popen[str]", patience: float = 30) -> None:
    """End a process; kill it when it does not end in time."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def load(*arguments: str) -> dict[str, Any]:
    """Run one load generator to its end; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench._load", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(),
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "GRPC_VERBOSITY": "ERROR"}


@dataclass
class Series:
    """The rounds of one subject."""

    name: str
    rates: list[float] = field(default_factory=list)
    cpu_microseconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_microseconds)

    def beside(self, floor: "Series") -> float:
        """Return the median of the ratios of neighbouring rounds: what disturbed one disturbed the other too."""
        return statistics.median(mine / its for mine, its in zip(self.rates, floor.rates, strict=True))


def measured(series: Series, server: Server, *arguments: str) -> None:
    """Run one round against `server` and note rate and processor time per call."""
    before = server.cpu_seconds()
    said = load(*arguments)
    series.rates.append(said["rate"])
    series.cpu_microseconds.append((server.cpu_seconds() - before) / max(said["calls"], 1) * 1e6)


@dataclass(frozen=True)
class Figure:
    """One result: what was measured, beside what, against which target.

    Attributes:
        better: `higher` or `lower` values are better.
    """

    name: str
    value: float
    unit: str
    target: float
    better: str = "higher"
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


def options_of(bench: str, argv: Sequence[str], *, data: bool = False, **defaults: int) -> argparse.Namespace:
    """Read the options that the benchmarks share; `defaults` are more of them, or other defaults."""
    parser = argparse.ArgumentParser(prog=f"hazlink bench {bench}")
    for name, default in ({"records": 10_000, "rounds": 9, "concurrency": 32} | defaults).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=Path)
    if data:
        parser.add_argument("--data", type=Path)
    return parser.parse_args(argv)


def report(bench: str, figures: Sequence[Figure], *, started: float, as_json: Path | None = None) -> int:
    """Print each figure as one line for people and all as one line of JSON; 1 when a target was missed."""
    for figure in figures:
        relation = "≥" if figure.better == "higher" else "≤"
        verdict = "met" if figure.met else "MISSED"
        details = ", ".join(f"{name} {_round(value)}" for name, value in figure.detail.items())
        print(
            f"{figure.name}: {_round(figure.value)} {figure.unit} (target {relation} {_round(figure.target)}: {verdict})"
            + (f"; {details}" if details else "")
        )
    content = json.dumps(
        {
            "bench": bench,
            "seconds": round(time.monotonic() - started, 1),
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "figures": [{**asdict(figure), "met": figure.met} for figure in figures],
        }
    )
    print(content)
    if as_json is not None:
        as_json.write_text(content + "\n")
    return 0 if all(figure.met for figure in figures) else 1


def _round(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
