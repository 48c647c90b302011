"""Commands about the log and the evidence that stands on it."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.base import DATA, Data, Json, at_node, option, say, show, show_rows, taught

__all__ = ["log"]

log = typer.Typer(no_args_is_help=True, help=taught("log"))


@log.command("status", help=taught("log_status"))
def log_status(*, data: Data = DATA, as_json: Json = False) -> None:
    from dataclasses import asdict

    with at_node(data) as node:
        state = asdict(node.log.state())
        if as_json:
            show(state)
        else:
            show_rows(
                ("name", "value"), [(name, "" if value is None else value) for name, value in state.items()]
            )


@log.command("fsck", help=taught("log_fsck"))
def log_fsck(*, data: Data = DATA, as_json: Json = False) -> None:
    from rich.progress import Progress

    with at_node(data) as node, Progress(disable=as_json, transient=True) as bars:
        task = bars.add_task("fsck", total=None)
        report = node.check_log(lambda done, of: bars.update(task, completed=done, total=of))
    findings = [
        {"where": one.where, "reason_zh": one.message("zh"), "reason_en": one.message("en")}
        for one in report.findings
    ]
    if as_json:
        show({"good": not findings, "leaves": report.leaves, "findings": findings})
    else:
        for one in findings:
            typer.echo(f"✗ {one['where']}: {one['reason_zh']}\n  {one['reason_en']}", err=True)
        if not findings:
            say("log_good", leaves=report.leaves)
    if findings:
        raise typer.Exit(1)


# the hash of an envelope may begin with a dash
@log.command("prove", help=taught("log_prove"), context_settings={"ignore_unknown_options": True})
def log_prove(
    envelope: Annotated[str, typer.Argument(help=option("envelope"), show_default=False)],
    *,
    data: Data = DATA,
    out: Annotated[Path | None, typer.Option("--out", "-o", help=option("evidence_file"))] = None,
) -> None:
    from federation.evidence import verifier

    with at_node(data) as node:
        made = node.exporter.export(envelope)
        anchor = node.prefixes.anchor()
    file = out or Path(f"{envelope}.evidence.json")
    file.write_bytes(made.data)
    fingerprint = anchor.fingerprint if anchor else ""
    say("evidence_made", file=file, anchor=fingerprint)
    # what a court will be told: also that no witness has seen it yet
    finding = verifier.verify(made.data, fingerprint)
    if not finding.holds:
        typer.echo(f"{finding.text('zh')}\n{finding.text('en')}", err=True)
        raise typer.Exit(1)


@log.command("verify", help=taught("log_verify"))
def log_verify(
    file: Annotated[Path, typer.Argument(help=option("evidence_file"), show_default=False)],
    *,
    anchor: Annotated[str | None, typer.Option("--anchor", help=option("evidence_anchor"))] = None,
    as_json: Json = False,
) -> None:
    from federation.evidence import verifier

    # one word: a fingerprint may begin with a dash
    words = [str(file), *((f"--anchor={anchor}",) if anchor else ()), *(("--json",) if as_json else ())]
    raise typer.Exit(verifier.main(words))


@log.command("verifier", help=taught("log_verifier"))
def log_verifier(
    to: Annotated[Path, typer.Argument(help=option("verifier_file"), show_default=True)] = Path(
        "hazlink-verifier.py"
    ),
) -> None:
    from federation.evidence import verifier

    to.write_bytes(Path(verifier.__file__).read_bytes())
    say("verifier_written", file=to)


@log.command("prune", help=taught("log_prune"))
def log_prune(
    before: Annotated[int, typer.Argument(help=option("prune_before"), show_default=False)],
    *,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    from dataclasses import asdict

    from federation.log.pruning import prune

    with at_node(data) as node:
        done = prune(node.exchanging.database, before=before, clock=node.clock)
    if as_json:
        show(asdict(done))
    else:
        say("log_pruned", minimum=done.minimum)
