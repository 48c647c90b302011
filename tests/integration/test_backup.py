"""Backup and restore on both databases: while others write, and with damage of any kind."""

import itertools
import os
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from federation.exchange.storage.healing import HealingUnit
from federation.log.storage.unit import LogUnit
from federation.marks.file import FILE_NAME as MARKS_NAME
from federation.marks.file import MarkFile
from node.backup import storage
from node.backup.manifest import MANIFEST_NAME, FileEntry, LogState, Manifest
from node.backup.service import backup, restore
from node.settings import load
from registry.clock import SystemClock
from registry.errors import (
    ConflictError,
    ExistsError,
    InvalidValueError,
    NotFoundError,
    NotSupportedError,
    UnavailableError,
    UntrustedError,
)
from registry.storage.engine import Database
from registry.storage.tables import audit, change, counter, signing_key
from tests.support.databases import a_postgres_url

NASTY = "back\\slash tab\t line\nend\r nul-ish \\N 中文 \U0001f525 '\"; DROP TABLE change"


@pytest.fixture
def place(database, request, tmp_path):
    """A node over `database` with a hazlink.toml, and an empty place to restore into."""
    data = tmp_path / "node"
    data.mkdir()
    url = database.url.render_as_string(hide_password=False)
    (data / "hazlink.toml").write_text(f'[storage]\ndatabase_url = "{url}"\n', encoding="utf-8")
    if database.is_sqlite:
        empty = f"sqlite:///{tmp_path / 'elsewhere' / 'hazlink.sqlite3'}"
    else:
        empty = a_postgres_url(request.getfixturevalue("postgres_server"))
    return Place(data, database, tmp_path / "backup", tmp_path / "restored", empty)


class Place:
    def __init__(self, data, database, target, restored, empty):
        self.data, self.database, self.target = data, database, target
        self.restored, self.empty = restored, empty

    def backup(self, **how):
        return backup(load(self.data), self.target, clock=SystemClock(), **how)

    def restore(self, **how):
        return restore(self.target, self.restored, database_url=self.empty, **how)

    def reopened(self):
        return closing(Database(self.empty))


def write(database, numbers):
    """One business transaction: take the next position, and leave a trace in three tables."""
    number = next(numbers)
    with database.write() as connection:
        taken = connection.execute(
            update(counter)
            .where(counter.c.name == "change")
            .values(next=counter.c.next + 1)
            .returning(counter.c.next)
        ).scalar()
        if taken is None:
            taken = 1
            connection.execute(insert(counter).values(name="change", next=1))
        where = {"position": taken, "prefix": "88", "suffix": f"N{number}", "at": number}
        connection.execute(insert(change).values(version=1, status=0, **where))
        before = bytes(range(256)) if taken % 2 else None
        connection.execute(insert(audit).values(who=NASTY, action="put", before=before, **where))


def rows_of(database):
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in (counter, change, audit, signing_key)
        }


def test_what_was_backed_up_comes_back_row_for_row(place):
    numbers = itertools.count(1)
    for _ in range(40):
        write(place.database, numbers)
    with place.database.write() as connection:
        connection.execute(insert(signing_key).values(kid="k", issuer="88", alg="Ed25519"))
    before = rows_of(place.database)
    told_ = []
    manifest = place.backup(tell=lambda *how: told_.append(how))
    assert told_
    assert manifest.tables["change"] == manifest.tables["audit"] == 40
    assert Manifest.of(place.target) == manifest
    assert place.target.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in place.target.rglob("*"))
    done = place.restore()
    assert not done.kept_settings
    assert done.missing == ("keys", "secrets", MARKS_NAME)
    with place.reopened() as restored:
        assert rows_of(restored) == before
        # what generates numbers goes on above those that are there
        with restored.write() as connection:
            connection.execute(insert(signing_key).values(kid="k2", issuer="88", alg="Ed25519"))
        write(restored, numbers)
    assert load(place.restored).database_url == place.empty


def test_while_others_write_a_backup_is_one_moment_and_keeps_nobody_waiting(place):
    numbers, stop, failed = itertools.count(1), threading.Event(), []
    for _ in range(200):
        write(place.database, numbers)

    def writer():
        try:
            while not stop.is_set():
                write(place.database, numbers)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=writer) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        manifests = []
        for round_ in range(3):
            place.target = place.target.with_name(f"backup{round_}")
            manifests.append(place.backup())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert manifests[0].tables["change"] < manifests[-1].tables["change"]
    place.restore()
    with place.reopened() as restored:
        rows = rows_of(restored)
    positions = [row[0] for row in rows["change"]]
    assert positions == list(range(1, len(positions) + 1))
    assert rows["counter"] == [("change", len(positions))]
    assert [row[0] for row in rows["audit"]] == positions


