"""Commands about questions between nodes."""

from typing import TYPE_CHECKING, Annotated

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
    from federation.queries.service import Outcome

__all__ = ["query"]

query = typer.Typer(no_args_is_help=True, help=taught("query"))

_Prefix = Annotated[str | None, typer.Option("--prefix", "-p", help=option("prefix"))]


@query.command("ask", help=taught("query_ask"))
def query_ask(
    targets: Annotated[list[str], typer.Argument(help=option("targets"), show_default=False)],
    purpose: Annotated[str, typer.Option("--purpose", help=option("query_purpose"))],
    *,
    data: Data = DATA,
    subject: Annotated[list[str] | None, typer.Option("--subject", "-s", help=option("subject"))] = None,
    sort: Annotated[str, typer.Option("--sort", help=option("sort"))] = "records",
    life: Annotated[int, typer.Option("--life-seconds", min=1, help=option("life_seconds"))] = 3_600,
    prefix: _Prefix = None,
    as_json: Json = False,
) -> None:
    from federation.queries.forms import from_question
    from registry.identifier import Prefix

    with at_node(data) as node:
        made = node.queries.ask(
            local_principal(node),
            asker=only_prefix(node, prefix),
            targets=[Prefix.parse(text, field="targets") for text in targets],
            purpose=purpose,
            sort=sort,
            subjects=subject or (),
            life_seconds=life,
        )
        if as_json:
            show(from_question(made))
        else:
            say("query_asked", query=made.id)


@query.command("show", help=taught("query_show"))
def query_show(
    number: Annotated[str, typer.Argument(metavar="QUERY", help=option("query"), show_default=False)],
    *,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    from federation.queries.forms import from_outcome, from_question

    with at_node(data) as node:
        question, outcomes = node.queries.result(local_principal(node), number)
        if as_json:
            show({**from_question(question), "outcomes": [from_outcome(outcome) for outcome in outcomes]})
        else:
            show_rows(("prefix", "state", "at", "found"), [_row(outcome) for outcome in outcomes])


@query.command("list", help=taught("query_list"))
def query_list(*, data: Data = DATA, prefix: _Prefix = None, as_json: Json = False) -> None:
    from federation.queries.forms import from_question

    with at_node(data) as node:
        made = node.queries.asked(local_principal(node), only_prefix(node, prefix))
        if as_json:
            show([from_question(question) for question in made])
        else:
            rows = [(q.id, q.asked_at, q.person, q.purpose, q.expires) for q in made]
            show_rows(("query", "at", "who", "purpose", "expires"), rows)


@query.command("received", help=taught("query_received"))
def query_received(*, data: Data = DATA, prefix: _Prefix = None, as_json: Json = False) -> None:
    from federation.queries.forms import from_asked

    with at_node(data) as node:
        found = node.queries.received(local_principal(node), only_prefix(node, prefix))
        if as_json:
            show([from_asked(asked) for asked in found])
        else:
            rows = [
                (a.at, a.question.asker.key, a.question.person, a.question.purpose, a.status or "waiting")
                for a in found
            ]
            show_rows(("at", "asker", "who", "purpose", "state"), rows)


def _row(outcome: "Outcome") -> tuple[object, ...]:
    answer = outcome.answer
    found = len(answer.content.get("records", ())) if answer is not None else ""
    return (outcome.prefix.key, outcome.status.value, answer.answered_at if answer else "", found)
