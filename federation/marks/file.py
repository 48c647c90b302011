"""The mark file: `<data>/marks/exchange.json`, the node's memory outside its database.

Rules:

- it is never in a backup and never restored: it must know better than a database that was;
- every change is written beside the file, flushed, renamed into its place, and the folder is flushed; only then does
  the call return. Whatever fails before, the old content stands and nothing may be signed;
- changes are made under a lock over all processes of this machine, on the content found under the lock; a holder
  whose fence is no longer the file's is refused;
- a number is reserved before it is signed, 1,000 at a time; a reserved number that was not used is no loss.
"""

import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from federation.marks.content import CheckpointMark, Content, LaneMark
from registry.errors import ConflictError, ExistsError, UnavailableError, UntrustedError

__all__ = ["FILE_NAME", "MarkFile"]

#: Where it stands below the data folder.
FILE_NAME = "marks/exchange.json"

_LARGEST_FILE = 1 << 28


class MarkFile:
    """The mark file of one node on one machine.

    Consistency: changes are serialised over threads and processes; marks only rise. Durability: what a call wrote
    survives power loss once it returned. Concurrency: any number of threads and processes; the fast way of `reserve`
    takes no lock of the system. Errors: UnavailableError when the file cannot be read or written; UntrustedError when
    it is damaged or a mark would fall; ConflictError when another holder has taken the fence.

    Args:
        path: the file; its folder is made with mode 0700 when it is missing.
        fsync: flushes a file or folder to the disk.
    """

    def __init__(self, path: Path, *, fsync: Callable[[int], None] = os.fsync) -> None:
        self._path = path
        self._fsync = fsync
        self._mutex = threading.Lock()
        self._content: Content | None = None
        self._fence = 0
        # a rename that may not have reached the disk: the next change must be written again in full
        self._doubtful = False

    @property
    def path(self) -> Path:
        """Where the file stands."""
        return self._path

    def exists(self) -> bool:
        """Say whether there is a file."""
        return self._path.is_file()

    def create(self, instance: bytes, *, sure: bool = True) -> None:
        """Make the file of a new node; with `sure` false, that of a node whose file was lost.

        Raises:
            ExistsError: there is one.
            UnavailableError: it cannot be written.
        """
        with self._mutex, self._locked():
            if self._path.exists() or self._path.is_symlink():
                raise ExistsError("federation.marks.exists", field=str(self._path))
            self._write(Content(instance, sure=sure))

    def content(self) -> Content:
        """Read the file.

        Raises:
            UnavailableError: it is missing or cannot be read.
            UntrustedError: it is damaged, or others may write it.
        """
        return self._read()

    # the fence

    def take(self, instance: bytes, above: int) -> int:
        """Take the fence: raise it above what the file and the database (`above`) know, and hold it.

        Returns:
            The new fence, under which every later change of this object is made.

        Raises:
            UnavailableError: the file is missing or cannot be written.
            UntrustedError: it is damaged.
        """
        with self._mutex, self._locked():
            known = self._read()
            content = known.taken(instance, max(known.fence, above) + 1)
            self._write(content)
            self._fence = content.fence
            return content.fence

    def release(self) -> None:
        """Let go of the fence; until it is taken again nothing can be reserved."""
        with self._mutex:
            self._fence = 0
            self._content = None

    def fence(self) -> int:
        """Return the fence this object holds; 0 when it holds none."""
        return self._fence

    # lanes

    def reserve(self, lane: str, epoch: int, seq: int) -> None:
        """Let `seq` of `epoch` be signed on `lane`; comes before the signature.

        Args:
            lane: as `lane_name` makes it.
            epoch: incarnation of the sender's store.
            seq: the highest number about to be signed.

        Raises:
            ConflictError: another holder has the fence.
            UnavailableError: no fence is held, or the file cannot be written.
            UntrustedError: the lane has reached a later epoch.
        """
        content = self._content
        if content is not None and self._fence and not self._doubtful:
            known = content.lanes.get(lane)
            if known is not None and known.epoch == epoch and seq <= known.bound:
                return
        self._change(lambda found: found.raised(lane, epoch, seq))

    def lane(self, lane: str) -> LaneMark | None:
        """Return the mark of a lane, as the file has it now.

        Raises:
            UnavailableError: the file is missing or cannot be read.
            UntrustedError: it is damaged.
        """
        return self._read().lanes.get(lane)

    # checkpoints

    def checkpoint(self, origin: str) -> tuple[int, bytes] | None:
        """Return (size, root) of the newest checkpoint signed for a log.

        Raises:
            UnavailableError: the file is missing or cannot be read.
            UntrustedError: it is damaged.
        """
        known: CheckpointMark | None = self._read().checkpoints.get(origin)
        return None if known is None else (known.size, known.root)

    def raise_checkpoint(self, origin: str, size: int, root: bytes) -> None:
        """Remember a checkpoint; comes before its signature leaves the node.

        Raises:
            ConflictError: another holder has the fence.
            UnavailableError: no fence is held, or the file cannot be written.
            UntrustedError: a larger checkpoint was signed, or one of this size with another root.
        """
        self._change(lambda found: found.signed(origin, size, root))

    # being sure

    def settle(self) -> None:
        """Note that the peers were asked and the database knows all they know.

        Raises:
            ConflictError: another holder has the fence.
            UnavailableError: no fence is held, or the file cannot be written.
        """
        self._change(lambda found: found if found.sure else replace(found, sure=True))

    # inside

    def _change(self, change: Callable[[Content], Content]) -> None:
        """Write what `change` makes of the file's content; that is the compare-and-swap."""
        with self._mutex:
            if not self._fence:
                raise UnavailableError("federation.marks.not_held", field=str(self._path), retry_after=5)
            with self._locked():
                found = self._read()
                if found.fence != self._fence:
                    mine, self._fence, self._content = self._fence, 0, None
                    raise ConflictError(
                        "federation.marks.fenced", field="fence", value=mine, right=found.fence
                    )
                content = change(found)
                if content is not found or self._doubtful:
                    self._write(content)
                else:
                    self._content = found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # a file of its own: the mark file itself is replaced at every change
            handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self) -> Content:
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise UnavailableError("federation.marks.missing", field=str(self._path)) from None
        except OSError as error:
            raise UnavailableError(
                "federation.marks.unreadable", field=str(self._path), reason=error.strerror
            ) from error
        try:
            with os.fdopen(handle, "rb") as opened:
                state = os.fstat(opened.fileno())
                if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o022 or state.st_uid != os.geteuid():
                    mode = f"{state.st_mode & 0o7777:04o}"
                    raise UntrustedError("federation.marks.open", field=str(self._path), mode=mode)
                raw = opened.read(min(state.st_size + 1, _LARGEST_FILE))
        except OSError as error:
            raise UnavailableError(
                "federation.marks.unreadable", field=str(self._path), reason=error.strerror
            ) from error
        return Content.decode(raw)

    def _write(self, content: Content) -> None:
        waiting = self._path.with_name(f".{self._path.name}.new")
        try:
            waiting.unlink(missing_ok=True)
            handle = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as opened:
                opened.write(content.encode())
                opened.flush()
                self._fsync(opened.fileno())
            self._doubtful = True
            waiting.replace(self._path)
            self._flush_folder()
        except OSError as error:
            waiting.unlink(missing_ok=True)
            raise self._unwritable(error) from error
        self._doubtful = False
        self._content = content

    def _flush_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._fsync(folder)
        finally:
            os.close(folder)

    def _unwritable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            "federation.marks.unwritable", field=str(self._path), reason=error.strerror, retry_after=5
        )
