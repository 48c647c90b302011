"""Commands about prefixes: joining a superior, and what a superior does with those below it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from node.wiring import Node
    from registry.delegation import Contact, Delegation, Home
    from registry.identifier import Prefix

__all__ = ["handover", "register"]

handover = typer.Typer(no_args_is_help=True, help=taught("handover"))

_Child = Annotated[str, typer.Argument(help=option("child"), show_default=False)]
_Prefix = Annotated[str | None, typer.Option("--prefix", "-p", help=option("prefix"))]
_Reason = Annotated[str, typer.Option("--reason", help=option("reason"))]
_Name = Annotated[str, typer.Option("--name", help=option("holder"))]
_Contact = Annotated[str, typer.Option("--contact", help=option("contact"))]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("prefixes", help=taught("prefixes"))(prefixes)
    app.command("join", help=taught("join"))(join)
    app.command("invite", help=taught("invite"))(invite)
    app.command("requests", help=taught("requests"))(requests)
    app.command("approve", help=taught("approve"))(approve)
    app.command("refuse", help=taught("refuse"))(refuse)
    app.command("suspend", help=taught("suspend"))(suspend)
    app.command("resume", help=taught("resume"))(resume)
    app.command("revoke", help=taught("revoke"))(revoke)
    app.command("host", help=taught("host"))(host)
    app.command("rotate-key", help=taught("rotate_key"))(rotate_key)
    app.command("endpoints", help=taught("endpoints"))(endpoints)
    app.add_typer(handover, name="handover")


def prefixes(data: Data = DATA, as_json: Json = False) -> None:
    """Show what is homed here and what is delegated from here."""
    with at_node(data) as node:
        homes = [_home_row(home) for home in node.prefixes.homes.all()]
        below = [_delegation_row(made) for made in node.prefixes.homes.delegations()]
        anchor = node.prefixes.anchor()
    fingerprint = anchor.fingerprint if anchor else ""
    if as_json:
        show({"anchor": fingerprint, "homed": homes, "delegated": below})
        return
    say("anchor", anchor=fingerprint or "-")
    show_rows(("prefix", "origin", "state", "key"), [tuple(row.values())[:4] for row in homes])
    show_rows(("prefix", "parent", "state", "name", "expires"), [tuple(row.values()) for row in below])


def join(
    invitation: Annotated[str | None, typer.Argument(help=option("invitation"), show_default=False)] = None,
    data: Data = DATA,
    prefix: _Prefix = None,
    name: _Name = "",
    contact: _Contact = "",
    wait: Annotated[float, typer.Option("--wait", help=option("wait"))] = 0.0,
    as_json: Json = False,
) -> None:
    """Ask a superior for a prefix, or see how the request stands."""
    with at_node(data) as node:
        told = asyncio.run(_join(node, invitation, prefix, _contact(name, contact), wait))
    if as_json:
        show(told)
        return
    say(f"join_{told['state']}", prefix=told["prefix"], reason=told["reason"])
    if "secret" in told:
        say("secret", name=told["admin"], secret=told["secret"])
    if told["state"] == "refused":
        raise typer.Exit(4)


async def _join(
    node: "Node", invitation: str | None, prefix: str | None, who: "Contact", wait: float
) -> dict[str, Any]:
    from registry.identifier import Prefix

    try:
        told: dict[str, Any] = {}
        if invitation is None:
            home = await node.membership.poll(only_prefix(node, prefix))
        else:
            wanted = Prefix.parse(prefix, field="--prefix") if prefix else None
            home = await node.membership.join(
                invitation, prefix=wanted, endpoints=node.endpoints(), who=who, by=local_principal(node).name
            )
            told = _new_pair(node, home.prefix)
        until = node.clock.monotonic() + wait
        while home.state.value == "pending" and node.clock.monotonic() < until:
            await node.clock.sleep(1.0)
            home = await node.membership.poll(home.prefix)
        return {"prefix": home.prefix.key, "state": home.state.value, "reason": home.reason} | told
    finally:
        await node.disconnect()


def invite(
    child: Annotated[str | None, typer.Argument(help=option("child_or_none"), show_default=False)] = None,
    data: Data = DATA,
    parent: Annotated[str | None, typer.Option("--parent", help=option("parent"))] = None,
    hours: Annotated[int, typer.Option("--hours", help=option("hours"), min=1)] = 168,
    purpose: Annotated[str, typer.Option("--purpose", help=option("purpose"))] = "join",
    as_json: Json = False,
) -> None:
    """Write a one-time invitation."""
    from registry.delegation import Purpose
    from registry.identifier import Prefix

    with at_node(data) as node:
        prefix = Prefix.parse(child, field="child") if child else None
        above = prefix.parent if prefix and parent is None else None
        where = above or only_prefix(node, parent)
        form = node.endpoints()
        letter = node.prefixes.invite(
            local_principal(node),
            where,
            prefix,
            urls=tuple(form["resolve"]),
            tls_sha256=form.get("tls_x5t_s256"),
            ttl_seconds=hours * 3600,
            purpose=Purpose(purpose),
        )
    if as_json:
        show({"invitation": letter.to_text(), "parent": where.key, "expires": letter.expires})
    else:
        typer.echo(letter.to_text())


def requests(data: Data = DATA, parent: _Prefix = None, as_json: Json = False) -> None:
    """Show who asks for a prefix."""
    with at_node(data) as node:
        where = only_prefix(node, parent)
        found = node.prefixes.requests(local_principal(node), where)
    rows = [
        {"prefix": asked.prefix.key, "name": asked.who.name, "contact": asked.who.contact, "key": asked.kid}
        for asked in found
    ]
    if as_json:
        show(rows)
    else:
        show_rows(("prefix", "name", "contact", "key"), [tuple(row.values()) for row in rows])


def approve(child: _Child, data: Data = DATA) -> None:
    """Sign the delegation of a prefix that was asked for."""
    with at_node(data) as node:
        node.prefixes.approve(local_principal(node), _parsed(child))
        say("approved", prefix=child)


def refuse(
    child: _Child,
    data: Data = DATA,
    reason: _Reason = "other",
    remark: Annotated[str, typer.Option("--remark", help=option("remark"))] = "",
) -> None:
    """Refuse a request, with the reason told to whoever asked."""
    with at_node(data) as node:
        node.prefixes.refuse(local_principal(node), _parsed(child), reason=reason, remark=remark)
        say("refused", prefix=child)


def suspend(child: _Child, *, data: Data = DATA, reason: _Reason) -> None:
    """Take the rights of a delegated prefix away for a time."""
    with at_node(data) as node:
        node.prefixes.suspend(local_principal(node), _parsed(child), reason=reason)
        say("suspended", prefix=child)


def resume(child: _Child, data: Data = DATA, reason: _Reason = "") -> None:
    """Give the rights of a suspended prefix back."""
    with at_node(data) as node:
        node.prefixes.resume(local_principal(node), _parsed(child), reason=reason)
        say("resumed", prefix=child)


def revoke(child: _Child, *, data: Data = DATA, reason: _Reason) -> None:
    """Take the rights of a delegated prefix away for good."""
    with at_node(data) as node:
        node.prefixes.revoke(local_principal(node), _parsed(child), reason=reason)
        say("revoked", prefix=child)


def host(
    child: _Child, data: Data = DATA, name: _Name = "", contact: _Contact = "", as_json: Json = False
) -> None:
    """Home a small enterprise that runs no server: its own key, people and visibility, on this node."""
    with at_node(data) as node:
        home = node.prefixes.host(local_principal(node), _parsed(child), who=_contact(name, contact))
        told = {"prefix": home.prefix.key} | _new_pair(node, home.prefix)
    if as_json:
        show(told)
        return
    say("hosted", prefix=told["prefix"])
    if "secret" in told:
        say("secret", name=told["admin"], secret=told["secret"])


def rotate_key(
    data: Data = DATA,
    prefix: _Prefix = None,
    compromised: Annotated[bool, typer.Option("--compromised", help=option("compromised"))] = False,
) -> None:
    """Give a prefix a new signing key."""
    with at_node(data) as node:
        where = only_prefix(node, prefix)
        home = _online(
            node, node.membership.rotate_key(local_principal(node), where, compromised=compromised)
        )
        say("rotated", prefix=where, key=home.kid)


def endpoints(data: Data = DATA, prefix: _Prefix = None) -> None:
    """Put the public address and certificate of the settings into the delegation."""
    with at_node(data) as node:
        where, form = only_prefix(node, prefix), node.endpoints()
        _online(node, node.membership.change_endpoints(local_principal(node), where, form))
        say("endpoints_changed", prefix=where, url=" ".join(form["resolve"]))


@handover.command("close", help=taught("handover_close"))
def handover_close(prefix: _Child, data: Data = DATA) -> None:
    """Stop signing for a hosted prefix, ahead of its hand-over."""
    with at_node(data) as node:
        node.prefixes.close(local_principal(node), _parsed(prefix))
        say("closed", prefix=prefix)


@handover.command("reopen", help=taught("handover_reopen"))
def handover_reopen(prefix: _Child, data: Data = DATA) -> None:
    """Take a closing back."""
    with at_node(data) as node:
        node.prefixes.reopen(local_principal(node), _parsed(prefix))
        say("reopened", prefix=prefix)


@handover.command("export", help=taught("handover_export"))
def handover_export(
    prefix: _Child, file: Annotated[Path, typer.Argument(help=option("bundle"))], data: Data = DATA
) -> None:
    """Write the bundle of a hosted prefix."""
    with at_node(data) as node:
        found = node.prefixes.export_handover(local_principal(node), _parsed(prefix), file)
        say("exported", prefix=prefix, records=found.records, file=file)


@handover.command("accept", help=taught("handover_accept"))
def handover_accept(
    file: Annotated[Path, typer.Argument(help=option("bundle"), exists=True)], data: Data = DATA
) -> None:
    """Take a bundle in, on the enterprise's own node."""
    with at_node(data) as node:
        found = node.prefixes.accept_handover(local_principal(node), file)
        say("accepted", prefix=found.prefix, records=found.records)


