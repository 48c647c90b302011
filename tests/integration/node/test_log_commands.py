"""`hazlink log …` on the data folders of two nodes that exchanged; a row that was deleted or changed is found."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app
from registry.errors import HazlinkError, InvalidValueError, NotFoundError
from registry.storage.engine import Database
from registry.trust.encoding import b64u
from tests.support.exchange_books import database_url
from tests.support.exchange_processes import an_alarm, an_entry, queue, two_nodes
from tests.support.processes import here, told, until

pytestmark = pytest.mark.slow

_SOME = 280
_FILE = "hazlink.sqlite3"


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory):
    """Data folders of the top and of the node below, which sent some hundred envelopes; both have stopped."""
    folder = tmp_path_factory.mktemp("exchanged")
    with two_nodes(folder) as nodes:
        database = Database(database_url(nodes.below.data))
        queue(database, [an_entry(number) for number in range(_SOME)])
        queue(database, [an_alarm(number) for number in range(3)])
        database.close()
        until(lambda: nodes.left() == 0, "everything has its receipt")
        for served in nodes.both:
            until(lambda served=served: covered(served.data), "a checkpoint that the other cosigned")
        nodes.settle()
        yield nodes.above.data, nodes.below.data


def proved(data: Path, file: Path) -> str | None:
    """Write the evidence of the first alarm; return the anchor the command names, None while it does not hold."""
    words = ["log", "prove", an_env(data), "--out", str(file), "--data", str(data)]
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, HazlinkError):
        raise result.exception
    found = [word.strip(".,;:。，；") for word in result.output.split()]
    return next(word for word in found if len(word) == 43) if result.exit_code == 0 else None


def verified(file: Path, anchor: str) -> bool:
    result = CliRunner().invoke(app, ["log", "verify", str(file), "--anchor", anchor, "--json"])
    said = json.loads(result.stdout)
    assert said["holds"] is (result.exit_code == 0)
    return bool(said["holds"])


def covered(data: Path) -> bool:
    """Whether a checkpoint that the other node cosigned covers the first alarm, and its key is certified."""
    file = data / "covered.json"
    try:
        anchor = proved(data, file)
    except HazlinkError:
        return False
    return anchor is not None and verified(file, anchor)


def sql(data: Path, statement: str, *given) -> list:
    with sqlite3.connect(data / _FILE) as connection:
        return connection.execute(statement, given).fetchall()


def an_env(data: Path) -> str:
    """The first alarm, by its hash."""
    table = "exchange_in" if data.name == "88" else "exchange_out"
    ((env,),) = sql(data, f"SELECT env FROM {table} WHERE stream = 'alarm' AND seq = 1")
    return b64u(env)


@pytest.fixture(params=["88", "88.107"])
def folder(request, exchanged, tmp_path):
    """A copy of one of the folders, to be damaged."""
    whole = next(data for data in exchanged if data.name == request.param)
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def checked(data: Path) -> tuple[int, list[dict[str, str]]]:
    result = CliRunner().invoke(app, ["log", "fsck", "--json", "--data", str(data)])
    said = json.loads(result.stdout)
    assert said["good"] is (result.exit_code == 0)
    assert said["leaves"] > _SOME
    return result.exit_code, said["findings"]


def test_status_and_fsck_of_a_log_that_is_whole(exchanged):
    for data in exchanged:
        state = told(data, "log", "status")
        assert state["origin"] == f"{data.name}/log1"
        assert state["size"] >= state["published"] > 0
        assert "size" in here(data, "log", "status").decode()
        assert checked(data) == (0, [])
        assert "log" in here(data, "log", "fsck").decode().lower()


ROWS = {
    "88": ("exchange_in", "stream = 'register' AND seq = 17"),
    "88.107": ("exchange_out", "stream = 'register' AND seq = 17"),
}


@pytest.mark.parametrize(
    "place", ["seq = 17", "seq = 1", "seq = (SELECT max(seq) FROM {table} WHERE {lane})"]
)
def test_fault_19_a_row_that_was_deleted_is_found(folder, place):
    table = ROWS[folder.name][0]
    if (table, place) == ("exchange_out", "seq = 1"):
        pytest.skip("the oldest envelopes sent are pruned in time: that they are gone says nothing")
    lane = "stream = 'register'"
    where = f"{lane} AND {place.format(table=table, lane=lane)}"
    assert sql(folder, f"DELETE FROM {table} WHERE {where} RETURNING seq")
    status, findings = checked(folder)
    assert status == 1
    (found,) = findings
    assert found["where"].startswith(f"{table} 88.107 88 register 1/")
    assert "缺少" in found["reason_zh"]
    assert "missing" in found["reason_en"]


@pytest.mark.parametrize("column", ["env", "leaf"])
def test_fault_19_a_row_that_was_changed_is_found(folder, column):
    table, where = ROWS[folder.name]
    if column == "env":
        change = "env = x'" + "07" * 32 + "'"
    else:
        change = "leaf_index = leaf_index + 1" if table == "exchange_in" else "ack_index = ack_index + 1"
    sql(folder, f"UPDATE {table} SET {change} WHERE {where}")
    status, findings = checked(folder)
    assert status == 1
    assert {found["where"].rpartition(" ")[2] for found in findings} == {"1/17"}
    result = CliRunner().invoke(app, ["log", "fsck", "--data", str(folder)])
    assert result.exit_code == 1
    assert "✗" in result.output


def test_fault_19_a_leaf_that_was_changed_is_found(folder):
    sql(
        folder,
        "UPDATE log_leaf SET leaf = CAST(replace(CAST(leaf AS TEXT), 'register', 'catalogu') AS BLOB)"
        " WHERE position BETWEEN 40 AND 60",
    )
    status, findings = checked(folder)
    assert status == 1
    assert any(found["where"].startswith("tile/") for found in findings)


def test_evidence_is_proved_verified_and_refused_when_a_byte_is_changed(exchanged, tmp_path):
    for data in exchanged:
        file = tmp_path / f"{data.name}.json"
        anchor = proved(data, file)
        assert anchor is not None
        assert verified(file, anchor)
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
        assert not verified(file, anchor)
    with pytest.raises(NotFoundError):
        here(exchanged[0], "log", "prove", b64u(bytes(32)))


def test_the_verifier_is_handed_out_as_one_file(tmp_path):
    result = CliRunner().invoke(app, ["log", "verifier", str(tmp_path / "check.py")])
    assert result.exit_code == 0
    assert b"def main" in (tmp_path / "check.py").read_bytes()


def test_pruning_hides_old_entries_and_keeps_the_log_whole(folder):
    assert told(folder, "log", "prune", "300")["minimum"] == 256
    assert told(folder, "log", "status")["minimum"] == 256
    assert "256" in here(folder, "log", "prune", "256").decode()
    for wrong in ("0", "1000000"):
        with pytest.raises(InvalidValueError):
            here(folder, "log", "prune", wrong)
    assert checked(folder) == (0, [])
