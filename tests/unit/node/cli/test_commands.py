"""The commands on a data folder, run in this process."""

import json
import re
import shutil

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from node import cli
from node.cli import app
from node.cli.base import at_node, exit_code
from node.election.storage import raise_fence
from registry.errors import HazlinkError, NotFoundError
from registry.prefixes.revoking import Revoking
from tests.unit.node.test_problems import all_errors

run = CliRunner()
FAST = {
    "HAZLINK_ACCOUNTS__ARGON2_MEMORY_KIB": "8",
    "HAZLINK_ACCOUNTS__ARGON2_PASSES": "1",
    "HAZLINK_ACCOUNTS__ARGON2_LANES": "1",
}


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    for name, value in FAST.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    data = tmp_path_factory.mktemp("top") / "data"
    told = invoke("init", "--root", "--prefix", "88", "--allow-loopback-peers", "--json", data=data)
    assert json.loads(told)["admin"] == "300:0.NA/88"
    return data


def invoke(*words, data=None, status=0, answer=None):
    where = ["--data", str(data)] if data is not None else []
    result = run.invoke(app, [*words, *where], input=answer, env=FAST)
    if isinstance(result.exception, HazlinkError):
        raise result.exception
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.output


def commands(group=None, before=()):
    group = group or get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_teaches_in_chinese_and_english(words):
    if words == ("worker",):
        return
    told = invoke(*words, "--help")
    assert re.search(r"[\u4e00-\u9fff]", told)
    assert re.search(r"[a-z]{3}", told)


@pytest.mark.parametrize("kind", sorted(set(all_errors()), key=lambda kind: kind.__name__))
def test_every_refusal_has_an_exit_code(kind):
    assert 1 <= exit_code(kind("node.cli.worker")) <= 7


