import errno
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from federation.marks.content import Content
from federation.marks.file import FILE_NAME, MarkFile
from registry.errors import ConflictError, ExistsError, UnavailableError, UntrustedError

ME, OTHER = bytes(16), bytes(range(16))
LANE = "88.107.1001|88.107|register"
ROOT = bytes(range(32))


@pytest.fixture
def path(tmp_path):
    return tmp_path / FILE_NAME


def a_held(path, **how):
    """A mark file whose fence this object holds."""
    made = MarkFile(path, **how)
    if not made.exists():
        made.create(ME)
    made.take(ME, 0)
    return made


def test_a_new_file_is_for_the_node_alone_and_is_made_once(path):
    made = MarkFile(path)
    assert not made.exists()
    made.create(ME)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert made.content() == Content(ME)
    with pytest.raises(ExistsError):
        made.create(OTHER)
    assert sorted(child.name for child in path.parent.iterdir()) == [".lock", "exchange.json"]


def test_a_missing_file_says_what_to_do(path):
    for act in (MarkFile(path).content, lambda: MarkFile(path).take(ME, 0)):
        with pytest.raises(UnavailableError) as refused:
            act()
        assert refused.value.code == "federation.marks.missing"
        assert "--lost" in str(refused.value)


def test_nothing_is_reserved_or_marked_before_the_fence_is_held_or_after_it_was_let_go(path):
    made = a_held(path)
    made.reserve(LANE, 1, 1)
    made.release()
    assert made.fence() == 0
    for act in (lambda: made.reserve(LANE, 1, 1), lambda: made.raise_checkpoint("log", 1, ROOT), made.settle):
        with pytest.raises(UnavailableError) as refused:
            act()
        assert refused.value.code == "federation.marks.not_held"


def test_marks_outlive_the_process(path):
    made = a_held(path)
    made.reserve(LANE, 1, 1)
    made.raise_checkpoint("88.107/log1", 7, ROOT)
    again = MarkFile(path)
    assert again.lane(LANE).bound == 1_000
    assert again.lane("other") is None
    assert again.checkpoint("88.107/log1") == (7, ROOT)
    assert again.checkpoint("88.107/log2") is None
    assert again.take(OTHER, 0) == 2
    assert again.content().instance == OTHER


def test_the_fence_rises_above_what_the_database_says(path):
    assert a_held(path).fence() == 1
    assert MarkFile(path).take(ME, 41) == 42
    assert MarkFile(path).take(ME, 7) == 43


def test_fault_16_of_two_holders_on_one_file_only_the_later_one_can_write(path):
    first = a_held(path)
    first.reserve(LANE, 1, 1)
    second = MarkFile(path)
    second.take(OTHER, 0)
    second.reserve(LANE, 1, 500)
    with pytest.raises(ConflictError) as refused:
        first.reserve(LANE, 1, 1_001)
    assert refused.value.code == "federation.marks.fenced"
    with pytest.raises(UnavailableError):  # it knows now that it holds nothing
        first.raise_checkpoint("log", 1, ROOT)
    second.raise_checkpoint("log", 1, ROOT)


def test_one_flush_serves_a_thousand_numbers(path):
    flushed = []
    made = a_held(path, fsync=lambda handle: (flushed.append(handle), os.fsync(handle)))
    flushed.clear()
    for seq in range(1, 2_001):
        made.reserve(LANE, 1, seq)
    assert len(flushed) == 4  # file and folder, twice


def test_a_file_made_for_a_lost_one_is_not_sure_until_it_is_settled(path):
    made = MarkFile(path)
    made.create(ME, sure=False)
    made.take(ME, 0)
    assert not made.content().sure
    made.settle()
    made.settle()
    assert MarkFile(path).content().sure


class FailingDisk:
    """A disk whose n-th flush fails."""

    def __init__(self, *, fail_at):
        self.left = fail_at

    def __call__(self, handle):
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.EIO, "Input/output error")
        os.fsync(handle)


