"""`hazlink backup` and `hazlink restore`.

Rules:

- a backup is taken while the node runs, from one snapshot, and read back before it counts; only then it gets its
  name, so that whatever was interrupted is never taken for one;
- it holds the database and `hazlink.toml`. Signing keys, secrets and certificates are never in it: who finds a backup
  cannot sign. Nor is the mark file, which must know better than a database that was restored;
- a restore fills an empty place: no database there, no node running. It never touches keys, secrets or the mark file,
  and keeps a `hazlink.toml` that is there;
- a node that was restored finds out at its start what its peers know, before it signs anything.
"""

import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from federation.marks.file import FILE_NAME as MARKS_NAME
from node import schema
from node.backup import storage
from node.backup.manifest import MANIFEST_NAME, Manifest, digest_of
from node.backup.storage import Tell
from node.config import FILE_NAME
from node.election.lock import FileLock
from node.settings import Settings, example, load
from registry.clock import Clock
from registry.errors import (
    ConflictError,
    ExistsError,
    InvalidValueError,
    UnavailableError,
    UntrustedError,
)
from registry.storage.engine import Database

__all__ = ["Restored", "backup", "restore"]

_UNDER_WAY = ".under-way"
_SERVE_LOCK = "serve.lock"
#: What a node needs beside a backup, from another safe place.
_BESIDE = ("keys", "secrets", MARKS_NAME)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did, or with `dry` would do.

    Attributes:
        manifest: of the backup.
        database: where it went, without a password.
        kept_settings: a `hazlink.toml` was there and stays.
        missing: what the node needs beside it and has not got: names below the data folder.
        dry: nothing was written.
    """

    manifest: Manifest
    database: str
    kept_settings: bool
    missing: tuple[str, ...]
    dry: bool


def _silent(_what: str, _done: int, _total: int) -> None: ...


def backup(settings: Settings, target: Path, *, clock: Clock, tell: Tell = _silent) -> Manifest:
    """Write a backup of a node, which may be running, to the new folder `target`.

    Args:
        settings: of the node.
        target: must not be there, or be empty.
        clock: the time.
        tell: told how far it is.

    Raises:
        ExistsError: there is something at `target` already.
        ConflictError: another backup to it is under way.
        UnavailableError: the database cannot be read, or the folder cannot be written.
        UntrustedError: what was written is not what is read back.
    """
    target = target.expanduser().absolute()
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise ExistsError("node.backup.target", field=str(target))
    waiting = target.with_name(f".{target.name}.part")
    with _translated(target), _building(waiting):
        with closing(Database(settings.database_url, pool_size=1)) as database:
            made_at = int(clock.now())
            dumped = storage.dump(database, waiting, tell)
            kind = storage.kind_of(database)
        own = settings.data / FILE_NAME
        if own.exists():
            shutil.copyfile(own, waiting / FILE_NAME)
        manifest = _seal(
            waiting,
            Manifest(
                made_at=made_at,
                release=version("hazlink"),
                database=kind,
                revision=dumped.revision,
                files={},
                tables=dumped.tables,
                log=dumped.log,
            ),
        )
        waiting.rename(target)
        _flush(target.parent)
    manifest.verify(target)
    return manifest


def restore(
    source: Path, data: Path, *, database_url: str = "", dry: bool = False, tell: Tell = _silent
) -> Restored:
    """Fill an empty place from a backup.

    Args:
        source: folder of the backup.
        data: data folder of the node.
        database_url: another database than the settings say; goes into a `hazlink.toml` written here.
        dry: check everything, write nothing.
        tell: told how far it is.

    Raises:
        NotFoundError: there is no backup at `source`.
        UntrustedError: the backup is damaged.
        ConflictError: a node runs on `data`, or there is a database already.
        InvalidValueError: the backup is of the other kind of database.
        NotSupportedError: it is of a later release.
        UnavailableError: the place cannot be written.
    """
    source, data = source.expanduser().absolute(), data.expanduser().absolute()
    manifest = Manifest.of(source)
    manifest.verify(source, lambda done: tell(MANIFEST_NAME, done, manifest.length))
    with _translated(data), _not_running(data, dry=dry):
        settings_text, kept = _settings_text(source, data, database_url)
        url = database_url or _database_url(settings_text, data)
        with closing(Database(url, pool_size=1)) as database:
            if storage.kind_of(database) != manifest.database:
                raise InvalidValueError(
                    "node.backup.other_kind", field="database_url", value=manifest.database
                )
            _require_empty(database)
            if not dry:
                _load(database, source, manifest, tell)
                if not kept:
                    _write(data / FILE_NAME, settings_text.encode())
            where = database.url.render_as_string()
    missing = tuple(name for name in _BESIDE if not (data / name).exists())
    return Restored(manifest, where, kept, missing, dry)


# writing a backup


@contextmanager
def _building(folder: Path) -> Iterator[None]:
    """Make the folder in which a backup comes to be; what a killed one left there goes first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}{_UNDER_WAY}"))
    if not lock.acquire():
        raise ConflictError("node.backup.under_way", field=str(folder))
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        folder.with_name(f"{folder.name}{_UNDER_WAY}").unlink(missing_ok=True)
        lock.release()


