"""The verifier as a court expert runs it: one copied file, Python, and `cryptography`."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from federation.evidence import verifier
from federation.evidence.verifier import canonical, main
from tests.support.evidence import ENTERPRISE, PARK, a_revocation, a_world, an_envelope, evidence

WORLD = a_world()
_ALLOWED = {"cryptography", *sys.stdlib_module_names}


def _written(folder: Path, data: bytes) -> str:
    file = folder / "evidence.json"
    file.write_bytes(data)
    return str(file)


def test_it_imports_nothing_but_the_standard_library_and_cryptography() -> None:
    tree = ast.parse(Path(verifier.__file__).read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])

    assert found <= _ALLOWED
    assert "cryptography" in found


def test_fault_22_a_copy_of_the_one_file_is_all_it_takes(tmp_path: Path) -> None:
    copy = tmp_path / "alone" / "verifier.py"
    copy.parent.mkdir()
    shutil.copy(verifier.__file__, copy)
    file = _written(tmp_path, canonical(evidence(WORLD)))

    # -I: neither the current folder nor PYTHONPATH is looked at
    said = subprocess.run(
        [sys.executable, "-I", str(copy), file, "--anchor", WORLD.anchor, "--json"],
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["holds"] is True
    assert told["facts"]["sender"] == ENTERPRISE
    assert "成立" in told["detail_zh"]


def test_it_tells_both_languages_and_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _written(tmp_path, canonical(evidence(WORLD)))

    assert main([file, "--anchor", WORLD.anchor]) == 0
    both = capsys.readouterr().out
    assert main([file, "--anchor", WORLD.anchor, "--lang", "en"]) == 0
    english = capsys.readouterr().out

    assert "成立" in both
    assert "IT HOLDS" in both
    assert "成立" not in english


def test_a_changed_file_is_status_1_and_no_file_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _written(tmp_path, canonical(evidence(WORLD)).replace(b'"leaf":"ey', b'"leaf":"eZ'))

    assert main([file, "--anchor", WORLD.anchor]) == 1
    assert "IT DOES NOT HOLD" in capsys.readouterr().out
    assert main([str(tmp_path / "missing"), "--anchor", WORLD.anchor]) == 2
    assert "missing" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main([file])
    assert stopped.value.code == 2


def test_more_revocation_lists_and_a_missing_witness_can_be_told(tmp_path: Path) -> None:
    revoked = tmp_path / "lists.json"
    revoked.write_text(json.dumps([a_revocation(WORLD, PARK, WORLD.signers[ENTERPRISE].kid, WORLD.at - 60)]))
    file = _written(tmp_path, canonical(evidence(WORLD)))
    alone = tmp_path / "alone.json"
    alone.write_bytes(canonical(evidence(WORLD, witness=None)))

    assert main([file, "--anchor", WORLD.anchor, "--revocations", str(revoked)]) == 1
    assert main([str(alone), "--anchor", WORLD.anchor]) == 1
    assert main([str(alone), "--anchor", WORLD.anchor, "--allow-unwitnessed"]) == 0
    revoked.write_text("{")
    assert main([file, "--anchor", WORLD.anchor, "--revocations", str(revoked)]) == 2
    revoked.write_text("{}")
    assert main([file, "--anchor", WORLD.anchor, "--revocations", str(revoked)]) == 2


def test_the_body_can_be_written_out(tmp_path: Path) -> None:
    out = tmp_path / "body"
    content = evidence(WORLD, envelope=an_envelope(WORLD, body={"what": "危化品"}))

    assert main([_written(tmp_path, canonical(content)), "--anchor", WORLD.anchor, "--body", str(out)]) == 0
    assert json.loads(out.read_text()) == {"what": "危化品"}


def test_every_reason_and_notice_has_both_languages() -> None:
    for texts in (*verifier._REASONS.values(), *verifier._NOTICES.values(), *verifier._VERDICT.values()):
        zh, en = texts
        names = [
            {part for part in text.split("{")[1:] for part in [part.partition("}")[0]]} for text in (zh, en)
        ]
        assert names[0] == names[1]
        assert any("一" <= sign <= "鿿" for sign in zh)
        assert en.isascii()
