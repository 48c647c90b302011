"""Nodes forked from a process that has read the code: each is a process of its own, as one started from nothing is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forked import Forked, ForkedServed, Zygote
from tests.support.processes import PATIENCE, a_top_folder, an_init, environment, until

pytestmark = pytest.mark.slow

_AN_INIT = (*an_init(20_000), "--root", "--prefix", "88")


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as made:
        yield made


def _started(zygote: Zygote, folder: Path, *words: str) -> Forked:
    with (folder / "errors").open("ab") as errors:
        return zygote.start(words, environment(), errors)


def test_a_forked_command_does_what_the_command_does_and_tells_its_exit_status(zygote, tmp_path):
    made = _started(zygote, tmp_path, *_AN_INIT, "--data", str(tmp_path / "n"))
    assert made.wait(PATIENCE) == 0
    assert (tmp_path / "n" / "hazlink.toml").exists()
    assert b"88" in made.stdout.read()
    # not found: there is no node
    refused = _started(zygote, tmp_path, "serve", "--data", str(tmp_path / "nothing"))
    assert refused.wait(PATIENCE) == 3
    assert (tmp_path / "errors").read_text()


def test_two_children_of_one_process_draw_different_secrets_and_keys(zygote, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        made = _started(zygote, tmp_path, *_AN_INIT, "--data", str(folder))
        assert made.wait(PATIENCE) == 0
    secrets = [(folder / "secrets" / "node.key").read_bytes() for folder in folders]
    assert secrets[0] != secrets[1]
    # a key's file is named after its thumbprint; OpenSSL drew the keys
    keys = [{file.name for file in (folder / "keys").glob("*.pem")} for folder in folders]
    assert all(keys)
    assert not keys[0] & keys[1]


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_forked_node_serves_with_its_own_files_only_and_is_killed_and_started_again(zygote, tmp_path):
    a_top_folder(tmp_path / "a")
    a_top_folder(tmp_path / "b")
    with ForkedServed(zygote, tmp_path / "a") as one, ForkedServed(zygote, tmp_path / "b") as other:
        held = {path.resolve() for path in Path(f"/proc/{other.process.pid}/fd").iterdir()}
        assert any(path.is_relative_to(tmp_path / "b") for path in held)
        assert not any(path.is_relative_to(tmp_path / "a") for path in held)
        # the first process has no thread beside its own, or it would not have forked; a node has
        assert _threads(zygote.process.pid) == 1
        assert _threads(other.process.pid) > 1
        first = one.process.pid
        one.kill()
        assert one.process.returncode == -9
        assert other.running
        one.start()
        assert one.process.pid != first
        assert one.stop() == 0
        assert other.stop() == 0


def test_when_the_process_that_forks_ends_its_nodes_end_with_it(tmp_path):
    a_top_folder(tmp_path / "a")
    with Zygote() as zygote:
        node = ForkedServed(zygote, tmp_path / "a").start()
    assert until(lambda: node.process.poll() is not None, "the node ends")
    assert node.process.returncode == -9
    assert not Path(f"/proc/{node.process.pid}").exists()