def _seal(folder: Path, manifest: Manifest) -> Manifest:
    """Flush every file, name it in the manifest, and read all of it back."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        path.chmod(0o600)
        _flush(path)
        entry = digest_of(path)
        if entry is None:
            raise UntrustedError("node.backup.file_damaged", field=path.name)
        files[path.relative_to(folder).as_posix()] = entry
    whole = replace(manifest, files=files)
    _write(folder / MANIFEST_NAME, whole.encode())
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _flush(path)
    read = Manifest.of(folder)
    if read != whole:
        raise UntrustedError("node.backup.manifest", field="members")
    return whole


# reading one


def _settings_text(source: Path, data: Path, database_url: str) -> tuple[str, bool]:
    """Return the `hazlink.toml` that will stand in `data`, and whether it stands there already."""
    own = data / FILE_NAME
    if own.exists():
        return own.read_text(encoding="utf-8"), True
    saved = source / FILE_NAME
    written = saved.read_text(encoding="utf-8") if saved.exists() else ""
    if database_url:
        written = example({**_leaves(tomllib.loads(written)), "storage.database_url": database_url})
    return written or example(), False


def _leaves(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = tuple(value) if isinstance(value, list) else value
    return found


def _database_url(settings_text: str, data: Path) -> str:
    """Return the database that settings name, with the environment over them as at a start."""
    with tempfile.TemporaryDirectory() as folder:
        # they are read from a file, and in the data folder there is none yet
        (Path(folder) / FILE_NAME).write_text(settings_text, encoding="utf-8")
        found = load(Path(folder))
    return found.model_copy(update={"data": data}).database_url


@contextmanager
def _not_running(data: Path, *, dry: bool) -> Iterator[None]:
    """Hold the lock of the data folder, so that no node starts there meanwhile."""
    if dry and not data.exists():
        yield
        return
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = (data / _SERVE_LOCK).exists()
    lock = FileLock(data / _SERVE_LOCK)
    if not lock.acquire():
        raise ConflictError("node.backup.running", field=str(data))
    try:
        yield
    finally:
        if not there:
            (data / _SERVE_LOCK).unlink(missing_ok=True)
        lock.release()


def _require_empty(database: Database) -> None:
    if database.is_sqlite:
        path = Path(database.url.database or "")
        found = [name for name in (path, Path(f"{path}-wal"), Path(f"{path}-journal")) if name.exists()]
        if found:
            raise ConflictError("node.backup.not_empty", field=str(found[0]))
    elif not storage.is_empty(database):
        raise ConflictError("node.backup.not_empty", field=database.url.render_as_string())


def _load(database: Database, source: Path, manifest: Manifest, tell: Tell) -> None:
    if not database.is_sqlite:
        storage.load(database, source, manifest, tell)
        schema.upgrade(database)
        return
    path = Path(database.url.database or "")
    _place(source / storage.SQLITE_NAME, path, manifest)
    try:
        storage.settle_restored(database, manifest)
        schema.upgrade(database)
    except BaseException:
        database.close()
        for name in ("", "-wal", "-shm"):
            Path(f"{path}{name}").unlink(missing_ok=True)
        raise


def _place(copy: Path, path: Path, manifest: Manifest) -> None:
    """Put a copied SQLite file in its place at once, whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name}.new")
    waiting.unlink(missing_ok=True)
    try:
        shutil.copyfile(copy, waiting)
        waiting.chmod(0o600)
        _flush(waiting)
        if digest_of(waiting) != manifest.files.get(storage.SQLITE_NAME):
            raise UntrustedError("node.backup.file_damaged", field=storage.SQLITE_NAME)
        # link, not rename: it refuses a place that was taken meanwhile
        os.link(waiting, path)
    except FileExistsError:
        raise ConflictError("node.backup.not_empty", field=str(path)) from None
    finally:
        waiting.unlink(missing_ok=True)
    _flush(path.parent)


# files


def _write(path: Path, content: bytes) -> None:
    waiting = path.with_name(f".{path.name}.new")
    waiting.unlink(missing_ok=True)
    handle = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    waiting.rename(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            "node.backup.unwritable", field=str(error.filename or place), reason=error.strerror or str(error)
        ) from error
