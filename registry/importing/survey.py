"""A first look at an import file: what it is, how it is encoded, how many lines it has. Nothing is imported yet.

Encodings: UTF-8 with or without a byte order mark is the rule. A file that is not UTF-8 but, from its first byte to
its last, the simplified Chinese set that spreadsheet programs write as "CSV" (GB 2312 in GBK coding) is read as that,
which the summary says. Damaged UTF-8 does not pass for it. Anything else is read as UTF-8, and every line with a
broken character is refused by its number; the caller may name the encoding instead.
"""

import codecs
import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from registry.errors import MalformedError, NotFoundError, NotSupportedError

__all__ = ["ENCODINGS", "Format", "Survey", "survey"]

#: Encodings a caller may name.
ENCODINGS = ("utf-8", "gb18030")

_CHUNK = 1 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ZIP = b"PK\x03\x04"
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"


class Format(StrEnum):
    """What an import file holds."""

    CSV = "csv"
    NDJSON = "ndjson"
    JSON = "json"


_FORMATS = {
    ".csv": Format.CSV,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".json": Format.JSON,
}


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first look found.

    Attributes:
        encoding: Python codec to read the file with; `utf-8-sig` drops a byte order mark.
        lines: physical lines, for the progress bar.
        sha256: hexadecimal digest of the file, by which an interrupted run knows it again.
        guessed: whether the encoding was found by looking, not by rule.
    """

    format: Format
    encoding: str
    lines: int
    sha256: str
    guessed: bool


def survey(path: Path, *, encoding: str | None = None) -> Survey:
    """Look at a file.

    Raises:
        NotFoundError: there is no such file, or it cannot be read.
        NotSupportedError: an unknown ending or encoding; a spreadsheet; UTF-16.
        MalformedError: the file is empty.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise NotSupportedError(
            "registry.importing.ending", field=path.name, known=", ".join(sorted(_FORMATS))
        )
    if encoding is not None and encoding not in ENCODINGS:
        raise NotSupportedError(
            "registry.importing.encoding", field="encoding", value=encoding, known=", ".join(ENCODINGS)
        )
    try:
        with path.open("rb") as file:
            return _look(file, path.name, kind, encoding)
    except OSError as error:
        raise NotFoundError(
            "registry.importing.unreadable", field=path.name, reason=error.strerror or "?"
        ) from error


def _look(file: BinaryIO, name: str, kind: Format, encoding: str | None) -> Survey:
    head = file.read(4)
    if not head:
        raise MalformedError("registry.importing.empty", field=name)
    if head.startswith((_ZIP, _OLD_OFFICE)):
        raise NotSupportedError("registry.importing.spreadsheet", field=name)
    if head.startswith(_UTF16):
        raise NotSupportedError("registry.importing.utf16", field=name)
    digest, lines, last = hashlib.sha256(), 0, b""
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        lines += chunk.count(b"\n")
        last = chunk[-1:]
    if last != b"\n":
        lines += 1
    guessed = False
    if encoding is None or encoding == "utf-8":
        guessed = encoding is None and not _decodes(file, "utf-8") and _decodes(file, "gb2312")
        codec = "gb18030" if guessed else "utf-8-sig"
    else:
        codec = encoding
    return Survey(kind, codec, lines, digest.hexdigest(), guessed)


def _decodes(file: BinaryIO, codec: str) -> bool:
    file.seek(0, os.SEEK_SET)
    decoder = codecs.getincrementaldecoder(codec)("strict")
    try:
        while chunk := file.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
