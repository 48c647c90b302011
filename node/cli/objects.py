"""Commands about records: registering, importing, changing, finding."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.base import (
    DATA,
    Data,
    Json,
    Quietly,
    at_node,
    local_principal,
    only_prefix,
    option,
    say,
    show,
    show_rows,
    taught,
)
from registry.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.importing.service import ImportSummary, Progress
    from registry.results import Result

__all__ = ["register"]

_Identifier = Annotated[str, typer.Argument(help=option("identifier"), show_default=False)]
_Fields = Annotated[
    list[str] | None, typer.Option("--field", "-f", help=option("field"), metavar="NAME=VALUE")
]
_Prefix = Annotated[str | None, typer.Option("--prefix", "-p", help=option("prefix"))]
_Limit = Annotated[int, typer.Option("--limit", help=option("limit"), min=1, max=1000)]
_Reason = Annotated[str, typer.Option("--reason", help=option("reason"))]
_Replaced = Annotated[list[str] | None, typer.Option("--replaced-by", help=option("replaced_by"))]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("register", help=taught("register"))(register_one)
    app.command("import", help=taught("import"))(import_)
    app.command("set", help=taught("set"))(set_values)
    app.command("withdraw", help=taught("withdraw"))(withdraw)
    app.command("delete", help=taught("delete"))(delete)
    app.command("list", help=taught("list"))(list_)
    app.command("search", help=taught("search"))(search)
    app.command("history", help=taught("history"))(history)


def register_one(
    identifier: _Identifier,
    data: Data = DATA,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help=option("kind"))] = None,
    field: _Fields = None,
    replace: Annotated[bool, typer.Option("--replace", help=option("replace"))] = False,
    as_json: Json = False,
) -> None:
    """Register one object."""
    from registry.record import Draft
    from registry.results import IfPresent

    draft = Draft(identifier=identifier, kind=kind, fields=_pairs(field))
    with at_node(data) as node:
        if_present = IfPresent.REPLACE if replace else IfPresent.CONFIRM
        result = node.registry.register(local_principal(node), draft, if_present=if_present)
    _told(result, as_json=as_json)


def import_(
    file: Annotated[Path, typer.Argument(help=option("file"), exists=True, dir_okay=False)],
    data: Data = DATA,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=option("dry_run"))] = False,
    replace: Annotated[bool, typer.Option("--replace", help=option("replace"))] = False,
    report: Annotated[Path | None, typer.Option("--report", help=option("report"))] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help=option("encoding"))] = None,
    catalogue: Annotated[
        str | None, typer.Option("--catalogue", help=option("catalogue"), metavar="PREFIX")
    ] = None,
    quiet: Quietly = False,
    as_json: Json = False,
) -> None:
    """Import many objects from a CSV, NDJSON or JSON file."""
    from registry.identifier import Prefix
    from registry.importing.catalogue import CatalogueRows
    from registry.importing.service import import_file
    from registry.results import IfPresent

    beside = report or file.with_name(f"{file.name}.report.csv")
    with at_node(data) as node, _bar(quiet=quiet or as_json) as on_progress:
        summary = import_file(
            node.registry,
            local_principal(node),
            file,
            dry_run=dry_run,
            report_path=beside,
            state_path=data / "import" / f"{file.name}.state",
            on_progress=on_progress,
            if_present=IfPresent.REPLACE if replace else IfPresent.CONFIRM,
            mapping=CatalogueRows(Prefix.parse(catalogue, field="--catalogue")) if catalogue else None,
            encoding=encoding,
        )
    _summed(summary, beside, as_json=as_json)


def set_values(
    identifier: _Identifier,
    data: Data = DATA,
    field: _Fields = None,
    remove: Annotated[
        list[int] | None, typer.Option("--remove", help=option("remove"), metavar="INDEX")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set fields of a record, or remove single values."""
    from registry.identifier import Identifier

    if not field and not remove:
        raise MalformedError("node.cli.nothing_to_set", field="--field")
    with at_node(data) as node:
        who, target = local_principal(node), Identifier.parse(identifier, field="identifier")
        result: Result | None = None
        if field:
            result = node.registry.set_values(who, target, fields=_pairs(field))
        if remove:
            result = node.registry.remove_values(who, target, remove)
    if result is not None:
        _told(result, as_json=as_json)