def test_in_the_middle_of_a_backup_whoever_writes_commits_at_once_and_is_not_in_it(place, monkeypatch):
    """At every step of the copy another connection writes: a lock held by the backup would let it wait for ever."""
    monkeypatch.setattr(storage, "_PAGES", 8)
    numbers = itertools.count(1)
    for _ in range(60):
        write(place.database, numbers)
    waited, done = [], []

    def meanwhile(what, *_how):
        if what == MANIFEST_NAME or len(done) >= 40:
            return
        writer = threading.Thread(target=write, args=(place.database, numbers), daemon=True)
        writer.start()
        writer.join(30)
        waited.append(writer.is_alive())
        done.append(what)

    manifest = place.backup(tell=meanwhile)
    assert len(done) > 5
    assert not any(waited)
    assert len(rows_of(place.database)["change"]) == 60 + len(done)
    assert manifest.tables["change"] == manifest.tables["audit"] == 60
    place.restore()
    with place.reopened() as restored:
        rows = rows_of(restored)
    assert [row[0] for row in rows["change"]] == [row[0] for row in rows["audit"]] == list(range(1, 61))
    assert rows["counter"] == [("change", 60)]


def test_the_log_in_a_backup_is_named_with_its_size_and_root(place):
    assert place.backup().log is None
    place.target = place.target.with_name("second")
    with place.database.write() as connection:
        unit = LogUnit(connection)
        unit.open("88.107/log1", "kid", "vkey", 1)
        unit.append([f"entry-{number}".encode() for number in range(5)])
    manifest = place.backup()
    # the worked example of the log: its root over five leaves
    root = bytes.fromhex("1aa68d3074905a581f84cbbd0f753794904fd80451bc4c13e69d9a53bc59502c")
    assert manifest.log == LogState("88.107/log1", 5, root)
    place.restore()
    with place.reopened() as restored, restored.read() as connection:
        assert storage.log_state(connection) == manifest.log
    with place.database.write() as connection:
        LogUnit(connection).put(6, [b"with a gap before it"])
        connection.execute(update(counter).where(counter.c.name == "log").values(next=7))
    place.target = place.target.with_name("third")
    with pytest.raises(UntrustedError):
        place.backup()
    assert not place.target.exists()


def test_fault_14_a_restored_database_has_not_been_healed_whatever_the_backup_says(place):
    with place.database.write() as connection:
        connection.execute(insert(counter), [{"name": "fence", "next": 5}, {"name": "healed", "next": 5}])
        assert HealingUnit(connection).is_healed()
    place.backup()
    place.restore()
    with place.reopened() as restored, restored.read() as connection:
        assert not HealingUnit(connection).is_healed()


def test_a_dry_run_checks_everything_and_writes_nothing(place):
    write(place.database, itertools.count(1))
    place.backup()
    done = place.restore(dry=True)
    assert done.dry
    assert not place.restored.exists()
    with place.reopened() as untouched:
        if not untouched.is_sqlite:
            assert storage.is_empty(untouched)
        else:
            assert not Path(untouched.url.database).exists()
    damage(place.target)
    with pytest.raises(UntrustedError):
        place.restore(dry=True)


