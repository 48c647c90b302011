"""Commands that run: serve, worker, bench, demo."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.base import DATA, Data, option, say, show, taught
from node.config import FILE_NAME
from registry.errors import NotFoundError

if TYPE_CHECKING:
    from node.serving import Ready

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("serve", help=taught("serve"))(serve)
    app.command("worker", hidden=True)(worker)
    app.command(
        "bench",
        help=taught("bench"),
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(bench)
    app.command("demo", help=taught("demo"))(demo)


def serve(
    data: Data = DATA,
    workers: Annotated[int | None, typer.Option("--workers", help=option("workers"), min=1, max=64)] = None,
    http_port: Annotated[int | None, typer.Option("--http-port", help=option("http_port"))] = None,
    grpc_port: Annotated[int | None, typer.Option("--grpc-port", help=option("grpc_port"))] = None,
    as_json: Annotated[bool, typer.Option("--json", help=option("ready_json"))] = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    from node.serving import serve as run
    from node.settings import load
    from registry.clock import SystemClock

    if not (data / FILE_NAME).exists():
        raise NotFoundError("node.cli.no_node", field=str(data))
    doors: dict[str, object] = {
        name: value
        for name, value in (("workers", workers), ("http_port", http_port), ("grpc_port", grpc_port))
        if value is not None
    }
    given = {"doors": doors} if doors else {}

    def tell(ready: "Ready") -> None:
        if as_json:
            show({"prefixes": list(ready.prefixes), "http": ready.http, "grpc": ready.grpc})
        else:
            say("ready", prefixes=" ".join(ready.prefixes) or "-", http=ready.http, grpc=ready.grpc)

    run(load(data, **given), clock=SystemClock(), given=given, on_ready=tell)
    if not as_json:
        say("stopped")


def worker() -> None:
    """Answer beside the first process; started by it, never by hand."""
    from node.serving import work
    from registry.clock import SystemClock

    line = sys.stdin.buffer.readline()
    if not line:
        raise NotFoundError("node.cli.worker")
    work(line, clock=SystemClock())


def bench(
    context: typer.Context, name: Annotated[str | None, typer.Argument(help=option("bench"))] = None
) -> None:
    """Measure something beside its floor in the same run."""
    import runpy
    from importlib.util import find_spec

    if find_spec("tests.bench") is None:
        raise NotFoundError("node.cli.no_benches")
    folder = Path(str(find_spec("tests.bench").origin)).parent  # type: ignore[union-attr]  # found just above
    known = sorted(
        file.stem.replace("_", "-")
        for file in folder.glob("*.py")
        if not file.stem.startswith(("_", "test_"))
    )
    if name is None or name not in known:
        say("benches", names=" ".join(known))
        raise typer.Exit(0 if name is None else 2)
    sys.argv = [f"hazlink bench {name}", *context.args]
    runpy.run_module(f"tests.bench.{name.replace('-', '_')}", run_name="__main__")


def demo(
    once: Annotated[bool, typer.Option("--once", help=option("once"))] = False,
    data: Annotated[Path | None, typer.Option("--data", help=option("demo_data"))] = None,
    base_port: Annotated[int, typer.Option("--base-port", help=option("base_port"))] = 8800,
    json_file: Annotated[Path | None, typer.Option("--json", help=option("demo_json"))] = None,
) -> None:
    """Run four real nodes on this machine through the whole story."""
    from importlib import import_module

    story: Any = import_module("node.demo")
    raise typer.Exit(story.run_demo(once=once, data=data, base_port=base_port, json_file=json_file))
