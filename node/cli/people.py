"""Commands about people and systems."""

from typing import Annotated, Any

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
from registry.principal import Role

__all__ = ["accounts", "person", "system"]

person = typer.Typer(no_args_is_help=True, help=taught("person"))
system = typer.Typer(no_args_is_help=True, help=taught("system"))
accounts = typer.Typer(no_args_is_help=True, help=taught("accounts"))

_Name = Annotated[str, typer.Argument(help=option("account"), show_default=False)]
_Roles = Annotated[list[Role], typer.Option("--role", "-r", help=option("role"))]
_Prefix = Annotated[str | None, typer.Option("--prefix", "-p", help=option("prefix"))]


@person.command("add", help=taught("person_add"))
def person_add(
    name: _Name,
    *,
    data: Data = DATA,
    role: _Roles,
    password: Annotated[
        str,
        typer.Option(
            "--password", prompt=True, hide_input=True, confirmation_prompt=True, help=option("password")
        ),
    ],
) -> None:
    with at_node(data) as node:
        account = node.accounts.add_person(local_principal(node), name, password, role)
        say("account_added", name=account.name)


@person.command("password", help=taught("person_password"))
def person_password(
    name: _Name,
    *,
    data: Data = DATA,
    password: Annotated[
        str,
        typer.Option(
            "--password", prompt=True, hide_input=True, confirmation_prompt=True, help=option("password")
        ),
    ],
) -> None:
    with at_node(data) as node:
        node.accounts.set_password(local_principal(node), name, password)
        say("password_set", name=name)


@system.command("add", help=taught("system_add"))
def system_add(
    data: Data = DATA,
    name: Annotated[str | None, typer.Argument(help=option("system_name"))] = None,
    role: _Roles = [Role.ADMIN],  # noqa: B006 — read only, and shown in the help
    prefix: _Prefix = None,
    as_json: Json = False,
) -> None:
    from node.accounts.account import handle_pair

    with at_node(data) as node:
        wanted = name or handle_pair(only_prefix(node, prefix))
        account, secret = node.accounts.add_system(local_principal(node), wanted, role)
        _tell_secret(account.name, secret, as_json=as_json)


@system.command("renew", help=taught("system_renew"))
def system_renew(name: _Name, data: Data = DATA, as_json: Json = False) -> None:
    with at_node(data) as node:
        secret = node.accounts.renew_secret(local_principal(node), name)
        _tell_secret(name, secret, as_json=as_json)


@accounts.command("list", help=taught("accounts_list"))
def accounts_list(data: Data = DATA, prefix: _Prefix = None, as_json: Json = False) -> None:
    with at_node(data) as node:
        where = only_prefix(node, prefix)
        found = node.accounts.of_prefix(local_principal(node), where)
        rows: list[dict[str, Any]] = [
            {
                "name": account.name,
                "kind": account.kind.value,
                "enabled": account.enabled,
                "roles": sorted(grant.role.value for grant in account.grants),
            }
            for account in found
        ]
    if as_json:
        show(rows)
    else:
        show_rows(
            ("name", "kind", "enabled", "roles"),
            [(row["name"], row["kind"], row["enabled"], " ".join(row["roles"])) for row in rows],
        )


@accounts.command("disable", help=taught("accounts_disable"))
def accounts_disable(name: _Name, data: Data = DATA) -> None:
    with at_node(data) as node:
        account = node.accounts.set_enabled(local_principal(node), name, enabled=False)
        say("account_disabled", name=account.name)


@accounts.command("enable", help=taught("accounts_enable"))
def accounts_enable(name: _Name, data: Data = DATA) -> None:
    with at_node(data) as node:
        account = node.accounts.set_enabled(local_principal(node), name, enabled=True)
        say("account_enabled", name=account.name)


@accounts.command("roles", help=taught("accounts_roles"))
def accounts_roles(
    name: _Name,
    data: Data = DATA,
    role: Annotated[list[Role] | None, typer.Option("--role", "-r", help=option("role"))] = None,
    prefix: _Prefix = None,
) -> None:
    with at_node(data) as node:
        where = only_prefix(node, prefix)
        node.accounts.set_roles(local_principal(node), name, where, role or [])
        say("roles_set", name=name, prefix=where, roles=" ".join(role or []) or "-")


@accounts.command("events", help=taught("accounts_events"))
def accounts_events(data: Data = DATA, prefix: _Prefix = None, as_json: Json = False) -> None:
    with at_node(data) as node:
        found = node.accounts.events(local_principal(node), only_prefix(node, prefix))
    rows = [(event.at, event.who, event.action, event.name, event.detail) for event in found]
    headings = ("at", "who", "action", "name", "detail")
    if as_json:
        show([dict(zip(headings, row, strict=True)) for row in rows])
    else:
        show_rows(headings, rows)


def _tell_secret(name: str, secret: str, *, as_json: bool) -> None:
    if as_json:
        show({"name": name, "secret": secret})
    else:
        say("secret", name=name, secret=secret)
