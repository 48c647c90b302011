"""Commands that look: resolve and label."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.base import DATA, Data, Json, at_node, option, say, show, show_rows, taught
from node.config import FILE_NAME
from registry.errors import InvalidValueError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from node.wiring import Node
    from resolver.answer import Answer, Query

__all__ = ["register"]

_Identifier = Annotated[str, typer.Argument(help=option("identifier"), show_default=False)]
_TIMEOUT_SECONDS = 15.0
_OK = 200


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("resolve", help=taught("resolve"))(resolve)
    app.command("label", help=taught("label"))(label)


def resolve(
    identifier: _Identifier,
    data: Data = DATA,
    node: Annotated[str | None, typer.Option("--node", envvar="HAZLINK_NODE", help=option("node"))] = None,
    user: Annotated[str | None, typer.Option("--user", envvar="HAZLINK_USER", help=option("user"))] = None,
    secret: Annotated[
        str | None, typer.Option("--secret", envvar="HAZLINK_SECRET", help=option("user_secret"))
    ] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", help=option("certificate"))] = None,
    authoritative: Annotated[bool, typer.Option("--authoritative", help=option("authoritative"))] = False,
    as_json: Json = False,
) -> None:
    """Resolve an identifier by a running node, or by the node of the data folder."""
    from resolver.answer import Query

    query = Query(identifier, authoritative=authoritative, with_chain=True)
    url = node or _running(data)
    answer: Answer | None = None
    if url is not None:
        try:
            answer = _asked(url, query, user, secret, certificate)
        except UnavailableError:
            if node is not None:
                raise
    if answer is None:
        with at_node(data) as local:
            answer = asyncio.run(_resolved(local, query))
    if as_json:
        show(_form(answer))
    else:
        _print(answer)
    if answer.error is not None:
        raise answer.error
    if answer.outcome.name not in {"FOUND", "WITHDRAWN"}:
        raise typer.Exit(3)


def label(
    identifier: _Identifier,
    output: Annotated[Path, typer.Option("--output", "-o", help=option("label_file"))],
    data: Data = DATA,
    url: Annotated[str | None, typer.Option("--url", help=option("label_url"))] = None,
) -> None:
    """Draw the QR code of an identifier."""
    from registry.identifier import Identifier
    from resolver.label import draw_label, label_url

    target = Identifier.parse(identifier, field="identifier")
    base = url or _public_url(data)
    output.write_bytes(draw_label(target, base, output.suffix.lstrip(".").lower()))
    say("label", file=output, url=label_url(target, base))


def _public_url(data: Path) -> str:
    from node.settings import load

    if not (data / FILE_NAME).exists():
        raise InvalidValueError("node.cli.no_url", field="--url")
    settings = load(data)
    return settings.public_url


def _running(data: Path) -> str | None:
    """Return where the node of the data folder would listen."""
    from node.settings import load

    if not (data / FILE_NAME).exists():
        raise NotFoundError("node.cli.no_node", field=str(data))
    settings = load(data)
    return settings.local_url


async def _resolved(node: "Node", query: "Query") -> "Answer":
    try:
        return await node.resolver.resolve(query)
    finally:
        await node.disconnect()


def _asked(
    url: str, query: "Query", user: str | None, secret: str | None, certificate: Path | None
) -> "Answer":
    import ssl
    from urllib.parse import quote

    import httpx

    from proto import resolver_pb2 as pb
    from resolver.servicer_messages import answer_from_message

    message = pb.BatchResolveRequest(
        identifiers=[query.identifier], authoritative=query.authoritative, with_chain=query.with_chain
    )
    verify: ssl.SSLContext | bool = True
    if certificate is not None:
        verify = ssl.create_default_context(cafile=str(certificate))
    elif url.startswith(("https://127.0.0.1", "https://localhost", "https://[::1]")):
        # The node of this very machine, asked over loopback; its own certificate names the outside.
        verify = ssl._create_unverified_context()  # noqa: S323, SLF001 — loopback only
    auth = (quote(user, safe="/"), secret) if user and secret else None
    try:
        with httpx.Client(verify=verify, timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            response = client.post(
                f"{url.rstrip('/')}/resolver/v1/batch",
                content=message.SerializeToString(),
                headers={"content-type": "application/x-protobuf"},
                auth=auth or httpx.USE_CLIENT_DEFAULT,
            )
    except httpx.HTTPError as error:
        raise UnavailableError("node.cli.silent", field=url, reason=error) from error
    if response.status_code != _OK:
        raise UnavailableError(
            "node.cli.refused", field=url, status=response.status_code, body=response.text[:500]
        )
    return answer_from_message(pb.BatchResolveReply.FromString(response.content).replies[0])


def _form(answer: "Answer") -> dict[str, Any]:
    record = answer.record
    form: dict[str, Any] = {
        "identifier": answer.asked,
        "outcome": answer.outcome.name.lower(),
        "source": answer.source.name.lower(),
        "age": answer.age,
        "ttl": answer.ttl,
        "withheld": list(answer.withheld),
    }
    if record is not None:
        form |= {
            "registered": record.identifier.text,
            "kind": record.kind,
            "version": record.version,
            "values": [
                {"index": value.index, "type": value.type, "data": value.text or value.data.hex()}
                for value in record.values
            ],
        }
    if answer.tombstone is not None:
        form["tombstone"] = {
            "state": answer.tombstone.state,
            "reason": answer.tombstone.reason,
            "at": answer.tombstone.at,
            "replaced_by": list(answer.tombstone.replaced_by),
        }
    if answer.proof is not None:
        form["issuer"] = answer.proof.issuer.key
        form["chain"] = list(answer.proof.chain)
    if answer.error is not None:
        form["error"] = {
            "kind": answer.error.kind.value,
            "en": str(answer.error),
            "zh": answer.error.message("zh"),
        }
    return form


def _print(answer: "Answer") -> None:
    say(f"outcome_{answer.outcome.name.lower()}", identifier=answer.asked)
    if answer.error is None:
        say(f"source_{answer.source.name.lower()}", age=answer.age)
    if answer.tombstone is not None:
        told = answer.tombstone
        say("tombstone", reason=told.reason, by=told.by, replaced=" ".join(told.replaced_by) or "-")
    if answer.record is not None:
        rows = [
            (v.index, v.type, v.text if v.text is not None else v.data.hex()) for v in answer.record.values
        ]
        show_rows(("index", "type", "value"), rows)
    if answer.withheld:
        say("withheld", indexes=" ".join(str(index) for index in answer.withheld))
    if answer.proof is not None:
        say("issuer", issuer=answer.proof.issuer, tiers=len(answer.proof.chain))