def test_a_refusal_is_told_in_both_languages_with_its_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["hazlink", "prefixes", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3
    told = capsys.readouterr().err
    assert "there is no node" in told
    assert "没有节点" in told


def test_init_makes_one_node_and_never_a_second_over_it(top):
    assert {"hazlink.toml", "hazlink.sqlite3", "keys", "secrets"} <= {file.name for file in top.iterdir()}
    assert oct(top.stat().st_mode & 0o777) == "0o700"
    assert (top / "marks" / "exchange.json").is_file()
    with pytest.raises(HazlinkError, match="already"):
        invoke("init", data=top)
    shown = json.loads(invoke("settings", data=top))
    assert shown["peers"]["allow_loopback_peers"] is True


def test_a_copied_folder_has_a_mark_file_and_none_is_made_beside_a_database_in_use(top, tmp_path):
    shutil.copytree(top, tmp_path / "copy")
    url = f"sqlite:///{tmp_path / 'copy' / 'hazlink.sqlite3'}"
    assert (tmp_path / "copy" / "marks" / "exchange.json").read_bytes() == (
        top / "marks" / "exchange.json"
    ).read_bytes()
    with at_node(tmp_path / "copy") as node:
        raise_fence(node.exchanging.database, 3)
    invoke("init", "--database-url", url, data=tmp_path / "anew")
    assert not (tmp_path / "anew" / "marks" / "exchange.json").exists()


def test_a_list_of_revocations_that_has_expired_is_a_warning_and_no_more(top, tmp_path, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(top, data)
    assert json.loads(invoke("exchange", "status", "--json", data=data))["stale_revocations"] == []
    monkeypatch.setattr(Revoking, "stale", lambda _: ("88.107",))
    assert json.loads(invoke("exchange", "status", "--json", data=data))["stale_revocations"] == ["88.107"]
    told = invoke("exchange", "status", data=data)
    assert "88.107 的撤销列表已过期" in told
    assert "the revocation list of 88.107 has expired" in told
    assert "✓" in invoke("check", data=data)


def test_root_and_prefix_go_together(tmp_path):
    for words in (("--root",), ("--prefix", "88")):
        assert run.invoke(app, ["init", "--data", str(tmp_path / "x"), *words]).exit_code == 2
    assert not (tmp_path / "x").exists()


def test_a_certificate_is_made_on_request_and_its_pin_shown(tmp_path):
    data = tmp_path / "x"
    told = json.loads(invoke("init", "--tls-self-signed", "id.example.cn", "--json", data=data))
    assert len(told["tls_x5t_s256"]) == 43
    assert "tls/certificate.pem" in (data / "hazlink.toml").read_text()


def test_check_says_what_is_wrong_and_what_is_well(top, tmp_path):
    assert "✓" in invoke("check", data=top)
    invoke("init", data=tmp_path / "empty")
    told = invoke("check", data=tmp_path / "empty", status=6)
    assert "hazlink join" in told


def test_an_object_is_registered_found_changed_withdrawn_and_looked_back_upon(top):
    words = (
        "register",
        "88/PUMP-1",
        "--field",
        "ASSET_NO=P-101",
        "--field",
        "URL=https://e.example",
        "--json",
    )
    assert json.loads(invoke(*words, data=top)) == {
        "identifier": "88/PUMP-1",
        "done": "created",
        "version": 1,
    }
    assert json.loads(invoke(*words, data=top))["done"] == "unchanged"
    assert "88/PUMP-1" in invoke("search", "ASSET_NO=P-1*", data=top)
    invoke("search", "ASSET_NO=Q*", data=top, status=3)
    assert json.loads(invoke("list", "--json", data=top))["total"] >= 1
    invoke("set", "88/PUMP-1", "--field", "URL=https://f.example", data=top)
    resolved = json.loads(invoke("resolve", "88/pump-1", "--json", data=top))
    assert resolved["outcome"] == "found"
    assert "https://f.example" in str(resolved["values"])
    assert resolved["chain"]
    invoke("withdraw", "88/PUMP-1", "--reason", "scrapped", "--replaced-by", "88/PUMP-2", data=top)
    assert "scrapped" in invoke("resolve", "88/PUMP-1", data=top)
    entries = json.loads(invoke("history", "88/PUMP-1", "--json", data=top))
    assert [entry["action"] for entry in entries] == ["register", "set", "withdraw"]
    invoke("register", "88/PUMP-3", "-f", "URL=https://e.example/3", data=top)
    invoke("delete", "88/PUMP-3", "--reason", "by mistake", data=top)
    invoke("resolve", "88/NOTHING", data=top, status=3)


def test_an_import_reports_bad_lines_and_changes_nothing_the_second_time(top, tmp_path):
    file = tmp_path / "objects.csv"
    file.write_text(
        "identifier,kind,URL\n88/I-1,,https://e.example/1\nbad line,,x\n88/I-2,,https://e.example/2\n"
    )
    first = json.loads(invoke("import", str(file), "--json", data=top, status=5))
    assert (first["created"], first["refused"]) == (2, 1)
    assert "bad line" in (tmp_path / "objects.csv.report.csv").read_text(encoding="utf-8-sig")
    again = json.loads(invoke("import", str(file), "--json", data=top, status=5))
    assert (again["created"], again["unchanged"]) == (0, 2)
    dry = invoke("import", str(file), "--dry-run", data=top, status=5)
    assert "dry run" in dry


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_label_leads_to_the_public_address(top, tmp_path, suffix):
    out = tmp_path / f"label.{suffix}"
    told = invoke("label", "88/PUMP-1", "-o", str(out), "--url", "https://id.example.cn", data=top)
    assert "https://id.example.cn/id/88/PUMP-1" in told
    assert out.stat().st_size > 200


def test_people_and_systems_are_managed_from_the_command_line(top):
    told = invoke(
        "person", "add", "zhang.san@88", "--role", "editor", data=top, answer="a long secret\na long secret\n"
    )
    assert "zhang.san@88" in told
    made = json.loads(invoke("system", "add", "erp@88", "--role", "reader", "--json", data=top))
    renewed = json.loads(invoke("system", "renew", "erp@88", "--json", data=top))
    assert made["secret"] != renewed["secret"]
    invoke("accounts", "roles", "erp@88", "--role", "editor", data=top)
    invoke("accounts", "disable", "erp@88", data=top)
    invoke("accounts", "enable", "erp@88", data=top)
    rows = {row["name"]: row for row in json.loads(invoke("accounts", "list", "--json", data=top))}
    assert rows["erp@88"] == {"name": "erp@88", "kind": "system", "enabled": True, "roles": ["editor"]}
    assert "roles" in invoke("accounts", "events", data=top)
    invoke("person", "password", "zhang.san@88", "--password", "another secret", data=top)


def test_a_small_enterprise_is_hosted_with_a_key_and_a_pair_of_its_own(top):
    told = json.loads(invoke("host", "88.1003", "--name", "示例涂料厂", "--json", data=top))
    assert told["admin"] == "300:0.NA/88.1003"
    rows = json.loads(invoke("prefixes", "--json", data=top))
    assert {row["prefix"] for row in rows["homed"]} == {"88", "88.1003"}
    with pytest.raises(NotFoundError, match=r"88\.1003"):
        invoke("list", data=top)
    invoke("rotate-key", "--prefix", "88.1003", data=top)
    invoke("suspend", "88.1003", "--reason", "unpaid", data=top)
    invoke("resume", "88.1003", data=top)


def test_an_invitation_is_one_line(top):
    line = invoke("invite", "88.109", data=top).strip()
    assert line.startswith("hzi1.")
    assert "\n" not in line
    assert json.loads(invoke("requests", "--prefix", "88", "--json", data=top)) == []


def test_pairs_without_an_equals_sign_are_refused(top):
    with pytest.raises(HazlinkError, match="NAME=VALUE"):
        invoke("register", "88/X", "--field", "URL", data=top)
    with pytest.raises(HazlinkError, match="nothing to set"):
        invoke("set", "88/X", data=top)


def test_the_benchmarks_are_listed_and_unknown_ones_refused():
    assert "resolve-grpc" in invoke("bench")
    invoke("bench", "nonsense", status=2)
