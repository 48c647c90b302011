"""The writer on real databases: what it signs, what it refuses, and that it never contradicts itself."""

import threading
from base64 import b64decode
from contextlib import suppress

import pytest
from sqlalchemy import delete, update

from federation.log.checkpoint import Checkpoint, open_checkpoint
from federation.log.merkle import leaf_hash, root, verify_inclusion
from federation.log.note import cosign
from federation.log.storage import LogUnit, log_checkpoint, log_leaf, log_tile
from federation.log.tiles import tile_widths
from federation.log.writer import LogWriter, open_log
from registry.errors import ConflictError, MalformedError, NotFoundError, UnavailableError, UntrustedError
from registry.storage.tables import counter
from tests.support.log import (
    LOG_KEY,
    LOG_SIGNER,
    ORIGIN,
    WITNESS,
    WITNESS_KEY,
    WITNESS_SIGNER,
    MemoryMarks,
    SteppingClock,
    a_log,
    a_log_signer,
    entries,
    entry_hashes,
    env_of,
    plain_root,
    real_leaves,
)


def test_the_worked_example_is_published(database):
    log = a_log(database, 5)
    stored = log.reader.checkpoint()
    assert stored.root == b64decode("GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=")
    assert stored.note.decode() == (
        "node.example/log1\n5\nGqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n\n— node.example/log1 GTOnZ6LV45n4HrI8"
        "DkdXDlVt4py0WOmSedrc4R/If9tdaA4VzUXRWAkqGFFwDGeCfJmV+OFWfAJq2ksGn59CTUM1TgI=\n"
    )
    assert log.marks.known == {ORIGIN: (5, stored.root)}
    assert open_checkpoint(stored.note, LOG_KEY).checkpoint == Checkpoint(ORIGIN, 5, stored.root)


def test_nothing_is_published_twice_or_of_nothing(database):
    log = a_log(database)
    assert log.publish() is None
    assert log.marks.known == {}
    log.append(entries(3))
    assert log.publish().size == 3
    assert log.publish() is None
    log.append(entries(2, 3))
    assert log.publish().root == plain_root(entry_hashes(5))