def withdraw(
    identifier: _Identifier,
    *,
    data: Data = DATA,
    reason: _Reason,
    replaced_by: _Replaced = None,
    as_json: Json = False,
) -> None:
    """Take an object out of use; it goes on resolving, marked."""
    with at_node(data) as node:
        end = node.registry.withdraw
        result = end(local_principal(node), identifier, reason=reason, replaced_by=tuple(replaced_by or ()))
    _told(result, as_json=as_json)


def delete(
    identifier: _Identifier,
    *,
    data: Data = DATA,
    reason: _Reason,
    replaced_by: _Replaced = None,
    as_json: Json = False,
) -> None:
    """Delete a record; its tombstone answers for ever."""
    with at_node(data) as node:
        end = node.registry.delete
        result = end(local_principal(node), identifier, reason=reason, replaced_by=tuple(replaced_by or ()))
    _told(result, as_json=as_json)


def list_(
    data: Data = DATA,
    prefix: _Prefix = None,
    after: Annotated[str | None, typer.Option("--after", help=option("after"))] = None,
    limit: _Limit = 100,
    as_json: Json = False,
) -> None:
    """List the identifiers of a prefix."""
    with at_node(data) as node:
        where = only_prefix(node, prefix)
        page = node.registry.list(local_principal(node), where, after=after, limit=limit)
        total = node.registry.count(local_principal(node), where)
    found = [identifier.text for identifier in page.identifiers]
    if as_json:
        show({"prefix": where.key, "total": total, "identifiers": found, "next": page.next})
        return
    for identifier in found:
        typer.echo(identifier)
    say("listed", shown=len(found), total=total, next=page.next or "-")


def search(
    pattern: Annotated[list[str], typer.Argument(help=option("pattern"), metavar="TYPE=PATTERN...")],
    data: Data = DATA,
    prefix: _Prefix = None,
    limit: _Limit = 100,
    as_json: Json = False,
) -> None:
    """Find identifiers by their values."""
    from registry.identifier import Prefix

    with at_node(data) as node:
        where = Prefix.parse(prefix, field="--prefix") if prefix else None
        page = node.registry.search(local_principal(node), _pairs(pattern), prefix=where, limit=limit)
    found = [identifier.text for identifier in page.identifiers]
    if as_json:
        show({"identifiers": found, "next": page.next})
        return
    for identifier in found:
        typer.echo(identifier)
    if not found:
        say("nothing_found")
        raise typer.Exit(3)


def history(identifier: _Identifier, data: Data = DATA, limit: _Limit = 100, as_json: Json = False) -> None:
    """Show who changed a record, when, before and after."""
    from registry.identifier import Identifier

    with at_node(data) as node:
        target = Identifier.parse(identifier, field="identifier")
        entries = node.registry.history(local_principal(node), target, limit=limit)
    if as_json:
        show([entry.to_form() for entry in entries])
        return
    rows = [
        (entry.at, entry.who, entry.action, entry.after.version if entry.after else "-") for entry in entries
    ]
    show_rows(("at", "who", "action", "version"), rows)


def _pairs(given: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise MalformedError("node.cli.pair", field="--field", value=item)
        pairs[name.strip()] = value
    return pairs


def _told(result: "Result", *, as_json: bool) -> None:
    if as_json:
        show({"identifier": result.identifier, "done": result.done.name.lower(), "version": result.version})
    else:
        say(f"done_{result.done.name.lower()}", identifier=result.identifier, version=result.version)


def _bar(*, quiet: bool) -> Any:
    """Return a context that gives a progress callback: a bar on a terminal, nothing when quiet."""
    from contextlib import contextmanager, nullcontext

    if quiet or not sys.stderr.isatty():
        return nullcontext(None)

    @contextmanager
    def drawn() -> "Iterator[Any]":
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import (
            Progress as Bar,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("✗ {task.fields[refused]}  ! {task.fields[warnings]}"),
        )
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("import", total=None, refused=0, warnings=0)

            def on_progress(seen: "Progress") -> None:
                bar.update(
                    task, completed=seen.line, total=seen.lines, refused=seen.refused, warnings=seen.warnings
                )

            yield on_progress

    return drawn()


def _summed(summary: "ImportSummary", report: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        show(asdict(summary) | {"report": str(report)})
    else:
        say("imported_dry" if summary.dry_run else "imported", report=report, **asdict(summary))
    if summary.refused:
        raise typer.Exit(5)
