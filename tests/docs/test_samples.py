"""The sample objects in docs/examples: all of them pass, and they are what their script writes."""

import csv
from pathlib import Path

from registry.importing.service import import_file
from tests.support.importing import EDITOR, MemoryRegistrar

ROOT = Path(__file__).parents[2]


def report_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


SAMPLES = sorted((ROOT / "docs" / "examples").glob("88.*"))


def test_the_samples_are_all_accepted_and_of_all_kinds(tmp_path):
    registrar = MemoryRegistrar()
    for path in SAMPLES:
        summary = import_file(registrar, EDITOR, path, report_path=tmp_path / "r.csv")
        assert summary.refused == 0, report_of(tmp_path / "r.csv")
    assert len(registrar.records) >= 500
    kinds = {kind for kind, _ in registrar.records.values()}
    assert kinds == set(registrar.templates.kinds()) - {"generic", "prefix"}
    assert {key.split("/")[0] for key in registrar.records} == {"88.107.1001", "88.107.1002", "88.107.1003"}
    assert "88.107.1001/BATCH-1" in registrar.records


def test_references_among_the_samples_lead_somewhere(tmp_path):
    registrar = MemoryRegistrar()
    for path in SAMPLES:
        import_file(registrar, EDITOR, path)
    for kind, values in registrar.records.values():
        fields = registrar.templates.newest(kind).document["properties"]
        for value in values:
            if fields.get(value.type, {}).get("format") == "identifier":
                assert value.text in registrar.records


def test_the_samples_are_what_their_script_writes(tmp_path, monkeypatch, capsys):
    source = (ROOT / "docs" / "examples" / "make_samples.py").read_text("utf-8")
    (tmp_path / "make_samples.py").write_text(source, "utf-8")
    (tmp_path / "chemicals.json").write_bytes((ROOT / "docs/examples/chemicals.json").read_bytes())
    scope = {"__file__": str(tmp_path / "make_samples.py"), "__name__": "make_samples"}
    exec(compile(source, "make_samples.py", "exec"), scope)
    assert scope["main"]() == 0
    for path in SAMPLES:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
