"""An import into a real, signed registry: repeated, killed with -9 in two places, and gone on with."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from registry.identifier import Identifier, Prefix
from registry.importing.catalogue import CatalogueRows
from registry.importing.service import import_file
from registry.importing.state import load_state
from tests.support.importing import EDITOR, a_registry

ROOT = Path(__file__).parents[3]
CATALOGUE = ROOT.parent / "shared" / "data" / "cn_hazchem_catalogue_2833.json"
PREFIX = Prefix("88.107.1001")

#: The child imports and stops dead in the third batch: before its commit is noted, or right after.
CHILD = """
import sys, time
from pathlib import Path
from registry.identifier import Prefix
from registry.importing.catalogue import CatalogueRows
from registry.importing.service import import_file
from tests.support.importing import EDITOR, a_registry

folder, source, where, batch = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
registry, _ = a_registry(folder / "node.db")

def stop():
    print("stopped", flush=True)
    time.sleep(600)

class Stopping:
    calls = 0
    def register_many(self, *args, **options):
        results = registry.register_many(*args, **options)
        self.calls += 1
        if where == "after the commit" and self.calls == 3:
            stop()
        return results

def progress(seen):
    if where == "after the state" and seen.rows >= 3 * batch:
        stop()

import_file(
    Stopping(), EDITOR, source, report_path=folder / "report.csv", state_path=folder / "state.json",
    batch_size=batch, mapping=CatalogueRows(Prefix("88.107.1001")), on_progress=progress,
)
"""


def rows_by_hand(folder):
    source = folder / "rows.json"
    rows = [
        {"no": n, "name_zh": f"样品{n}", "aliases_zh": [f"别名{n}"], "cas": [] if n % 5 == 0 else ["67-64-1"]}
        for n in range(1, 121)
    ]
    source.write_text(json.dumps(rows), "utf-8")
    return source, 10


def whole_catalogue(_folder):
    if not CATALOGUE.exists():
        pytest.skip("the reference data folder is not beside this checkout")
    return CATALOGUE, 500


def run(folder, source, batch):
    registry, database = a_registry(folder / "node.db")
    summary = import_file(
        registry,
        EDITOR,
        source,
        report_path=folder / "report.csv",
        state_path=folder / "state.json",
        batch_size=batch,
        mapping=CatalogueRows(PREFIX),
    )
    database.close()
    return summary


def content_of(folder, count):
    """Everything that stands in the node, but for the times."""
    registry, database = a_registry(folder / "node.db")
    records = registry.records([Identifier.parse(f"{PREFIX}/CATALOGUE-{n:04d}") for n in range(1, count + 1)])
    content = [
        (r.identifier, r.kind, r.version, [(v.index, v.type, v.data) for v in r.values]) for r in records
    ]
    total = registry.count(EDITOR, PREFIX)
    database.close()
    return total, content


def report_of(folder):
    with (folder / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("where", ["after the commit", "after the state"])
@pytest.mark.parametrize("make", [rows_by_hand, pytest.param(whole_catalogue, marks=pytest.mark.slow)])
def test_a_killed_import_goes_on_and_ends_like_an_undisturbed_one(tmp_path, make, where):
    source, batch = make(tmp_path)
    count = len(json.loads(source.read_text("utf-8")))
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    whole = run(undisturbed, source, batch)
    assert (whole.created, whole.refused) == (count, 0)

    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, killed, source, where, str(batch)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"stopped\n"
        os.kill(child.pid, signal.SIGKILL)
    finished = 2 if where == "after the commit" else 3
    assert json.loads((killed / "state.json").read_bytes())["counts"]["rows"] == finished * batch

    rest = run(killed, source, batch)
    assert rest.resumed_after == finished * batch
    assert rest.created + rest.unchanged == count
    assert rest.unchanged == (batch if where == "after the commit" else 0)
    assert content_of(killed, count) == content_of(undisturbed, count)
    assert content_of(killed, count)[0] == count
    assert report_of(killed) == report_of(undisturbed)
    assert len(report_of(killed)) == whole.warnings
    assert load_state(killed / "state.json", {}) is None

    again = run(killed, source, batch)
    assert (again.created, again.changed, again.unchanged, again.refused) == (0, 0, count, 0)
