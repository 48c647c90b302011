"""The benchmarks run, scaled down; what they measure here is no figure to rely on."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.bench import (
    exchange,
    proofs,
    register_bulk,
    resolve_grpc,
    resolve_http,
    resolve_scale,
    startup_memory,
    storage_size,
)

_SMALL = ["--rounds", "1", "--seconds", "0.3", "--concurrency", "4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "options", "figures"),
    [
        (resolve_grpc.run, ["--records", "1000"], 2),
        (resolve_http.run, ["--records", "500"], 1),
        (resolve_scale.run, ["--few", "200", "--many", "400"], 2),
        (startup_memory.run, ["--records", "2000"], 2),
        (register_bulk.run, ["--records", "300"], 1),
        (storage_size.run, ["--records", "400"], 2),
        (exchange.run, ["--records", "300"], 2),
        (proofs.run, ["--records", "2048", "--proofs", "300"], 1),
    ],
    ids=[
        "resolve-grpc",
        "resolve-http",
        "resolve-scale",
        "startup-memory",
        "register-bulk",
        "storage-size",
        "exchange",
        "proofs",
    ],
)
def test_a_benchmark_measures_and_reports(
    run: Callable[[Sequence[str]], int], options: list[str], figures: int, tmp_path: Path
) -> None:
    told = tmp_path / "told.json"

    status = run([*_SMALL, *options, "--json", str(told)])

    report = json.loads(told.read_text())
    assert len(report["figures"]) == figures
    assert all(figure["value"] > 0 for figure in report["figures"])
    assert status == (0 if all(figure["met"] for figure in report["figures"]) else 1)
