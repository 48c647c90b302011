"""Commands that keep a node safe: backup, restore, marks."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.base import DATA, Data, Json, Quietly, show
from registry.errors import NotFoundError
from registry.language import text

if TYPE_CHECKING:
    from node.backup.keys import KeyState
    from node.backup.manifest import Manifest
    from node.backup.storage import Tell

__all__ = ["register"]

#: Exit code where the node may not sign for a prefix before somebody did something.
_NOT_ALLOWED = 4
_TO_DO = frozenset({"foreign", "missing", "other"})


def _taught(name: str) -> str:
    return f"{text(f'node.backup.help_{name}', 'zh')}\n\n{text(f'node.backup.help_{name}', 'en')}"


def _option(name: str) -> str:
    return f"{text(f'node.backup.option_{name}', 'zh')} / {text(f'node.backup.option_{name}', 'en')}"


def _say(name: str, **params: object) -> None:
    typer.echo(text(f"node.backup.told_{name}", "zh", **params))
    typer.echo(text(f"node.backup.told_{name}", "en", **params))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("backup", help=_taught("backup"))(backup)
    app.command("restore", help=_taught("restore"))(restore)
    app.command("marks", help=_taught("marks"))(marks)


def backup(
    target: Annotated[Path, typer.Argument(help=_option("target"))],
    data: Data = DATA,
    quiet: Quietly = False,
    as_json: Json = False,
) -> None:
    """Write a backup while the node runs."""
    from node.backup.service import backup as write
    from node.config import FILE_NAME
    from node.settings import load
    from registry.clock import SystemClock

    if not (data / FILE_NAME).exists():
        raise NotFoundError("node.cli.no_node", field=str(data))
    with _progress(shown=not quiet) as tell:
        manifest = write(load(data), target, clock=SystemClock(), tell=tell)
    if as_json:
        show({"target": str(target.absolute()), **_described(manifest)})
        return
    _say(
        "backup",
        target=target.absolute(),
        length=manifest.length,
        tables=len(manifest.tables),
        rows=sum(manifest.tables.values()),
    )
    if manifest.log is not None:
        _say("log", origin=manifest.log.origin, size=manifest.log.size)


def restore(
    source: Annotated[Path, typer.Argument(help=_option("source"))],
    data: Data = DATA,
    database_url: Annotated[str, typer.Option("--database-url", help=_option("url"))] = "",
    dry: Annotated[bool, typer.Option("--dry-run", help=_option("dry"))] = False,
    quiet: Quietly = False,
    as_json: Json = False,
) -> None:
    """Fill an empty place from a backup."""
    from node.backup.service import restore as fill

    with _progress(shown=not quiet) as tell:
        done = fill(source, data, database_url=database_url, dry=dry, tell=tell)
    # the secrets are made where they are missing, and the database is that of the settings: only then it can be asked
    ready = not ({"keys", "secrets"} & set(done.missing)) and not (done.kept_settings and database_url)
    keys = _keys(data) if ready and not dry else []
    bad = any(one.state in _TO_DO for one in keys)
    if as_json:
        show(
            {
                "database": done.database,
                "dry_run": done.dry,
                "kept_settings": done.kept_settings,
                "missing": list(done.missing),
                "keys": [_told(one) for one in keys],
                **_described(done.manifest),
            }
        )
        raise typer.Exit(_NOT_ALLOWED if bad else 0)
    at = datetime.fromtimestamp(done.manifest.made_at, UTC).isoformat(timespec="seconds")
    rows = sum(done.manifest.tables.values())
    _say("dry" if done.dry else "restored", at=at, rows=rows, database=done.database)
    if done.kept_settings:
        _say("kept")
    if done.missing:
        _say("missing", names=", ".join(done.missing))
    for one in keys:
        _say(f"key_{one.state}", prefix=one.prefix.key, key=one.kid)
        if one.error is not None:
            typer.echo(one.error.message("zh"))
            typer.echo(one.error.message("en"))
    if not ready and not dry:
        _say("keys_later")
    if bad:
        raise typer.Exit(_NOT_ALLOWED)


def marks(
    data: Data = DATA,
    lost: Annotated[bool, typer.Option("--lost", help=_option("lost"))] = False,
    as_json: Json = False,
) -> None:
    """Show the mark file, or make a new one for one that is lost."""
    import os

    from federation.marks.content import INSTANCE_BYTES
    from federation.marks.file import FILE_NAME, MarkFile
    from node.config import FILE_NAME as SETTINGS_NAME

    if not (data / SETTINGS_NAME).exists():
        raise NotFoundError("node.cli.no_node", field=str(data))
    file = MarkFile(data / FILE_NAME)
    if lost:
        file.create(os.urandom(INSTANCE_BYTES), sure=False)
        if not as_json:
            _say("lost", path=file.path)
            return
    content = file.content()
    if as_json:
        show(
            {
                "path": str(file.path),
                "fence": content.fence,
                "sure": content.sure,
                "lanes": {name: [mark.epoch, mark.bound] for name, mark in content.lanes.items()},
                "checkpoints": {name: mark.size for name, mark in content.checkpoints.items()},
            }
        )
        return
    _say(
        "marks",
        path=file.path,
        fence=content.fence,
        lanes=len(content.lanes),
        checkpoints=len(content.checkpoints),
    )
    if not content.sure:
        _say("unsure")


def _keys(data: Path) -> "list[KeyState]":
    """Ask the superiors which keys they name, and look for those."""
    import asyncio

    from node.backup.keys import look_at_keys
    from node.cli.base import at_node

    with at_node(data) as node:

        async def ask() -> "list[KeyState]":
            try:
                return await look_at_keys(node.prefixes.homes, node.membership)
            finally:
                await node.disconnect()

        return asyncio.run(ask())


def _told(one: "KeyState") -> dict[str, Any]:
    said = None if one.error is None else {name: one.error.message(name) for name in ("zh", "en")}
    return {"prefix": one.prefix.key, "key": one.kid, "state": one.state, "said": said}


def _described(manifest: "Manifest") -> dict[str, Any]:
    log = manifest.log
    return {
        "made_at": manifest.made_at,
        "bytes": manifest.length,
        "kind": manifest.database,
        "revision": manifest.revision,
        "tables": dict(manifest.tables),
        "log": None if log is None else {"origin": log.origin, "size": log.size, "root": log.root.hex()},
    }


@contextmanager
def _progress(*, shown: bool) -> Iterator["Tell"]:
    """Show how far it is on standard error, where a person looks."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (shown and console.is_terminal)) as progress:
        task = progress.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield tell
