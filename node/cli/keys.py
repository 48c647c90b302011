"""Commands about signing keys: which ones a prefix ever had, and which must not be believed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from node.cli.base import DATA, Data, Json, at_node, local_principal, show, show_rows
from registry.language import text

__all__ = ["keys", "trust_help", "trust_option", "trust_say"]


def trust_help(name: str) -> str:
    """Return the help of a command of this topic: Chinese, then English."""
    return f"{text(f'node.cli_trust.{name}', 'zh')}\n\n{text(f'node.cli_trust.{name}', 'en')}"


def trust_option(name: str) -> str:
    """Return the help of an option of this topic: Chinese, then English, on one line."""
    return f"{text(f'node.cli_trust.{name}', 'zh')} / {text(f'node.cli_trust.{name}', 'en')}"


def trust_say(name: str, /, **params: object) -> None:
    """Tell a person something of this topic, in Chinese and English."""
    typer.echo(text(f"node.cli_trust.{name}", "zh", **params))
    typer.echo(text(f"node.cli_trust.{name}", "en", **params))


keys = typer.Typer(no_args_is_help=True, help=trust_help("keys"))

_Prefix = Annotated[str, typer.Argument(help=trust_option("opt_prefix"), show_default=False)]


@keys.command("list", help=trust_help("keys_list"))
def keys_list(prefix: _Prefix, data: Data = DATA, as_json: Json = False) -> None:
    """Show every key a prefix ever had."""
    from registry.identifier import Prefix
    from registry.trust.historical import read_history

    with at_node(data) as node:
        token = node.prefixes.revoking.history(Prefix.parse(prefix, field="prefix"))
    found = read_history(token).keys if token else ()
    rows = [
        {
            "key": key.kid,
            "alg": key.alg,
            "use": key.use,
            "from": _day(key.iat),
            "to": _day(key.exp),
            "revoked": _day(key.revoked),
        }
        for key in found
    ]
    if as_json:
        show(rows)
        return
    trust_say("keys_of", prefix=prefix, count=len(rows))
    show_rows(("key", "state"), [(row["key"], _life(row)) for row in rows])


@keys.command("revoke", help=trust_help("keys_revoke"))
def keys_revoke(
    child: _Prefix,
    kid: Annotated[str, typer.Argument(help=trust_option("opt_kid"), show_default=False)],
    *,
    data: Data = DATA,
    reason: Annotated[str, typer.Option("--reason", help=trust_option("opt_reason"))],
    at: Annotated[str | None, typer.Option("--at", help=trust_option("opt_at"))] = None,
    last_good: Annotated[
        list[str] | None, typer.Option("--last-good", help=trust_option("opt_last_good"))
    ] = None,
) -> None:
    """Put a key on the revocation list."""
    from registry.identifier import Prefix

    with at_node(data) as node:
        made = node.prefixes.revoke_key(
            local_principal(node),
            Prefix.parse(child, field="prefix"),
            kid,
            reason=_reason(reason),
            at=_moment(at),
            last_good=_last_good(last_good or []),
        )
        trust_say("key_revoked", prefix=made.prefix, kid=kid, parent=made.parent)


@keys.command("export", help=trust_help("keys_export"))
def keys_export(
    prefix: _Prefix,
    file: Annotated[Path, typer.Argument(help=trust_option("opt_out"), show_default=False)],
    data: Data = DATA,
) -> None:
    """Write the revocation lists above a prefix into a file, each with the chain of its issuer."""
    from registry.identifier import Prefix

    with at_node(data) as node:
        lists, _ = node.prefixes.revoking.lists(Prefix.parse(prefix, field="prefix"))
        rows = [{"token": made.token, "chain": list(made.chain)} for made in lists]
    file.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    trust_say("lists_exported", count=len(rows), file=file)


@keys.command("take", help=trust_help("keys_take"))
def keys_take(
    file: Annotated[Path, typer.Argument(help=trust_option("opt_lists"), exists=True, show_default=False)],
    data: Data = DATA,
) -> None:
    """Take revocation lists in from a file, after verifying them."""
    from registry.errors import NotFoundError
    from registry.trust import strict_json
    from registry.trust.chain import verify_chain
    from registry.trust.claims import Claims

    with at_node(data) as node:
        anchor = node.prefixes.anchor()
        if anchor is None:
            raise NotFoundError("node.cli_trust.no_anchor")
        new = 0
        for row in map(Claims, strict_json.loads(file.read_bytes())):
            chain = [str(token) for token in row.array("chain", most=8)]
            above = verify_chain(chain, anchor=anchor, now=node.clock.now()) if chain else anchor
            new += node.prefixes.revoking.take(row.text("token", 262_144), above)
    trust_say("lists_taken", count=new, file=file)


def _reason(word: str) -> Any:
    from registry.errors import InvalidValueError
    from registry.trust.revocation import Reason

    try:
        return Reason(word)
    except ValueError:
        known = ", ".join(reason.value for reason in Reason)
        raise InvalidValueError(
            "node.cli_trust.reason_unknown", field="--reason", value=word, known=known
        ) from None


def _moment(said: str | None) -> int | None:
    """Read a moment with its zone, as POSIX seconds."""
    from registry.errors import InvalidValueError

    if said is None:
        return None
    try:
        made = datetime.fromisoformat(said)
    except ValueError:
        made = None
    if made is None or made.tzinfo is None:
        raise InvalidValueError("node.cli_trust.moment", field="--at", value=said)
    return int(made.timestamp())


def _last_good(said: list[str]) -> dict[str, Any]:
    """Read `stream=epoch/seq`, once for each stream."""
    from registry.errors import InvalidValueError
    from registry.trust.revocation import LastGood

    made = {}
    for row in said:
        stream, equals, place = row.partition("=")
        epoch, slash, seq = place.partition("/")
        if not (stream and equals and slash and epoch.isdecimal() and seq.isdecimal()):
            raise InvalidValueError("node.cli_trust.last_good", field="--last-good", value=row)
        made[stream] = LastGood(int(epoch), int(seq))
    return made


def _day(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _life(row: dict[str, Any]) -> str:
    life = f"{row['alg']} {row['use']} {row['from']} – {row['to'] or '…'}"
    return f"{life} revoked/已吊销 {row['revoked']}" if row["revoked"] else life
