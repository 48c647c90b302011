"""Backup and restore of real nodes: while they serve and are killed, from the command line, and with keys rotated since."""

import itertools
import shutil
import signal
import subprocess
import sys
import threading
import time

import httpx
import orjson
import pytest

from federation.marks.file import FILE_NAME as MARKS_NAME
from node.backup.manifest import Manifest
from registry.errors import (
    ConflictError,
    ExistsError,
    UnavailableError,
)
from tests.support.databases import a_postgres_url
from tests.support.ports import free_ports
from tests.support.processes import (
    ROOT,
    Served,
    a_top_folder,
    an_init,
    command,
    environment,
    here,
    joined,
    put,
    told,
    until,
)


class Writing:
    """Clients that write over HTTP without pause; what was acknowledged is remembered with its number."""

    def __init__(self, served, login):
        self.served, self.login = served, login
        self.acknowledged = {}
        self.surprises = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(3)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert self.surprises == []

    def _run(self, number):
        with self.served.new_client() as client:
            for turn in itertools.count():
                if self._stop.is_set():
                    return
                name, text_ = f"88/W{number}-{turn // 4}", f"https://e.example/{turn}"
                try:
                    answer = put(client, name, text_, self.login)
                except httpx.TransportError:
                    return  # killed
                if answer.status_code not in {200, 201}:
                    self.surprises.append(answer.text)
                    return
                self.acknowledged[name] = text_


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def node(request, tmp_path):
    """A top node's data folder and its login, and the words that restore it elsewhere."""
    data = tmp_path / "node"
    if request.param == "sqlite":
        return data, a_top_folder(data), []
    server = request.getfixturevalue("postgres_server")
    login = a_top_folder(data, "--database-url", a_postgres_url(server))
    return data, login, ["--database-url", a_postgres_url(server)]


@pytest.mark.slow
def test_fault_12_a_backup_while_the_node_writes_and_is_killed_restores_to_a_node_that_serves_it(
    node, tmp_path
):
    data, login, elsewhere = node
    target, new = tmp_path / "backup", tmp_path / "new"
    with Served(data) as served, Writing(served, login) as writing:
        while len(writing.acknowledged) < 10:
            time.sleep(0.05)
        before = dict(writing.acknowledged)
        made = orjson.loads(command(data, "backup", str(target), "--json"))
        assert len(writing.acknowledged) > len(before), "writers went on meanwhile"
        served.kill()
    assert made["tables"]["record"] >= len(before)
    dry = told(new, "restore", str(target), "--dry-run", *elsewhere)
    assert dry["dry_run"]
    assert not new.exists()
    restored = told(new, "restore", str(target), *elsewhere)
    assert restored["tables"] == made["tables"]
    for name in ("keys", "secrets"):
        assert name in restored["missing"]
        shutil.copytree(data / name, new / name)
    # no backup has the mark file, and the old disk is gone: nothing is signed before somebody says so
    here(new, "marks", "--lost")
    with Served(new) as again:
        for name, text_ in before.items():
            answer = again.get(name)
            assert answer.status_code == 200
            said = int(answer.text.partition("https://e.example/")[2].partition('"')[0])
            assert said >= int(text_.rpartition("/")[2])
        assert put(again.client, "88/AFTER", "https://e.example/after", login).status_code == 201
        with pytest.raises(ConflictError):
            here(new, "restore", str(target))


