"""The command line, `hazlink`.

Every command imports what it needs when it runs, so that `--help` is there at once.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from node.cli import (
    backup,
    escrow,
    exchange,
    joining,
    keys,
    log,
    looking,
    objects,
    people,
    query,
    root,
    running,
    setup,
)
from node.cli.base import exit_code, option, taught
from registry.errors import HazlinkError

__all__ = ["app", "main"]

app = typer.Typer(
    name="hazlink",
    help=taught("hazlink"),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"hazlink {version('hazlink')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda wanted: _version(wanted=wanted),
            is_eager=True,
            help=option("version"),
        ),
    ] = False,
) -> None: ...


for _module in (setup, running, joining, objects, looking, backup):
    _module.register(app)
app.add_typer(people.person, name="person")
app.add_typer(people.system, name="system")
app.add_typer(people.accounts, name="accounts")
app.add_typer(root.root, name="root")
app.add_typer(keys.keys, name="keys")
app.add_typer(exchange.exchange, name="exchange")
app.add_typer(log.log, name="log")
app.add_typer(query.query, name="query")
app.add_typer(escrow.escrow, name="escrow")


def main() -> None:
    """Run the command line; see `node.cli.base` for the exit codes."""
    try:
        app()
    except HazlinkError as error:
        typer.echo(f"✗ {error.message('zh')}\n  {error.message('en')}", err=True)
        sys.exit(exit_code(error))