def damage(folder, name=None):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_NAME)
    chosen = folder / name if name else max(files, key=lambda path: path.stat().st_size)
    raw = bytearray(chosen.read_bytes())
    raw[len(raw) // 2] ^= 1
    chosen.write_bytes(bytes(raw))


def test_any_damage_to_a_backup_is_found_before_anything_is_restored(place):
    write(place.database, itertools.count(1))
    manifest = place.backup()
    whole = place.target
    for number, name in enumerate((*manifest.files, MANIFEST_NAME)):
        place.target = whole.with_name(f"damaged{number}")
        for harm in ("flip", "truncate", "remove"):
            shutil.rmtree(place.target, ignore_errors=True)
            shutil.copytree(whole, place.target)
            file = place.target / name
            if file.stat().st_size == 0 and harm != "remove":
                continue
            if harm == "flip":
                damage(place.target, name)
            elif harm == "truncate":
                os.truncate(file, file.stat().st_size - 1)
            else:
                file.unlink()
            with pytest.raises((UntrustedError, NotFoundError)):
                place.restore()
            assert not place.restored.exists()
    place.target = whole
    (whole / "more").write_text("not named")
    with pytest.raises(UntrustedError) as refused:
        place.restore()
    assert refused.value.code == "node.backup.extra"


def test_a_place_that_is_taken_is_never_overwritten(place):
    write(place.database, itertools.count(1))
    place.backup()
    with pytest.raises(ExistsError):
        place.backup()
    place.restore()
    with pytest.raises(ConflictError) as refused:
        place.restore()
    assert refused.value.code == "node.backup.not_empty"
    with pytest.raises(ConflictError):
        restore(place.target, place.data)  # the very database it came from
    assert len(rows_of(place.database)["change"]) == 1


def test_a_folder_on_which_a_node_runs_is_left_alone(place):
    from node.election.lock import FileLock

    place.backup()
    place.restored.mkdir()
    lock = FileLock(place.restored / "serve.lock")
    assert lock.acquire()
    with pytest.raises(ConflictError) as refused:
        place.restore()
    assert refused.value.code == "node.backup.running"
    lock.release()
    place.restore()


def test_settings_marks_and_keys_that_are_there_stay_as_they_are(place):
    place.backup()
    kept = {
        "hazlink.toml": f'[storage]\ndatabase_url = "{place.empty}"\n',
        "keys/k.pem": "k",
        "secrets/s": "s",
    }
    for name, content in kept.items():
        path = place.restored / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    MarkFile(place.restored / MARKS_NAME).create(bytes(16))
    marks = (place.restored / MARKS_NAME).read_bytes()
    done = restore(place.target, place.restored)
    assert done.kept_settings
    assert done.missing == ()
    assert (place.restored / MARKS_NAME).read_bytes() == marks
    for name, content in kept.items():
        assert (place.restored / name).read_text(encoding="utf-8") == content


def test_no_key_secret_certificate_or_mark_is_in_a_backup(place):
    for name in ("keys", "secrets", "tls", "marks"):
        (place.data / name).mkdir()
        (place.data / name / "file").write_text("never in a backup")
    manifest = place.backup()
    inside = {path.name for path in place.target.rglob("*")}
    assert not inside & {"keys", "secrets", "tls", "marks", "file"}
    assert "hazlink.toml" in manifest.files


def test_a_backup_of_the_other_kind_of_database_is_refused_with_what_would_be_right(place, tmp_path):
    manifest = place.backup()
    other = "postgresql+psycopg2://nobody@/none?host=/nonexistent"
    if not place.database.is_sqlite:
        other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    with pytest.raises(InvalidValueError) as refused:
        restore(place.target, place.restored, database_url=other)
    assert manifest.database in refused.value.message("zh")


def resealed(folder, **other):
    """Change what a manifest says, under a digest that fits."""
    from dataclasses import replace

    made = replace(Manifest.of(folder), **other)
    (folder / MANIFEST_NAME).write_bytes(made.encode())


def test_a_backup_of_a_later_release_is_refused_and_leaves_the_place_empty(place):
    write(place.database, itertools.count(1))
    if place.database.is_sqlite:
        with place.database.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    place.backup()
    resealed(place.target, revision="9999")
    with pytest.raises((NotSupportedError, UnavailableError)):
        place.restore()
    with place.reopened() as untouched:
        if untouched.is_sqlite:
            assert not Path(untouched.url.database).exists()
        else:
            assert storage.is_empty(untouched)


def test_rows_that_do_not_fit_leave_postgresql_empty(place):
    if place.database.is_sqlite:
        pytest.skip("rows in files are PostgreSQL's")
    write(place.database, itertools.count(1))
    whole = place.backup()
    file = place.target / "tables" / "change.copy"
    for content in (b"not\ta\trow\n", file.read_bytes() * 2, b""):
        file.write_bytes(content)
        from node.backup.manifest import digest_of

        resealed(place.target, files={**whole.files, "tables/change.copy": digest_of(file)})
        with pytest.raises(UntrustedError):
            place.restore()
        with place.reopened() as untouched:
            assert storage.is_empty(untouched)


def test_a_folder_that_cannot_be_written_is_said(place):
    place.target.parent.joinpath("file").write_text("no folder")
    place.target = place.target.parent / "file" / "backup"
    with pytest.raises(UnavailableError) as refused:
        place.backup()
    assert refused.value.code == "node.backup.unwritable"


def test_two_backups_to_one_folder_at_once_do_not_mix(place):
    inside, go = threading.Event(), threading.Event()

    def slowly(*_how):
        inside.set()
        go.wait(30)

    first = threading.Thread(target=lambda: place.backup(tell=slowly))
    first.start()
    assert inside.wait(30)
    try:
        with pytest.raises(ConflictError) as refused:
            place.backup()
        assert refused.value.code == "node.backup.under_way"
    finally:
        go.set()
        first.join()
    Manifest.of(place.target).verify(place.target)


@pytest.mark.parametrize(
    "other",
    [
        {"files": {"../out": FileEntry(1, "00")}},
        {"files": {"/etc/passwd": FileEntry(1, "00")}},
        {"tables": {"change": -1}},
        {"database": "oracle"},
        {"log": LogState("o", 1, b"short")},
        {"made_at": -1},
    ],
)
def test_a_manifest_that_says_what_it_must_not_is_refused_even_under_a_fitting_digest(other):
    from dataclasses import replace

    good = Manifest(1, "0", "sqlite", "1", {}, {}, None)
    assert Manifest.decode(good.encode()) == good
    with pytest.raises(UntrustedError):
        Manifest.decode(replace(good, **other).encode())