@pytest.mark.slow
def test_fault_12_a_killed_backup_leaves_nothing_that_passes_for_one_and_the_next_one_works(node, tmp_path):
    data, login, _ = node
    with Served(data) as served:
        for number in range(30):
            assert put(served.client, f"88/B{number}", "https://e.example/1", login).status_code == 201
        for round_ in range(5):
            with subprocess.Popen(
                [sys.executable, "-m", "node", "backup", str(tmp_path / "killed"), "--data", str(data)],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as running:
                begun = tmp_path / ".killed.part"
                while not begun.exists() and running.poll() is None:
                    time.sleep(0.001)
                time.sleep(0.004 * round_)
                running.send_signal(signal.SIGKILL)
            if (tmp_path / "killed").exists():
                Manifest.of(tmp_path / "killed").verify(tmp_path / "killed")
                shutil.rmtree(tmp_path / "killed")
        told(data, "backup", str(tmp_path / "whole"))
        told(data, "backup", str(tmp_path / "killed"))
        assert served.get("88/B1").status_code == 200
    assert [path.name for path in tmp_path.glob(".killed*")] == []


def test_the_command_line_says_what_it_did_and_what_is_missing(tmp_path):
    data = tmp_path / "node"
    a_top_folder(data)
    said = here(data, "backup", str(tmp_path / "b"), "--quiet").decode()
    assert "备份已写入" in said
    assert "keys, secrets and marks are not in it" in said
    said = here(tmp_path / "new", "restore", str(tmp_path / "b"), "--dry-run").decode()
    assert "nothing was written" in said
    said = here(tmp_path / "new", "restore", str(tmp_path / "b")).decode()
    assert "keys, secrets, marks/exchange.json" in said


def test_a_lost_mark_file_is_made_anew_only_when_somebody_says_it_is_lost(tmp_path):
    data = tmp_path / "node"
    a_top_folder(data)
    (data / MARKS_NAME).unlink(missing_ok=True)
    with pytest.raises(UnavailableError):
        here(data, "marks")
    assert "不签名" in here(data, "marks", "--lost").decode()
    assert told(data, "marks")["sure"] is False
    assert "nothing is signed" in here(data, "marks").decode()
    with pytest.raises(ExistsError):
        here(data, "marks", "--lost")


def moved_away(data):
    """Take the database off a data folder, as a broken one is before a restore."""
    for file in data.glob("hazlink.sqlite3*"):
        file.unlink()


@pytest.mark.slow
def test_fault_14_a_restore_from_before_a_rotation_signs_with_the_newer_key_or_says_what_to_bring(tmp_path):
    above, below = tmp_path / "above", tmp_path / "below"
    prefix = "88.107"
    first = free_ports(4)
    here(above, *an_init(first, "--root", "--prefix", "88"))
    with Served(above) as top:
        here(below, *an_init(first + 2))
        joined(above, below, prefix)
        with Served(below):
            until(lambda: told(below, "marks")["lanes"], "it has sent something")
            here(below, "backup", str(tmp_path / "b"), "--quiet")
        (before,) = told(below, "prefixes")["homed"]
        here(below, "rotate-key", "--prefix", prefix)
        (after,) = told(below, "prefixes")["homed"]
        assert before["key"] != after["key"]

        moved_away(below)
        (found,) = told(below, "restore", str(tmp_path / "b"))["keys"]
        assert found == {"prefix": prefix, "key": after["key"], "state": "good", "said": None}
        assert told(below, "prefixes")["homed"][0]["key"] == after["key"]

        file, safe = below / "keys" / f"{after['key']}.pem", tmp_path / "safe.pem"
        file.rename(safe)
        moved_away(below)
        answer = orjson.loads(command(below, "restore", str(tmp_path / "b"), "--json", accept=(4,)))
        (found,) = answer["keys"]
        assert (found["key"], found["state"]) == (before["key"], "foreign")
        for language in ("zh", "en"):
            assert after["key"] in found["said"][language]
            assert "rekey" in found["said"][language]
        assert told(below, "prefixes")["homed"][0]["state"] == "suspended"
        with Served(below) as node:
            until(
                lambda: after["key"] in node.client.get("/health/ready").text,
                "health says which key is wanted",
            )
            safe.rename(file)
            until(lambda: told(below, "prefixes")["homed"][0]["state"] == "active", "it goes on by itself")
            until(lambda: node.client.get("/health/ready").status_code == 200, "it is whole again")
        moved_away(below)
        top.kill()
        (found,) = told(below, "restore", str(tmp_path / "b"))["keys"]
        assert found["state"] == "silent"
        said = here(below, "marks").decode()
        assert "election" in said


def test_a_restore_without_the_key_folder_compares_no_keys_and_says_so(tmp_path):
    data, new = tmp_path / "node", tmp_path / "new"
    a_top_folder(data)
    here(data, "backup", str(tmp_path / "b"), "--quiet")
    assert "keys were not compared" in here(new, "restore", str(tmp_path / "b")).decode()
    assert not (new / "secrets").exists()
    other = tmp_path / "other"
    shutil.copytree(data / "secrets", other / "secrets")
    (other / "keys").mkdir(mode=0o700)
    answer = orjson.loads(command(other, "restore", str(tmp_path / "b"), "--json", accept=(4,)))
    assert [one["state"] for one in answer["keys"]] == ["missing"]
