"""Commands about deposits and take-overs."""

from typing import Annotated

import typer

from node.cli.base import (
    DATA,
    Data,
    Json,
    at_node,
    local_principal,
    only_prefix,
    option,
    say,
    show,
    show_rows,
    taught,
)

__all__ = ["escrow"]

escrow = typer.Typer(no_args_is_help=True, help=taught("escrow"))

_Prefix = Annotated[str | None, typer.Option("--prefix", "-p", help=option("prefix"))]
_Owner = Annotated[str, typer.Argument(help=option("escrow_owner"), show_default=False)]


@escrow.command("held", help=taught("escrow_held"))
def escrow_held(*, data: Data = DATA, prefix: _Prefix = None, as_json: Json = False) -> None:
    with at_node(data) as node:
        found = node.takeovers.held(local_principal(node), only_prefix(node, prefix))
        rows = [
            {name: row[name] for name in ("owner", "rev", "kind", "records", "watermark", "at")}
            for row in found
        ]
    if as_json:
        show(rows)
    else:
        show_rows(
            ("owner", "rev", "kind", "records", "at"),
            [(r["owner"], r["rev"], r["kind"], r["records"], r["at"]) for r in rows],
        )


@escrow.command("deposit", help=taught("escrow_deposit"))
def escrow_deposit(*, data: Data = DATA, prefix: _Prefix = None) -> None:
    with at_node(data) as node:
        owner = only_prefix(node, prefix)
        node.takeovers.order(local_principal(node), owner)
        say("escrow_ordered", owner=owner)


@escrow.command("check", help=taught("escrow_check"))
def escrow_check(owner: _Owner, *, data: Data = DATA, as_json: Json = False) -> None:
    from registry.identifier import Prefix

    with at_node(data) as node:
        loaded = node.takeovers.check(local_principal(node), Prefix.parse(owner, field="owner"))
        _told("escrow_checked", owner, loaded.records, loaded.refused, as_json=as_json)


@escrow.command("takeover", help=taught("escrow_takeover"))
def escrow_takeover(
    owner: _Owner,
    reason: Annotated[str, typer.Option("--reason", help=option("escrow_reason"))],
    *,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    from registry.identifier import Prefix

    with at_node(data) as node:
        loaded = node.takeovers.begin(
            local_principal(node), Prefix.parse(owner, field="owner"), reason=reason
        )
        _told("escrow_taken", owner, loaded.records, loaded.refused, as_json=as_json)


@escrow.command("handback", help=taught("escrow_handback"))
def escrow_handback(owner: _Owner, *, data: Data = DATA) -> None:
    from registry.identifier import Prefix

    with at_node(data) as node:
        node.takeovers.end(local_principal(node), Prefix.parse(owner, field="owner"))
        say("escrow_handed_back", owner=owner)


def _told(name: str, owner: str, records: int, refused: int, *, as_json: bool) -> None:
    if as_json:
        show({"owner": owner, "records": records, "refused": refused})
    else:
        say(name, owner=owner, records=records, refused=refused)
