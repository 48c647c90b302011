"""`hazlink root …` and `hazlink keys …` on real data folders."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app
from registry.errors import HazlinkError

run = CliRunner()
FAST = {
    "HAZLINK_ACCOUNTS__ARGON2_MEMORY_KIB": "8",
    "HAZLINK_ACCOUNTS__ARGON2_PASSES": "1",
    "HAZLINK_ACCOUNTS__ARGON2_LANES": "1",
}


def invoke(*words, data=None):
    where = ["--data", str(data)] if data is not None else []
    result = run.invoke(app, [*map(str, words), *where], env=FAST)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def top(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    invoke("init", "--root", "--prefix", "88", "--allow-loopback-peers", "--json", data=data)
    return data


def refused(*words, data=None) -> str:
    with pytest.raises(HazlinkError) as caught:
        invoke(*words, data=data)
    assert caught.value.message("zh") != caught.value.message("en")
    return caught.value.code.rpartition(".")[2]


def test_a_ceremony_from_the_first_key_to_the_next_root(tmp_path: Path, top: Path):
    (tmp_path / "secret").write_text("口令 passphrase")
    folders = [tmp_path / f"holder-{name}" for name in "abc"]
    for folder in folders:
        told = invoke("root", "key", folder, "--passphrase-file", tmp_path / "secret")
        assert re.search(r"已生成根密钥 .*\n.*made", told)
    publics = [word for folder in folders for word in ("--add", next(folder.glob("*.jwk.json")))]
    file = tmp_path / "next.json"
    told = invoke("root", "propose", file, *publics, "--threshold", 2, "--years", 5, data=top)
    assert "0 of 1 keys in force and 0 of 2 new keys" in told
    assert refused("root", "propose", file, *publics, data=top) == "file_exists"
    assert refused("root", "publish", file, data=top) == "ceremony_incomplete"
    invoke("root", "sign", file, data=top)
    # a keyholder's machine has no node
    invoke("root", "sign", file, "--keys", folders[0], "--passphrase-file", tmp_path / "secret")
    sign_again = ("root", "sign", file, "--keys", folders[0], "--passphrase-file", tmp_path / "secret")
    assert refused(*sign_again) == "no_key_to_sign"
    shown = json.loads(invoke("root", "show", file, "--json"))
    assert shown["progress"]["complete"]
    assert shown["proposed"]["threshold"] == 2
    before = json.loads(invoke("prefixes", "--json", data=top))["anchor"]
    assert before in invoke("root", "publish", file, data=top)
    versions = json.loads(invoke("root", "show", "--json", data=top))
    assert [(version["ver"], version["threshold"], len(version["keys"])) for version in versions] == [
        (1, 1, 1),
        (2, 2, 4),
    ]
    assert json.loads(invoke("prefixes", "--json", data=top))["anchor"] == before


def test_a_file_that_is_none_is_refused(tmp_path: Path, top: Path):
    (tmp_path / "next.json").write_text('{"type":"something"}')
    assert refused("root", "publish", tmp_path / "next.json", data=top) == "claim_type"
    assert refused("root", "sign", tmp_path / "absent.json", data=top) == "unreadable"


def test_a_key_is_listed_revoked_and_told_to_others(tmp_path: Path, top: Path):
    invoke("host", "88.107", "--name", "示例园区", "--json", data=top)
    (key,) = json.loads(invoke("keys", "list", "88.107", "--json", data=top))
    assert (key["alg"], key["use"], key["revoked"]) == ("Ed25519", "sig", None)
    moment = "2026-09-21T08:00:00+08:00"
    words = ("keys", "revoke", "88.107", key["key"], "--reason", "compromise")
    assert refused(*words, "--at", "2026-09-21", data=top) == "moment"
    assert refused(*words, "--last-good", "alarm", data=top) == "last_good"
    assert refused("keys", "revoke", "88.107", key["key"], "--reason", "mood", data=top) == "reason_unknown"
    invoke(*words, "--at", moment, "--last-good", "alarm=1/7", data=top)
    (key,) = json.loads(invoke("keys", "list", "88.107", "--json", data=top))
    assert key["revoked"] == "2026-09-21 00:00:00Z"
    assert "revoked" in invoke("keys", "list", "88.107", data=top)
    file = tmp_path / "lists.json"
    invoke("keys", "export", "88.107", file, data=top)
    rows = json.loads(file.read_text())
    assert len(rows[0]["chain"]) == 1
    assert set(rows[0]) == {"token", "chain"}
    assert "0 new" in invoke("keys", "take", file, data=top), "its own lists a node knows already"
