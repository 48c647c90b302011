import pytest
from sqlalchemy import delete, update

from federation.log.checkpoint import Checkpoint, sign_checkpoint
from federation.log.fsck import Reference, fsck
from federation.log.storage import log_checkpoint, log_leaf, log_tile
from federation.log.writer import open_log
from registry.storage.tables import counter
from tests.support.log import (
    LOG_SIGNER,
    ORIGIN,
    MemoryMarks,
    a_log,
    a_log_signer,
    entries,
    env_of,
    real_leaves,
)
from tests.unit.federation.log.test_writer import DAMAGES


def whats(report):
    return {finding.what for finding in report.findings}


def test_a_sound_log_is_found_sound(database):
    log = a_log(database, real_leaves(600))
    log.append(real_leaves(60, 600))
    log.publish()
    log.append(real_leaves(3, 660))
    steps = []
    refs = [Reference(f"row {n}", n, "in", env_of(n)) for n in range(660)]
    report = fsck(database, marks=log.marks, references=refs, progress=lambda *step: steps.append(step))
    assert report.is_sound, report.findings
    assert (report.leaves, report.tiles, report.checkpoints, report.references) == (663, 4, 2, 660)
    assert steps == [(663, 663)]


def test_an_empty_or_unopened_log_is_sound(database):
    log = a_log(database)
    assert fsck(database, marks=log.marks).is_sound
    log.append(real_leaves(3))
    assert fsck(database, marks=log.marks).is_sound


@pytest.mark.parametrize("damage", DAMAGES)
def test_fault_19_every_damage_is_found(sqlite_database, damage):
    log = a_log(sqlite_database, 600)
    with sqlite_database.write() as connection:
        DAMAGES[damage](connection)
    report = fsck(sqlite_database, marks=log.marks, strict_leaves=False)
    assert not report.is_sound
    for finding in report.findings:
        assert finding.message("en")
        assert finding.message("zh")


def test_a_leaf_that_is_none_is_found(sqlite_database):
    a_log(sqlite_database, [*real_leaves(2), b"{}"])
    (finding,) = fsck(sqlite_database).findings
    assert (finding.what, finding.where) == ("fsck_leaf", "leaf 2")


def test_a_row_that_names_another_leaf_is_found(sqlite_database):
    a_log(sqlite_database, real_leaves(5))
    refs = [
        Reference("good", 3, "in", env_of(3)),
        Reference("other envelope", 3, "in", env_of(4)),
        Reference("other kind", 3, "out", env_of(3)),
        Reference("beyond", 9, "in", env_of(9)),
    ]
    report = fsck(sqlite_database, references=refs)
    assert [finding.where for finding in report.findings] == ["other envelope", "other kind", "beyond"]


def test_stray_tiles_and_checkpoints_beyond_the_end_are_found(sqlite_database):
    log = a_log(sqlite_database, real_leaves(300))
    beyond = Checkpoint(ORIGIN, 400, bytes(32))
    with sqlite_database.write() as connection:
        connection.execute(log_tile.insert().values(log=1, level=3, number=0, width=1, hashes=bytes(32)))
        connection.execute(
            log_checkpoint.insert().values(
                log=1,
                size=400,
                root=bytes(32),
                note=sign_checkpoint(beyond, LOG_SIGNER).encode(),
                cosigned=0,
                at=1,
            )
        )
    assert whats(fsck(sqlite_database, marks=log.marks)) == {"fsck_stray", "fsck_beyond", "fsck_short"}


def test_a_checkpoint_that_lies_is_found(sqlite_database):
    log = a_log(sqlite_database, real_leaves(5))
    lie = sign_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), LOG_SIGNER).encode()
    for note, what in ((lie, "fsck_root"), (b"garbage", "fsck_note"), (lie.replace(b"5", b"6"), "fsck_note")):
        with sqlite_database.write() as connection:
            connection.execute(update(log_checkpoint).values(note=note))
        assert whats(fsck(sqlite_database, marks=log.marks)) == {what}


def test_a_mark_that_does_not_fit_is_found(sqlite_database):
    log = a_log(sqlite_database, real_leaves(5))
    top = log.reader.checkpoint().root
    for known, what in (
        ({}, {"fsck_no_mark"}),
        ({ORIGIN: (9, top)}, {"fsck_behind"}),
        ({ORIGIN: (5, bytes(32))}, {"fsck_mark"}),
        ({ORIGIN: (5, top)}, set()),
    ):
        assert whats(fsck(sqlite_database, marks=MemoryMarks(known))) == what


def test_tiles_of_more_leaves_than_there_are_are_found(sqlite_database):
    log = a_log(sqlite_database, real_leaves(300))
    with sqlite_database.write() as connection:
        connection.execute(delete(log_leaf).where(log_leaf.c.position >= 280))
        connection.execute(update(counter).where(counter.c.name == "log").values(next=280))
    # the mark and the checkpoint are of the same size: what is missing shows in the checkpoint
    assert whats(fsck(sqlite_database, marks=log.marks)) == {"fsck_beyond", "fsck_tile"}


def test_a_closed_log_is_checked_too(sqlite_database):
    log = a_log(sqlite_database, real_leaves(5))
    open_log(sqlite_database, origin="next/log2", signer=a_log_signer("next"), clock=log.clock)
    assert fsck(sqlite_database).is_sound
    with sqlite_database.write() as connection:
        connection.execute(update(log_leaf).where(log_leaf.c.position == 1).values(leaf=real_leaves(1, 9)[0]))
    assert {"fsck_tile", "fsck_root"} == whats(fsck(sqlite_database))


def test_there_is_an_end_to_what_is_told(sqlite_database):
    a_log(sqlite_database, entries(1100))
    report = fsck(sqlite_database)
    assert len(report.findings) == 1000
    assert report.truncated
