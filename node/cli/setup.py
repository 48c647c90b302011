"""Commands that make a node: init, settings, certificate."""

from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.base import DATA, Data, Json, at_node, option, say, show, taught
from registry.errors import ExistsError, HazlinkError

__all__ = ["register"]

_Address = Annotated[str | None, typer.Option("--http", help=option("http"), metavar="HOST:PORT")]
_Grpc = Annotated[str | None, typer.Option("--grpc", help=option("grpc"), metavar="HOST:PORT")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("init", help=taught("init"))(init)
    app.command("settings", help=taught("settings"))(settings)
    app.command("check", help=taught("check"))(check)


def init(
    data: Data = DATA,
    root: Annotated[bool, typer.Option("--root", help=option("root"))] = False,
    prefix: Annotated[str | None, typer.Option("--prefix", "-p", help=option("top_prefix"))] = None,
    http: _Address = None,
    grpc: _Grpc = None,
    public_url: Annotated[str | None, typer.Option("--public-url", help=option("public_url"))] = None,
    tls_name: Annotated[list[str] | None, typer.Option("--tls-self-signed", help=option("tls_name"))] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help=option("passphrase"))
    ] = None,
    database_url: Annotated[str | None, typer.Option("--database-url", help=option("database_url"))] = None,
    loopback_peers: Annotated[bool, typer.Option("--allow-loopback-peers", help=option("loopback"))] = False,
    as_json: Json = False,
) -> None:
    """Make the data folder, its settings and, for a top node, root and top prefix."""
    from node.config import FILE_NAME
    from node.settings import example

    if root != (prefix is not None):
        raise typer.BadParameter(option("root_and_prefix"))
    if (data / FILE_NAME).exists():
        raise ExistsError("node.cli.node_exists", field=str(data / FILE_NAME))
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    chosen = _chosen(http, grpc, public_url, passphrase_file, database_url, loopback_peers=loopback_peers)
    told: dict[str, Any] = {"data": str(data.absolute())}
    if tls_name:
        told["tls_x5t_s256"] = _certificate(data, tls_name, chosen)
    new = data / f".{FILE_NAME}.new"
    new.write_text(example(chosen), encoding="utf-8")
    try:
        new.replace(data / FILE_NAME)
        told |= _first(data, prefix)
    except HazlinkError:
        # Half a node is worse than none: the next try starts clean. Keys that were made stay.
        (data / FILE_NAME).unlink(missing_ok=True)
        raise
    if as_json:
        show(told)
        return
    say("node_made", data=told["data"])
    if "tls_x5t_s256" in told:
        say("pin", pin=told["tls_x5t_s256"])
    if prefix is not None:
        say("root_made", prefix=told["prefix"], anchor=told["anchor"])
        say("secret", name=told["admin"], secret=told["secret"])
    else:
        say("next_join")


def settings(
    data: Data = DATA,
    all_keys: Annotated[bool, typer.Option("--example", help=option("example"))] = False,
) -> None:
    """Show the settings in force, or every key there is."""
    from dataclasses import asdict, is_dataclass

    from node.settings import Settings, example, load

    if all_keys:
        typer.echo(example(), nl=False)
        return
    found = load(data)
    shown: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = getattr(found, name)
        shown[name] = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    if "@" in shown["storage"]["database_url"]:
        head, _, tail = shown["storage"]["database_url"].rpartition("@")
        shown["storage"]["database_url"] = f"{head.partition('//')[0]}//…@{tail}"
    show(shown)


def check(data: Data = DATA, as_json: Json = False) -> None:
    """Look at settings, database, keys and delegations without serving."""
    import asyncio

    with at_node(data) as node:
        message = node.health.to_message(asyncio.run(node.health.findings()))
    if as_json:
        show(message)
    else:
        for found in message["checks"]:  # type: ignore[attr-defined]  # a list of mappings, see Health
            mark = "✓" if found["ok"] else "✗"
            reason = "" if found["ok"] else f"  {found['reason_zh']}\n     {found['reason_en']}"
            typer.echo(f"{mark}  {found['name']}{reason}")
    if message["status"] != "ready":
        raise typer.Exit(6)


def _chosen(
    http: str | None,
    grpc: str | None,
    public_url: str | None,
    passphrase_file: Path | None,
    database_url: str | None,
    *,
    loopback_peers: bool,
) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name, address in (("http", http), ("grpc", grpc)):
        if address is not None:
            host, colon, port = address.rpartition(":")
            if not colon or not port.isdigit():
                raise typer.BadParameter(option("address_form"), param_hint=f"--{name}")
            chosen |= {f"doors.{name}_host": host.strip("[]"), f"doors.{name}_port": int(port)}
    if public_url is not None:
        chosen["doors.public_url"] = public_url.rstrip("/")
    if passphrase_file is not None:
        chosen["passphrase_file"] = str(passphrase_file.absolute())
    if database_url is not None:
        chosen["storage.database_url"] = database_url
    if loopback_peers:
        chosen["peers.allow_loopback_peers"] = True
    return chosen


def _certificate(data: Path, names: list[str], chosen: dict[str, Any]) -> str:
    from node.tls import make_self_signed
    from registry.clock import SystemClock

    files = make_self_signed(data, names=names, now=SystemClock().now())
    chosen["tls.certificate_file"] = str(files.certificate.relative_to(data))
    chosen["tls.private_key_file"] = str(files.private_key.relative_to(data))
    return files.x5t_s256


def _first(data: Path, prefix: str | None) -> dict[str, Any]:
    """Make the database, the mark file and, for a top node, root, top prefix and its Handle pair."""
    from federation.marks.content import INSTANCE_BYTES
    from node.accounts.account import handle_pair
    from registry.identifier import Prefix
    from registry.principal import Grant, Principal, Role

    with at_node(data) as node:
        marks = node.exchanging.mark_file
        # beside a database that was in use before, a new file would claim to know what it cannot
        if not marks.exists() and not node.exchanging.election.last_fence():
            marks.create(node.entropy(INSTANCE_BYTES))
        if prefix is None:
            return {}
        top = Prefix.parse(prefix, field="--prefix")
        # the log first: its key stands in the very first statement
        node.exchanging.logbook.open(top)
        node.prefixes.init_root(top, endpoints=node.endpoints(), who="cli:init")
        by = Principal(name="cli:init", grants=frozenset({Grant(top, Role.ADMIN)}))
        account, secret = node.accounts.add_system(by, handle_pair(top), [Role.ADMIN])
        anchor = node.prefixes.anchor()
        return {
            "prefix": top.key,
            "anchor": anchor.fingerprint if anchor else "",
            "admin": account.name,
            "secret": secret,
        }
