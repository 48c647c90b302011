"""How far an import has come, kept beside the data so that it can go on after a kill.

The state is written after each batch is committed: into a new file, flushed to the disk, then renamed over the old
one. Between commit and rename a kill costs nothing: the batch is done again and finds everything unchanged.
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

__all__ = ["Counts", "State", "forget_state", "load_state", "save_state"]

_VERSION = 1


@dataclass(slots=True)
class Counts:
    """What became of the rows so far."""

    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    warnings: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """One import that is not finished.

    Attributes:
        job: what is imported and how: the digest of the file and the options that matter.
        counts: what became of the rows of the finished batches.
        report_bytes: size of the report then.
    """

    job: dict[str, str]
    counts: Counts = field(default_factory=Counts)
    report_bytes: int = 0


def load_state(path: Path | None, job: dict[str, str]) -> State | None:
    """Return the state of this very job, or None: no file, a damaged one, or another job."""
    if path is None:
        return None
    try:
        content = orjson.loads(path.read_bytes())
        if content["version"] != _VERSION or content["job"] != job:
            return None
        return State(job, Counts(**content["counts"]), int(content["report_bytes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_state(path: Path | None, state: State) -> None:
    """Write the state durably."""
    if path is None:
        return
    content = {
        "version": _VERSION,
        "job": state.job,
        "counts": asdict(state.counts),
        "report_bytes": state.report_bytes,
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(orjson.dumps(content))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


def forget_state(path: Path | None) -> None:
    """Remove the state of a finished job."""
    if path is not None:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
