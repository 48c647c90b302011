"""Commands of the ceremony in which a root gets its next version."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from node.cli.base import DATA, Data, Json, at_node, local_principal, show
from node.cli.keys import trust_help, trust_option, trust_say

if TYPE_CHECKING:
    from registry.trust.algorithms import PublicKey
    from registry.trust.ceremony import Ceremony
    from registry.trust.keys import KeyFolder
    from registry.trust.root import RootDocument

__all__ = ["root"]

_YEAR = 365 * 86_400

root = typer.Typer(no_args_is_help=True, help=trust_help("root"))

_File = Annotated[Path, typer.Argument(help=trust_option("opt_ceremony"), show_default=False)]
_Folder = Annotated[Path | None, typer.Option("--keys", help=trust_option("opt_folder"))]
_Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help=trust_option("opt_passphrase"), exists=True)
]


@root.command("key", help=trust_help("root_key"))
def root_key(
    folder: Annotated[Path, typer.Argument(help=trust_option("opt_folder"), show_default=False)],
    passphrase_file: _Passphrase = None,
    alg: Annotated[str, typer.Option("--alg", help=trust_option("opt_alg"))] = "Ed25519",
) -> None:
    """Make a root key in a folder of its own, and the file that says its public half."""
    signer = _keys(folder, passphrase_file).create(alg)
    public = folder / f"{signer.kid}.jwk.json"
    public.write_bytes(orjson.dumps({**signer.jwk, "alg": signer.alg, "kid": signer.kid}))
    trust_say("key_made", kid=signer.kid, file=public)


@root.command("propose", help=trust_help("root_propose"))
def root_propose(
    file: _File,
    data: Data = DATA,
    add: Annotated[
        list[Path] | None, typer.Option("--add", help=trust_option("opt_add"), exists=True)
    ] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help=trust_option("opt_remove"))] = None,
    threshold: Annotated[
        int | None, typer.Option("--threshold", min=1, help=trust_option("opt_threshold"))
    ] = None,
    alg: Annotated[list[str] | None, typer.Option("--alg", help=trust_option("opt_algs"))] = None,
    years: Annotated[float | None, typer.Option("--years", min=0.01, help=trust_option("opt_years"))] = None,
) -> None:
    """Write the file of a ceremony."""
    with at_node(data) as node:
        made = node.prefixes.rooting.propose(
            local_principal(node),
            add=[_public(path) for path in add or []],
            remove=remove or [],
            threshold=threshold,
            algs=alg,
            seconds=None if years is None else int(years * _YEAR),
        )
    _write(file, made, fresh=True)
    _tell(made)


@root.command("sign", help=trust_help("root_sign"))
def root_sign(
    file: _File, data: Data = DATA, folder: _Folder = None, passphrase_file: _Passphrase = None
) -> None:
    """Add signatures: of the keys in a folder, or of those that the node keeps."""
    made = _ceremony(file)
    if folder is None:
        with at_node(data) as node:
            made = node.prefixes.rooting.sign(made)
    else:
        made = _signed_with(made, _keys(folder, passphrase_file))
    _write(file, made)
    _tell(made)


@root.command("publish", help=trust_help("root_publish"))
def root_publish(file: _File, data: Data = DATA) -> None:
    """Put the next version in force."""
    with at_node(data) as node:
        anchor = node.prefixes.rooting.publish(local_principal(node), _ceremony(file))
        node.prefixes.upkeep()
    trust_say("root_published", ver=anchor.root.ver, anchor=anchor.fingerprint)


@root.command("show", help=trust_help("root_show"))
def root_show(
    file: Annotated[Path | None, typer.Argument(help=trust_option("opt_ceremony"), exists=True)] = None,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Show a ceremony, or every version of the root that the node trusts."""
    if file is not None:
        made = _ceremony(file)
        if as_json:
            show({"proposed": _form(made.successor), "progress": _progress(made)})
        else:
            _tell(made)
        return
    with at_node(data) as node:
        known = node.prefixes.rooting.roots()
    if as_json:
        show([_form(version) for version in known])
        return
    for version in known:
        _tell_root(version)


def _ceremony(file: Path) -> "Ceremony":
    from registry.errors import MalformedError
    from registry.trust.ceremony import read_ceremony

    try:
        return read_ceremony(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedError("node.cli_trust.unreadable", field=str(file), reason=str(error)) from error


def _write(file: Path, made: "Ceremony", *, fresh: bool = False) -> None:
    """Write the file whole or not at all; a proposal does not replace another one."""
    from registry.errors import ExistsError

    if fresh and file.exists():
        raise ExistsError("node.cli_trust.file_exists", field=str(file))
    waiting = file.with_name(f".{file.name}.new")
    waiting.write_text(made.text(), encoding="utf-8")
    waiting.replace(file)


def _signed_with(made: "Ceremony", keys: "KeyFolder") -> "Ceremony":
    from registry.errors import NotFoundError

    progress = made.progress()
    wanted = {*made.root.keys, *made.successor.keys}.difference(progress.old, progress.new)
    mine = [kid for kid in keys.kids() if kid in wanted]
    if not mine:
        raise NotFoundError("node.cli_trust.no_key_to_sign")
    for kid in mine:
        made = made.signed(keys.load(kid))
    return made


def _keys(folder: Path, passphrase_file: Path | None) -> "KeyFolder":
    from registry.trust.keys import KeyFolder

    return KeyFolder(folder, passphrase_file.read_bytes().strip() if passphrase_file else None)


def _public(path: Path) -> "PublicKey":
    from registry.trust import strict_json
    from registry.trust.algorithms import ALGORITHMS, admit
    from registry.trust.claims import Claims

    return admit(Claims(strict_json.loads(path.read_bytes())).content, tuple(ALGORITHMS))


def _progress(made: "Ceremony") -> dict[str, Any]:
    progress = made.progress()
    return {
        "old": list(progress.old),
        "old_needed": progress.old_needed,
        "new": list(progress.new),
        "new_needed": progress.new_needed,
        "complete": progress.is_complete,
    }


def _form(version: "RootDocument") -> dict[str, Any]:
    return {
        "ver": version.ver,
        "iat": version.iat,
        "exp": version.exp,
        "keys": list(version.keys),
        "threshold": version.threshold,
        "algs": list(version.algs),
    }


def _tell(made: "Ceremony") -> None:
    _tell_root(made.successor)
    told = _progress(made)
    trust_say(
        "progress",
        old=len(told["old"]),
        old_needed=told["old_needed"],
        new=len(told["new"]),
        new_needed=told["new_needed"],
    )
    if told["complete"]:
        trust_say("progress_complete")


def _tell_root(version: "RootDocument") -> None:
    trust_say(
        "root_version",
        ver=version.ver,
        threshold=version.threshold,
        count=len(version.keys),
        algs=", ".join(version.algs),
        keys="\n  ".join(version.keys),
    )
