"""The report of an import: one line for every row that was refused or draws a remark.

A CSV that opens in a spreadsheet: UTF-8 with a byte order mark; a cell that a spreadsheet would take for a formula
gets a leading apostrophe. After an interruption the file is cut back to the last finished batch and continued.
"""

import csv
import io
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from registry.errors import HazlinkError

__all__ = ["Report"]

_HEADER = ("line", "identifier", "level", "error", "field", "message_zh", "message_en")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BOM = "\ufeff"


class Report:
    """A report file being written; without a path it only counts.

    Durability: after `sync` every line added before is on the disk.
    """

    def __init__(self, path: Path | None, *, keep_bytes: int = 0) -> None:
        self._path = path
        self._file = None
        if path is None:
            return
        self._file = path.open("r+b" if keep_bytes and path.exists() else "wb")
        size = self._file.seek(0, os.SEEK_END)
        if size > keep_bytes:
            self._file.truncate(keep_bytes)
            self._file.seek(0, os.SEEK_END)
        if not self._file.tell():
            self._file.write((_BOM + _line(_HEADER)).encode())

    def add(self, line: int, identifier: str, level: str, error: HazlinkError) -> None:
        """Add one line; `level` is `error` or `warning`."""
        if self._file is None:
            return
        cells = (
            str(line),
            identifier,
            level,
            error.kind.value,
            error.field or "",
            error.message("zh"),
            error.message("en"),
        )
        self._file.write(_line(tuple(map(_harmless, cells))).encode("utf-8", "backslashreplace"))

    def sync(self) -> int:
        """Put everything on the disk and return the size."""
        if self._file is None:
            return 0
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _line(cells: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