@pytest.mark.parametrize("steps", [(1, 1, 1), (255, 1, 1), (256, 256), (300, 400, 60), (700,)])
def test_a_log_grows_in_any_steps(sqlite_database, steps):
    log = a_log(sqlite_database)
    size = 0
    for count in steps:
        assert log.append(entries(count, size)) == size
        size += count
        made = log.publish()
        assert (made.size, made.root) == (size, root(entry_hashes(size)))
    with sqlite_database.read() as connection:
        kept = [
            (tile.level, tile.number, len(tile.hashes) // 32) for tile in LogUnit(connection).every_tile()
        ]
    assert kept == sorted(tile_widths(0, size))


def test_many_leaves_at_once_become_tiles_in_pieces(sqlite_database):
    log = a_log(sqlite_database)
    log.append(entries(20_000))
    made = log.publish()
    hashes = entry_hashes(20_000)
    assert made.root == root(hashes)
    proven = log.reader.proofs([0, 255, 256, 12_345, 19_999])
    for position, proof in proven.proofs.items():
        assert verify_inclusion(hashes[position], position, 20_000, proof, made.root)


def test_positions_have_no_gaps_with_many_writers(database):
    log = a_log(database)
    firsts = []

    def write(number):
        for turn in range(5):
            firsts.append(log.append([f"{number}-{turn}-{n}".encode() for n in range(3)]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(firsts) == list(range(0, 60, 3))
    assert log.publish().size == 60


def test_what_was_rolled_back_leaves_no_gap(database):
    log = a_log(database, 2)
    with suppress(RuntimeError), database.write() as connection:
        LogUnit(connection).append(entries(5, 2))
        raise RuntimeError
    assert log.append(entries(1, 2)) == 2
    assert log.publish().root == root(entry_hashes(3))


def test_a_leaf_is_found_by_its_envelope(database):
    log = a_log(database, real_leaves(10))
    assert [position for position, _ in log.reader.find(env_of(7))] == [7]
    assert log.reader.find(env_of(77)) == []
    assert log.reader.find("no digest") == []
    with database.read() as connection:
        found = LogUnit(connection).find([env_of(n) for n in range(20)])
    assert {env: [position for position, _ in rows] for env, rows in found.items()} == {
        env_of(n): [n] for n in range(10)
    }


def test_a_crash_after_the_mark_is_no_contradiction(database):
    log = a_log(database, 3)
    log.append(entries(2, 3))
    log.marks.known[ORIGIN] = (5, root(entry_hashes(5)))
    assert log.restarted().publish().size == 5
    log.append(entries(1, 5))
    assert log.restarted().publish().size == 6


def test_fault_13_without_the_mark_nothing_is_signed_and_later_it_goes_on(database):
    log = a_log(database, 3)
    log.append(entries(2, 3))
    log.marks.failing = UnavailableError("federation.marks.unwritable", field="x", reason="disk full")
    with pytest.raises(UnavailableError):
        log.publish()
    assert log.reader.checkpoint().size == 3
    assert log.writer.stopped is None
    log.marks.failing = None
    assert log.publish().size == 5


def test_fault_14_a_database_behind_its_mark_signs_nothing(database):
    log = a_log(database, 3)
    log.marks.known[ORIGIN] = (9, root(entry_hashes(9)))
    with pytest.raises(UntrustedError) as refused:
        log.publish()
    assert refused.value.code == "federation.log.behind"
    assert log.writer.stopped is refused.value
    log.append(entries(6, 3))
    with pytest.raises(UntrustedError):
        log.publish()
    log.writer.resume()
    assert log.publish().size == 9


def test_a_mark_of_the_same_size_with_another_root_signs_nothing(database):
    log = a_log(database, 3)
    log.append(entries(2, 3))
    log.marks.known[ORIGIN] = (4, bytes(32))
    with pytest.raises(UntrustedError) as refused:
        log.restarted().publish()
    assert refused.value.code == "federation.log.inconsistent"
    assert log.reader.checkpoint().size == 3


def test_an_older_mark_file_is_no_reason_to_stop(database):
    log = a_log(database, 3)
    older = dict(log.marks.known)
    log.append(entries(2, 3))
    log.publish()
    log.marks.known = older
    log.append(entries(1, 5))
    assert log.restarted().publish().size == 6


DAMAGES = {
    "leaf flipped": lambda c: c.execute(
        update(log_leaf).where(log_leaf.c.position == 100).values(leaf=b"entry-1O0")
    ),
    "leaf deleted": lambda c: c.execute(delete(log_leaf).where(log_leaf.c.position == 100)),
    "last leaf deleted": lambda c: c.execute(delete(log_leaf).where(log_leaf.c.position == 599)),
    "leaves swapped": lambda c: [
        c.execute(update(log_leaf).where(log_leaf.c.position == at).values(leaf=leaf))
        for at, leaf in ((100, b"entry-101"), (101, b"entry-100"))
    ],
    "tile flipped": lambda c: c.execute(
        update(log_tile)
        .where(log_tile.c.level == 0, log_tile.c.number == 1)
        .values(hashes=b"".join([leaf_hash(b"x"), *entry_hashes(255, 257)]))
    ),
    "tile cut": lambda c: c.execute(
        update(log_tile)
        .where(log_tile.c.level == 0, log_tile.c.number == 1)
        .values(hashes=b"".join(entry_hashes(255, 256)), width=255)
    ),
    "tile deleted": lambda c: c.execute(
        delete(log_tile).where(log_tile.c.level == 0, log_tile.c.number == 0)
    ),
    "upper tile flipped": lambda c: c.execute(
        update(log_tile).where(log_tile.c.level == 1).values(hashes=bytes(64))
    ),
    "upper tile deleted": lambda c: c.execute(delete(log_tile).where(log_tile.c.level == 1)),
    "edge tile cut": lambda c: c.execute(
        update(log_tile)
        .where(log_tile.c.level == 0, log_tile.c.number == 2)
        .values(hashes=b"".join(entry_hashes(80, 512)), width=80)
    ),
    "edge tile flipped": lambda c: c.execute(
        update(log_tile)
        .where(log_tile.c.level == 0, log_tile.c.number == 2)
        .values(hashes=b"".join([*entry_hashes(87, 512), bytes(32)]))
    ),
    "counter lowered": lambda c: c.execute(
        update(counter).where(counter.c.name == "log").values(next=590)
    ),
    "counter raised": lambda c: c.execute(update(counter).where(counter.c.name == "log").values(next=700)),
    "checkpoint flipped": lambda c: c.execute(
        update(log_checkpoint).where(log_checkpoint.c.size == 600).values(root=bytes(32))
    ),
}  # fmt: skip


@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("damage", DAMAGES)
def test_fault_19_whatever_was_changed_keeps_the_next_checkpoint_from_being_signed(
    sqlite_database, damage, more
):
    log = a_log(sqlite_database, 600)
    with sqlite_database.write() as connection:
        DAMAGES[damage](connection)
    if more and not damage.startswith("counter"):
        log.append(entries(more, 600))
    again = log.restarted()
    if damage == "edge tile cut":
        # nothing is lost: the hash is made from its leaf again, and gives the same root
        again.publish()
        assert again.reader.checkpoint().root == root(entry_hashes(600 + more))
        return
    with pytest.raises(UntrustedError):
        again.publish()
    assert again.reader.checkpoint().size == 600
    assert again.writer.stopped is not None
    with pytest.raises(UntrustedError):
        again.publish()


def test_old_leaves_are_read_again_round_and_round(sqlite_database):
    log = a_log(sqlite_database, 1500, checked_tiles=1)
    with sqlite_database.write() as connection:
        connection.execute(update(log_leaf).where(log_leaf.c.position == 700).values(leaf=b"x"))
    log.append(entries(1, 1500))
    assert log.publish().size == 1501
    log.append(entries(1, 1501))
    with pytest.raises(UntrustedError):
        log.publish()


def test_fault_16_only_the_holder_of_the_fence_signs(database):
    fence = [1]
    log = a_log(database, fence=lambda: fence[0])
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO counter (name, next) VALUES ('fence', 1)")
    log.append(entries(2))
    assert log.publish().size == 2
    with database.write() as connection:
        connection.execute(update(counter).where(counter.c.name == "fence").values(next=2))
    log.append(entries(2, 2))
    with pytest.raises(ConflictError):
        log.publish()
    assert log.reader.checkpoint().size == 2
    assert log.writer.stopped is None
    fence[0] = 2
    assert log.publish().size == 4


def test_a_log_of_another_name_or_key_is_not_written_to(database):
    log = a_log(database, 2)
    for origin, signer in (("other/log1", LOG_SIGNER), (ORIGIN, a_log_signer("other"))):
        with pytest.raises(UntrustedError):
            LogWriter(database, signer, origin, MemoryMarks(), log.clock).publish()


def test_a_log_that_cannot_be_rebuilt_is_closed_and_another_begins_empty(database):
    log = a_log(database, 3)
    other = a_log_signer("next")
    open_log(database, origin="node.example/log2", signer=other, clock=log.clock)
    again = a_log(database, 2, origin="node.example/log2", signer=other)
    assert again.reader.checkpoint().size == 2
    assert again.reader.state().origin == "node.example/log2"
    with pytest.raises(UntrustedError):
        log.restarted().publish()
    with database.read() as connection:
        assert [(row.number, row.state) for row in LogUnit(connection).logs()] == [(1, "closed"), (2, "open")]
        assert LogUnit(connection, 1).leaves(0, 9) == entries(3)
        assert LogUnit(connection, 1).newest().size == 3


def test_a_log_needs_a_proper_name(database):
    a_log(database)
    with pytest.raises(MalformedError):
        open_log(database, origin="no name", signer=LOG_SIGNER, clock=SteppingClock())


def test_signatures_of_witnesses_are_kept_under_their_checkpoint(database):
    log = a_log(database, 5)
    text = Checkpoint(ORIGIN, 5, log.reader.checkpoint().root).text()
    line = cosign(text, WITNESS, WITNESS_SIGNER, 1_790_000_000)
    assert log.writer.add_cosignatures(5, [line], [WITNESS_KEY]) == 1
    assert log.writer.add_cosignatures(5, [line], [WITNESS_KEY]) == 1
    stored = log.reader.checkpoint(cosigned=True)
    assert open_checkpoint(stored.note, LOG_KEY, [WITNESS_KEY]).witnessed_at == 1_790_000_000
    with pytest.raises(UntrustedError):
        log.writer.add_cosignatures(5, [cosign("other\n", WITNESS, WITNESS_SIGNER, 1)], [WITNESS_KEY])
    with pytest.raises(UntrustedError):
        log.writer.add_cosignatures(5, [line], [])
    with pytest.raises(NotFoundError):
        log.writer.add_cosignatures(4, [line], [WITNESS_KEY])