def _online(node: "Node", asking: Any) -> Any:
    async def ask() -> Any:
        try:
            return await asking
        finally:
            await node.disconnect()

    return asyncio.run(ask())


def _new_pair(node: "Node", prefix: "Prefix") -> dict[str, Any]:
    """Make the Handle pair of a new prefix; nothing when it has one already."""
    from node.accounts.account import handle_pair
    from registry.errors import ExistsError
    from registry.principal import Role

    try:
        account, secret = node.accounts.add_system(local_principal(node), handle_pair(prefix), [Role.ADMIN])
    except ExistsError:
        return {}
    return {"admin": account.name, "secret": secret}


def _parsed(prefix: str) -> "Prefix":
    from registry.identifier import Prefix

    return Prefix.parse(prefix, field="prefix")


def _contact(name: str, contact: str) -> "Contact":
    from registry.delegation import Contact

    return Contact(name=name, contact=contact)


def _home_row(home: "Home") -> dict[str, Any]:
    return {
        "prefix": home.prefix.key,
        "origin": home.origin.value,
        "state": home.state.value,
        "key": home.kid,
        "reason": home.reason,
    }


def _delegation_row(made: "Delegation") -> dict[str, Any]:
    return {
        "prefix": made.prefix.key,
        "parent": made.parent.key,
        "state": made.state.value,
        "name": made.name,
        "expires": made.expires,
    }
