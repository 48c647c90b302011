"""What a backup says about itself: `manifest.json`, written last, so that a folder without one is no backup.

It names every file with length and SHA-256, every table with its rows, the revision of the schema, and size and root
of the log; its own digest stands in it too. Keys, secrets and the mark file are never in a backup.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from registry.errors import HazlinkError, MalformedError, NotFoundError, UntrustedError
from registry.trust import strict_json
from registry.trust.encoding import b64u, from_b64u

__all__ = ["MANIFEST_NAME", "FileEntry", "LogState", "Manifest", "digest_of"]

MANIFEST_NAME = "manifest.json"

_TYPE = "hazlink-backup/v1"
_MEMBERS = ("type", "made_at", "release", "database", "revision", "files", "tables", "log", "sha256")
_DATABASES = ("sqlite", "postgresql")
_ROOT_BYTES = 32
_READ_BYTES = 1 << 20
_LARGEST_MANIFEST = 1 << 24


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a backup: its length in bytes, and its SHA-256 in hexadecimal."""

    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LogState:
    """The node's log in a backup: origin, leaves, root of 32 bytes over all of them."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup.

    Attributes:
        made_at: POSIX seconds at which the picture was taken.
        release: version of the program.
        database: `sqlite` or `postgresql`.
        revision: of the schema.
        files: by name below the folder.
        tables: rows by table.
        log: the open log, where there is one.
    """

    made_at: int
    release: str
    database: str
    revision: str
    files: Mapping[str, FileEntry]
    tables: Mapping[str, int]
    log: LogState | None

    @property
    def length(self) -> int:
        """Bytes of all files together."""
        return sum(entry.length for entry in self.files.values())

    def encode(self) -> bytes:
        """Return the file."""
        said = self._said()
        said["sha256"] = _digest(said)
        return orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def decode(cls, raw: bytes) -> "Manifest":
        """Read the file.

        Raises:
            UntrustedError: it is damaged, or of another kind.
        """
        try:
            said = strict_json.loads(raw)
        except MalformedError as error:
            raise _damaged("JSON") from error
        if not isinstance(said, dict) or said.get("type") != _TYPE or set(said) != set(_MEMBERS):
            raise _damaged("type")
        digest = said.pop("sha256")
        if digest != _digest(said):
            raise _damaged("sha256")
        try:
            made = _read(said)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise _damaged("members") from error
        if made.encode() != raw:
            raise _damaged("form")
        return made

    @classmethod
    def of(cls, folder: Path) -> "Manifest":
        """Read the manifest of a backup folder.

        Raises:
            NotFoundError: there is no backup.
            UntrustedError: the manifest is damaged.
        """
        try:
            with (folder / MANIFEST_NAME).open("rb") as opened:
                raw = opened.read(_LARGEST_MANIFEST)
        except OSError as error:
            raise NotFoundError(
                "node.backup.no_backup", field=str(folder), reason=error.strerror or "?"
            ) from error
        return cls.decode(raw)

    def verify(self, folder: Path, tell: Any = None) -> None:
        """Read every file back and compare it.

        Args:
            folder: of the backup.
            tell: called with the bytes read so far.

        Raises:
            UntrustedError: a file is missing, damaged, or not named here.
        """
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
        extra = sorted(there - set(self.files) - {MANIFEST_NAME})
        if extra:
            raise UntrustedError("node.backup.extra", field=extra[0])
        done = 0
        for name, entry in sorted(self.files.items()):
            found = digest_of(folder / name)
            if found != entry:
                raise UntrustedError("node.backup.file_damaged", field=name)
            done += entry.length
            if tell is not None:
                tell(done)

    def _said(self) -> dict[str, Any]:
        log = None
        if self.log is not None:
            log = {"origin": self.log.origin, "size": self.log.size, "root": b64u(self.log.root)}
        return {
            "type": _TYPE,
            "made_at": self.made_at,
            "release": self.release,
            "database": self.database,
            "revision": self.revision,
            "files": {
                name: {"length": entry.length, "sha256": entry.sha256}
                for name, entry in sorted(self.files.items())
            },
            "tables": dict(sorted(self.tables.items())),
            "log": log,
        }


def digest_of(path: Path) -> FileEntry | None:
    """Return length and digest of a file, read from the disk; None when it is no file or cannot be read."""
    digest, length = hashlib.sha256(), 0
    try:
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as opened:
            while part := opened.read(_READ_BYTES):
                digest.update(part)
                length += len(part)
    except OSError:
        return None
    return FileEntry(length, digest.hexdigest())


def _digest(said: Mapping[str, Any]) -> str:
    return b64u(hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest())


def _damaged(field: str) -> HazlinkError:
    return UntrustedError("node.backup.manifest", field=field)


def _read(said: Mapping[str, Any]) -> Manifest:
    files = {
        _path(name): FileEntry(_count(entry["length"]), _text(entry["sha256"]))
        for name, entry in said["files"].items()
    }
    if said["database"] not in _DATABASES:
        raise _damaged("database")
    log = said["log"]
    return Manifest(
        made_at=_count(said["made_at"]),
        release=_text(said["release"]),
        database=said["database"],
        revision=_text(said["revision"]),
        files=files,
        tables={_text(name): _count(rows) for name, rows in said["tables"].items()},
        log=None if log is None else LogState(_text(log["origin"]), _count(log["size"]), _root(log["root"])),
    )


def _path(name: str) -> str:
    parts = Path(name).parts
    if not name or Path(name).is_absolute() or ".." in parts or Path(*parts).as_posix() != name:
        raise _damaged("files")
    return name


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise _damaged("members")
    return given


def _count(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise _damaged("members")
    return given


def _root(given: object) -> bytes:
    raw = from_b64u(given) if isinstance(given, str) else None
    if raw is None or len(raw) != _ROOT_BYTES:
        raise _damaged("log")
    return raw