def test_fault_13_a_flush_that_fails_lets_nothing_be_signed_and_leaves_the_old_marks(path):
    a_held(path).reserve(LANE, 1, 1)
    disk = FailingDisk(fail_at=0)
    made = a_held(path, fsync=disk)
    disk.left = 1
    with pytest.raises(UnavailableError) as refused:
        made.reserve(LANE, 1, 1_001)
    assert refused.value.code == "federation.marks.unwritable"
    assert MarkFile(path).lane(LANE).bound == 1_000
    assert sorted(child.name for child in path.parent.iterdir()) == [".lock", "exchange.json"]
    made.reserve(LANE, 1, 1_001)  # the disk is well again
    assert MarkFile(path).lane(LANE).bound == 2_000


def test_fault_13_a_rename_that_may_not_have_reached_the_disk_is_made_again_before_it_counts(path):
    disk = FailingDisk(fail_at=0)
    made = a_held(path, fsync=disk)
    disk.left = 2  # the file is flushed, the folder is not
    with pytest.raises(UnavailableError):
        made.reserve(LANE, 1, 1)
    disk.left = 1  # what is in the file now is not enough: it must be flushed
    with pytest.raises(UnavailableError):
        made.reserve(LANE, 1, 1)
    made.reserve(LANE, 1, 1)
    assert disk.left < 0


def test_fault_13_a_full_disk_lets_nothing_be_signed(path):
    made = a_held(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
    try:
        with pytest.raises(UnavailableError) as refused:
            made.reserve(LANE, 1, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert refused.value.code == "federation.marks.unwritable"
    assert MarkFile(path).lane(LANE) is None
    made.reserve(LANE, 1, 1)


def test_a_folder_that_cannot_be_entered_is_refused(tmp_path):
    (tmp_path / "marks").write_text("a file where the folder should be")
    with pytest.raises(UnavailableError) as refused:
        MarkFile(tmp_path / FILE_NAME).create(ME)
    assert refused.value.code == "federation.marks.unwritable"


def test_a_file_that_others_may_write_is_refused(path):
    made = a_held(path)
    path.chmod(0o666)
    with pytest.raises(UntrustedError) as refused:
        made.content()
    assert refused.value.code == "federation.marks.open"
    assert refused.value.params["mode"] == "0666"


def test_a_link_in_the_place_of_the_file_is_refused(path, tmp_path):
    elsewhere = tmp_path / "elsewhere.json"
    a_held(path)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(UnavailableError):
        MarkFile(path).content()


def test_a_damaged_file_is_refused_and_not_replaced(path):
    made = a_held(path)
    path.write_bytes(path.read_bytes().replace(b'"fence": 1', b'"fence": 0'))
    for act in (made.content, lambda: made.reserve(LANE, 1, 1), lambda: made.take(ME, 9)):
        with pytest.raises(UntrustedError) as refused:
            act()
        assert refused.value.code == "federation.marks.damaged"


def test_threads_reserve_together_and_no_mark_is_lost(path):
    made = a_held(path)

    def work(lane):
        for seq in range(1, 5_001, 250):
            made.reserve(lane, 1, seq)

    threads = [threading.Thread(target=work, args=(f"lane{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lanes = MarkFile(path).content().lanes
    assert len(lanes) == 6
    assert all(mark.bound >= 4_751 for mark in lanes.values())


def _take(path, number):
    made = MarkFile(Path(path))
    for _ in range(10):
        made.take(bytes([number]) * 16, 0)


def test_processes_that_take_the_fence_together_never_take_the_same(path):
    MarkFile(path).create(ME)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_take, args=(str(path), number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert MarkFile(path).content().fence == 30


_WRITER = """
import sys
from pathlib import Path
from federation.marks.file import MarkFile
made = MarkFile(Path(sys.argv[1]))
made.take(bytes(16), 0)
known = made.lane("lane")
seq = known.bound + 1 if known else 1
while True:
    made.reserve("lane", 1, seq)
    sys.stdout.write(f"{seq}\\n")
    sys.stdout.flush()
    seq += 1_000
"""


@pytest.mark.slow
def test_fault_12_killed_at_any_moment_the_file_is_whole_and_knows_all_that_was_allowed(path):
    MarkFile(path).create(ME)
    for round_ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[4]
        ) as writer:
            said = [writer.stdout.readline()]
            time.sleep(0.003 * round_)
            writer.kill()
            said += writer.stdout.read().splitlines()
        whole = [int(line) for line in said if line.strip()]
        assert MarkFile(path).lane("lane").bound >= max(whole[:-1] or whole)
