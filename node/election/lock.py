"""The lock behind an election: a file's on SQLite, the session's on PostgreSQL (`node.election.storage`)."""

import fcntl
import os
from pathlib import Path
from typing import Protocol

from registry.errors import UnavailableError

__all__ = ["FileLock", "Lock"]


class Lock(Protocol):
    """What only one process can hold.

    Consistency: of all who try, one holds it; it is free again when its holder ends, however it ends. Durability:
    none. Concurrency: one thread at a time. Errors: UnavailableError when it cannot be asked for.
    """

    def acquire(self) -> bool:
        """Try to take it, without waiting; say whether it is held now."""
        ...

    def holds(self) -> bool:
        """Say whether it is still held."""
        ...

    def release(self) -> None:
        """Let go of it."""
        ...


class FileLock:
    """The lock of a data folder; the kernel drops it with the process.

    Args:
        path: the lock file. Whoever replaces it has not taken the lock from its holder: the holder notices and stops.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Try to take it, without waiting.

        Raises:
            UnavailableError: the file cannot be opened.
        """
        if self._handle is not None:
            return self.holds()
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise UnavailableError(
                "node.backup.lock_file", field=str(self._path), reason=error.strerror, retry_after=5
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        if not self.holds():
            self.release()
            return False
        return True

    def holds(self) -> bool:
        """Say whether the file that is locked still stands in its place."""
        if self._handle is None:
            return False
        try:
            there, mine = self._path.stat(), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def release(self) -> None:
        """Let go of it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
