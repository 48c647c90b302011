"""The rows of an import file, one by one, each with its line; a row that cannot be read does not end the file."""

import csv
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from registry.errors import HazlinkError, LimitError, MalformedError
from registry.importing.survey import Format, Survey

__all__ = ["Row", "read_rows"]

#: Longest line of NDJSON, in characters; a record is far smaller.
MAX_LINE = 1 << 20
#: Largest JSON array file: it is read whole.
MAX_ARRAY_BYTES = 256 << 20
_MAX_COLUMNS = 1000
_MAX_DEPTH = 8
_REQUIRED = "identifier"


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        line: physical line it begins on (for a JSON array: its place in the array).
        end: physical line it ends on.
        content: what it says, or None.
        error: why it could not be read.
    """

    line: int
    end: int
    content: Mapping[str, Any] | None = None
    error: HazlinkError | None = None


def read_rows(path: Path, found: Survey) -> Generator[Row]:
    """Yield the rows of a file.

    Raises:
        MalformedError: the header of a CSV, or a JSON array as a whole, cannot be read.
        LimitError: a JSON array larger than 256 MiB.
    """
    if found.format is Format.JSON:
        yield from _read_array(path, found.encoding)
        return
    with path.open(encoding=found.encoding, errors="surrogateescape", newline="") as file:
        if found.format is Format.CSV:
            yield from _read_csv(file, path.name)
        else:
            yield from _read_ndjson(file)


def _read_csv(file: TextIO, name: str) -> Iterator[Row]:
    reader = csv.reader(file, strict=True)
    header = _header(reader, name)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            wrong = MalformedError(
                "registry.importing.csv", first=first, last=reader.line_num, reason=str(error)
            )
            yield Row(first, reader.line_num, error=wrong)
            continue
        if not any(cells):
            continue
        yield _csv_row(first, reader.line_num, header, cells)


def _csv_row(first: int, last: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        wrong = MalformedError("registry.importing.cells", count=len(cells), columns=len(header))
        return Row(first, last, error=wrong)
    content = {column: cell.strip() for column, cell in zip(header, cells, strict=True) if cell.strip()}
    broken = next((column for column, cell in content.items() if _is_broken(cell)), None)
    if broken is not None:
        return Row(first, last, error=MalformedError("registry.importing.broken_text", field=broken))
    return Row(first, last, content)


def _header(reader: Any, name: str) -> list[str]:
    try:
        cells: list[str] = next(reader)
    except StopIteration:
        raise MalformedError("registry.importing.empty", field=name) from None
    except csv.Error as error:
        raise MalformedError("registry.importing.csv", first=1, last=1, reason=str(error)) from None
    columns = [c.strip() for c in cells]
    columns = [c.lower() if c.lower() in {_REQUIRED, "kind"} else c for c in columns]
    if _REQUIRED not in columns:
        separators = [s for s in ";\t" if len(columns) == 1 and s in columns[0]]
        code = "registry.importing.separator" if separators else "registry.importing.header"
        raise MalformedError(code, field=name, value=",".join(columns)[:100])
    if any(_is_broken(c) or not c for c in columns):
        raise MalformedError("registry.importing.column", field=name, column=_first_bad(columns))
    twice = next((c for n, c in enumerate(columns) if c in columns[:n]), None)
    if twice is not None:
        raise MalformedError("registry.importing.column_twice", field=name, column=twice)
    if len(columns) > _MAX_COLUMNS:
        raise LimitError("registry.importing.columns", field=name, count=len(columns), limit=_MAX_COLUMNS)
    return columns


def _first_bad(columns: list[str]) -> int:
    return next(n for n, c in enumerate(columns, 1) if _is_broken(c) or not c)


def _read_ndjson(file: TextIO) -> Iterator[Row]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            while line and not line.endswith("\n"):
                line = file.readline(MAX_LINE)
            yield Row(number, number, error=LimitError("registry.importing.line_long", limit=MAX_LINE))
            continue
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    if _is_broken(line):
        return Row(number, number, error=MalformedError("registry.importing.broken_line"))
    try:
        return _object_row(number, _parse(line))
    except (ValueError, RecursionError) as error:
        wrong = MalformedError("registry.importing.json", reason=_reason(error))
        return Row(number, number, error=wrong)


def _object_row(number: int, content: Any) -> Row:
    if not isinstance(content, dict):
        return Row(number, number, error=MalformedError("registry.importing.not_object"))
    if _depth(content) > _MAX_DEPTH:
        return Row(number, number, error=LimitError("registry.importing.deep", limit=_MAX_DEPTH))
    return Row(number, number, content)


def _read_array(path: Path, encoding: str) -> Iterator[Row]:
    if path.stat().st_size > MAX_ARRAY_BYTES:
        raise LimitError("registry.importing.array_large", field=path.name, limit=MAX_ARRAY_BYTES >> 20)
    try:
        whole = _parse(path.read_text(encoding=encoding))
    except (ValueError, RecursionError) as error:
        raise MalformedError("registry.importing.array", field=path.name, reason=_reason(error)) from None
    if not isinstance(whole, list):
        raise MalformedError("registry.importing.not_array", field=path.name)
    for number, content in enumerate(whole, 1):
        yield _object_row(number, content)


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_float=Decimal, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for n, name in enumerate(names) if name in names[:n])
        raise ValueError(f"member {twice!r} stands twice")
    return made


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _reason(error: Exception) -> str:
    return "too deep" if isinstance(error, RecursionError) else str(error)[:200]


def _depth(content: Any) -> int:
    if isinstance(content, dict):
        return 1 + max(map(_depth, content.values()), default=0)
    if isinstance(content, list):
        return 1 + max(map(_depth, content), default=0)
    return 0


def _is_broken(text: str) -> bool:
    """Say whether some byte could not be decoded (it stands as a lone surrogate then)."""
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)
