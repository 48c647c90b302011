"""Commands about the exchange with other nodes: how it stands, what arrived, an alarm by hand."""

import secrets
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

__all__ = ["exchange"]

exchange = typer.Typer(no_args_is_help=True, help=taught("exchange"))

_Prefix = Annotated[str | None, typer.Option("--prefix", "-p", help=option("prefix"))]


@exchange.command("alarm", help=taught("exchange_alarm"))
def exchange_alarm(
    subject: Annotated[str, typer.Argument(help=option("alarm_subject"), show_default=False)],
    text: Annotated[str, typer.Argument(help=option("alarm_text"), show_default=False)],
    *,
    data: Data = DATA,
    grade: Annotated[int, typer.Option("--grade", min=1, max=4, help=option("grade"))] = 2,
    state: Annotated[str, typer.Option("--state", help=option("alarm_state"))] = "raised",
    number: Annotated[str | None, typer.Option("--id", help=option("alarm_id"))] = None,
    as_json: Json = False,
) -> None:
    from federation.content.notices import Alarm

    with at_node(data) as node:
        alarm = Alarm(
            id=number or secrets.token_hex(8),
            subject=subject,
            state=state,
            grade=grade,
            at=int(node.clock.now()),
            more={"text": text},
        )
        version = node.notices.send_alarm(alarm)
        if as_json:
            show({"id": alarm.id, "subject": subject, "version": version})
        else:
            say("alarm_waits", id=alarm.id)


@exchange.command("received", help=taught("exchange_received"))
def exchange_received(
    dataset: Annotated[str | None, typer.Argument(help=option("dataset"))] = None,
    *,
    data: Data = DATA,
    prefix: _Prefix = None,
    owner: Annotated[str | None, typer.Option("--owner", help=option("owner"))] = None,
    as_json: Json = False,
) -> None:
    from registry.identifier import Prefix

    with at_node(data) as node:
        who, where = local_principal(node), only_prefix(node, prefix)
        if dataset is None:
            counts = node.received.overview(who, where)
            if as_json:
                show(counts)
            else:
                show_rows(("dataset", "found"), sorted(counts.items()))
            return
        wanted = Prefix.parse(owner, field="owner") if owner else None
        found = node.received.entries(who, dataset, where, owner=wanted)
        if as_json:
            show(
                [
                    {
                        "owner": one.owner.key,
                        "key": one.key,
                        **one.entry.to_wire(),
                        "env": one.env,
                        "via": list(one.via),
                        "received_at": one.received_at,
                    }
                    for one in found
                ]
            )
        else:
            rows = [(o.received_at, o.owner.key, o.key, o.entry.version) for o in found]
            show_rows(("at", "owner", "key", "version"), rows)


@exchange.command("status", help=taught("exchange_status"))
def exchange_status(*, data: Data = DATA, as_json: Json = False) -> None:
    with at_node(data) as node:
        report = node.exchanging.status.report()
        stale = node.prefixes.revoking.stale()
    reasons = [
        {
            "level": one.level.value,
            "reason_zh": one.error.message("zh"),
            "reason_en": one.error.message("en"),
        }
        for one in report.reasons
    ]
    sending = [
        {
            "sender": one.state.lane.iss.key,
            "receiver": one.state.lane.aud.key,
            "stream": one.state.lane.stream,
            "epoch": one.state.epoch,
            "sent": one.state.next_seq - 1,
            "acknowledged": one.state.acked_seq,
            "rejected": one.state.rejected,
            "state": one.state.state,
            "failure": one.state.failure,
            "oldest_unsent_at": one.oldest_at,
        }
        for one in report.sending
    ]
    receiving = [
        {
            "sender": one.lane.iss,
            "receiver": one.lane.aud,
            "stream": one.lane.stream,
            "epoch": one.lane.epoch,
            "received": one.lane.next_seq - 1,
            "lag": one.lag,
            "silent": one.silent,
        }
        for one in report.receiving
    ]
    if as_json:
        level = report.level.value
        show(
            {
                "level": level,
                "reasons": reasons,
                "stale_revocations": list(stale),
                "sending": sending,
                "receiving": receiving,
                **report.numbers(),
            }
        )
    else:
        rows = [
            (o["sender"], o["receiver"], o["stream"], o["sent"], o["acknowledged"], o["failure"] or "")
            for o in sending
        ]
        show_rows(("sender", "receiver", "stream", "sent", "acknowledged", "failure"), rows)
        taken = [(o["sender"], o["receiver"], o["stream"], o["received"], o["lag"]) for o in receiving]
        show_rows(("sender", "receiver", "stream", "received", "lag"), taken)
        for one in reasons:
            typer.echo(f"{'✗' if one['level'] == 'red' else '!'} {one['reason_zh']}\n  {one['reason_en']}")
        for issuer in stale:
            say("revocations_stale", issuer=issuer)
        if not reasons and not stale:
            say("exchange_green")
    if report.level.value == "red":
        raise typer.Exit(6)
