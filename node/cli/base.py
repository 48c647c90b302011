"""What every command shares: the data folder, the node opened on it, how results and refusals are shown.

Exit codes: 0 done; 1 failed; 2 the command was misused; 3 not found; 4 not allowed; 5 the input breaks a rule;
6 not available now, try again; 7 taken or changed meanwhile; 130 interrupted.
"""

import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from registry.errors import HazlinkError, Kind, NotFoundError
from registry.language import text

if TYPE_CHECKING:
    from node.wiring import Node
    from registry.identifier import Prefix
    from registry.principal import Principal

__all__ = [
    "DATA",
    "Data",
    "Json",
    "Quietly",
    "at_node",
    "exit_code",
    "local_principal",
    "only_prefix",
    "option",
    "say",
    "show",
    "show_rows",
    "taught",
]

#: Columns that hold POSIX seconds.
_TIMES = frozenset({"at", "expires"})

_EXIT = {
    Kind.NOT_FOUND: 3,
    Kind.VALUE_NOT_FOUND: 3,
    Kind.GONE: 3,
    Kind.UNAUTHENTICATED: 4,
    Kind.FORBIDDEN: 4,
    Kind.UNTRUSTED: 4,
    Kind.MALFORMED: 5,
    Kind.MALFORMED_IDENTIFIER: 5,
    Kind.INVALID_VALUE: 5,
    Kind.LIMIT: 5,
    Kind.NOT_RESPONSIBLE: 5,
    Kind.RATE: 6,
    Kind.BUSY: 6,
    Kind.UNAVAILABLE: 6,
    Kind.EXISTS: 7,
    Kind.VALUE_EXISTS: 7,
    Kind.CONFLICT: 7,
}


def exit_code(error: HazlinkError) -> int:
    """Return the exit code of a refusal."""
    return _EXIT.get(error.kind, 1)


def taught(name: str) -> str:
    """Return the help of a command: Chinese, then English."""
    return f"{text(f'node.cli.{name}', 'zh')}\n\n{text(f'node.cli.{name}', 'en')}"


def option(name: str) -> str:
    """Return the help of an option: Chinese, then English, on one line."""
    return f"{text(f'node.cli_options.{name}', 'zh')} / {text(f'node.cli_options.{name}', 'en')}"


Data = Annotated[
    Path, typer.Option("--data", "-d", envvar="HAZLINK_DATA", help=option("data"), show_default=True)
]
#: Where the data folder is when nothing says otherwise.
DATA = Path("hazlink-data")
Json = Annotated[bool, typer.Option("--json", help=option("json"))]
Quietly = Annotated[bool, typer.Option("--quiet", "-q", help=option("quiet"))]


@contextmanager
def at_node(data: Path) -> Iterator["Node"]:
    """Open the node of a data folder without serving; a running one may use the folder at the same time.

    Raises:
        NotFoundError: there is no node in that folder.
    """
    from node import logs
    from node.config import FILE_NAME, LogsConfig
    from node.settings import load
    from node.wiring import build
    from registry.clock import SystemClock

    if not (data / FILE_NAME).exists():
        raise NotFoundError("node.cli.no_node", field=str(data))
    logs.configure(LogsConfig(level="warning", format="text"))
    node = build(load(data), SystemClock())
    try:
        node.prepare()
        yield node
    finally:
        node.close()


def local_principal(node: "Node") -> "Principal":
    """Return whom the command line acts as: whoever may read the data folder administers what it holds."""
    from registry.principal import Grant, Principal, Role

    grants = frozenset(Grant(prefix, Role.ADMIN) for prefix in node.known_prefixes())
    return Principal(name=f"cli:{getpass.getuser()}", grants=grants)


def only_prefix(node: "Node", given: str | None) -> "Prefix":
    """Return the prefix that was named, or the only one there is.

    Raises:
        NotFoundError: none was named, and there is none or more than one.
    """
    from registry.identifier import Prefix

    if given:
        return Prefix.parse(given, field="prefix")
    known = node.known_prefixes()
    if len(known) != 1:
        told = ", ".join(prefix.key for prefix in known) or "-"
        raise NotFoundError("node.cli.which_prefix", field="--prefix", known=told)
    return known[0]


def say(name: str, /, **params: object) -> None:
    """Tell a person something, in Chinese and English."""
    typer.echo(text(f"node.cli_told.{name}", "zh", **params))
    typer.echo(text(f"node.cli_told.{name}", "en", **params))


def show(content: Any) -> None:
    """Write JSON for a program."""
    sys.stdout.buffer.write(orjson.dumps(content, option=orjson.OPT_INDENT_2, default=str) + b"\n")
    sys.stdout.buffer.flush()


def show_rows(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table for a person; each heading is a catalogue name, nothing is cut off, times are UTC."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in headings:
        names = (text(f"node.cli_columns.{heading}", language) for language in ("zh", "en"))
        table.add_column(" ".join(names), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(h, cell) for h, cell in zip(headings, row, strict=True)))
    Console().print(table)


def _cell(heading: str, cell: object) -> str:
    if heading in _TIMES and isinstance(cell, int):
        return datetime.fromtimestamp(cell, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return str(cell)
