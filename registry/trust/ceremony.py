"""The ceremony in which a root gets its successor: one file that goes from keyholder to keyholder.

The file carries the root in force, the payload of its successor, and the signatures gathered so far, so that each
keyholder sees and checks what is signed on a machine that knows nothing else. It also carries the next statement
about the top prefix, which the first new key signs: where no new key lives on the node, the top prefix would
otherwise stand without a statement that holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from registry.errors import ExistsError, InvalidValueError, MalformedError, UntrustedError
from registry.trust import jws, strict_json
from registry.trust.algorithms import PublicKey
from registry.trust.claims import Claims
from registry.trust.encoding import b64u, from_b64u
from registry.trust.keys import Signer
from registry.trust.root import ROOT_TYPE, RootDocument, read_draft, read_root
from registry.trust.statement import read, sign_draft

__all__ = ["CEREMONY_TYPE", "Ceremony", "Progress", "read_ceremony"]

CEREMONY_TYPE = "hazlink-root-ceremony/v1"
_MAX_CHARACTERS = 262_144
_MAX_TEXT = 131_072
_MAX_SIGNATURES = 64
_MEMBERS = frozenset({"type", "root", "payload", "signatures", "top", "statement"})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a ceremony is.

    Attributes:
        old: thumbprints of the keys in force that signed.
        old_needed: how many of them must.
        new: thumbprints of the new keys that signed.
        new_needed: how many of them must.
    """

    old: tuple[str, ...]
    old_needed: int
    new: tuple[str, ...]
    new_needed: int

    @property
    def is_complete(self) -> bool:
        """Whether both thresholds are met."""
        return len(self.old) >= self.old_needed and len(self.new) >= self.new_needed


@dataclass(frozen=True, slots=True)
class Ceremony:
    """A successor on its way.

    Attributes:
        root: the version in force.
        payload: of the successor.
        signatures: protected header and signature, both base64url, one for each keyholder so far.
        top: payload of the next statement about the top prefix; None when the node signs it itself.
        statement: `top`, signed by a new key.
    """

    root: RootDocument
    payload: bytes
    signatures: tuple[tuple[str, str], ...] = ()
    top: bytes | None = None
    statement: str | None = None

    @property
    def successor(self) -> RootDocument:
        """The successor, signed or not.

        Raises:
            UntrustedError: its payload breaks the syntax.
        """
        return read_draft(self.payload)

    def progress(self) -> Progress:
        """Say whose signatures are there; each was verified.

        Raises:
            UntrustedError: a signature does not fit.
        """
        successor, kids = self.successor, self._kids()
        return Progress(
            old=tuple(kid for kid in self.root.keys if kid in kids),
            old_needed=self.root.threshold,
            new=tuple(kid for kid in successor.keys if kid in kids),
            new_needed=successor.threshold,
        )

    def signed(self, signer: Signer) -> "Ceremony":
        """Return the ceremony with one more signature.

        Raises:
            InvalidValueError: the key is neither in the version in force nor in its successor.
            ExistsError: the key has signed already.
        """
        successor = self.successor
        if signer.kid not in self.root.keys and signer.kid not in successor.keys:
            raise InvalidValueError("registry.trust.ceremony_stranger", field="kid", kid=signer.kid)
        if signer.kid in self._kids():
            raise ExistsError("registry.trust.ceremony_signed", field="kid", kid=signer.kid)
        protected, _, signature = jws.sign(signer, ROOT_TYPE, self.payload).split(".")
        made = replace(self, signatures=(*self.signatures, (protected, signature)))
        if self.top is not None and self.statement is None and signer.kid in successor.keys:
            made = replace(made, statement=sign_draft(signer, self.top))
        return made

    def document(self) -> str:
        """Return the successor in the form in which it is published.

        Raises:
            InvalidValueError: a signature is still missing.
        """
        progress = self.progress()
        if not progress.is_complete:
            raise InvalidValueError(
                "registry.trust.ceremony_incomplete",
                field="signatures",
                old=len(progress.old),
                old_needed=progress.old_needed,
                new=len(progress.new),
                new_needed=progress.new_needed,
            )
        return self._general()

    def text(self) -> str:
        """Return the file."""
        content = {
            "type": CEREMONY_TYPE,
            "root": self.root.text,
            "payload": b64u(self.payload),
            "signatures": [{"protected": one, "signature": other} for one, other in self.signatures],
            "top": None if self.top is None else b64u(self.top),
            "statement": self.statement,
        }
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()

    def _general(self) -> str:
        rows = [{"protected": one, "signature": other} for one, other in self.signatures]
        return orjson.dumps({"payload": b64u(self.payload), "signatures": rows}).decode()

    def _kids(self) -> frozenset[str]:
        """Return who signed; every signature is verified, one by a stranger refuses the file."""
        if not self.signatures:
            return frozenset()
        known: Mapping[str, PublicKey] = {**self.root.keys, **self.successor.keys}
        kids: list[str] = []
        for parsed in jws.parse_general(self._general(), typ=ROOT_TYPE):
            key = known.get(parsed.kid)
            if key is None or parsed.kid in kids:
                raise UntrustedError("registry.trust.ceremony_stranger", field="signatures", kid=parsed.kid)
            jws.verify(parsed, key)
            kids.append(parsed.kid)
        return frozenset(kids)


def read_ceremony(text: str) -> Ceremony:
    """Read the file, and check every signature in it.

    Raises:
        MalformedError: it is not such a file, or too large.
        UntrustedError: the root in it does not hold, a signature does not fit, the successor does not follow the
            root, or the statement is not the one proposed, signed by a new key.
    """
    if len(text) > _MAX_CHARACTERS:
        raise MalformedError("registry.trust.claim_type", field="file", right=f"text (1–{_MAX_CHARACTERS})")
    content = strict_json.loads(text.encode("utf-8", "surrogatepass"))
    claims = Claims(content)
    if set(claims.content) != _MEMBERS or claims.text("type") != CEREMONY_TYPE:
        raise MalformedError("registry.trust.claim_type", field="type", right=CEREMONY_TYPE)
    rows = [Claims(row, at="signatures") for row in claims.array("signatures", most=_MAX_SIGNATURES)]
    made = Ceremony(
        root=read_root(claims.text("root", _MAX_TEXT)),
        payload=_bytes(claims, "payload"),
        signatures=tuple((row.text("protected"), row.text("signature")) for row in rows),
        top=None if claims.get("top") is None else _bytes(claims, "top"),
        statement=claims.optional_text("statement", _MAX_TEXT),
    )
    successor = made.successor
    if successor.ver != made.root.ver + 1:
        raise UntrustedError(
            "registry.trust.root_version", field="ver", value=successor.ver, right=made.root.ver + 1
        )
    made.progress()
    if made.statement is not None:
        _check_statement(made, successor)
    return made


def _check_statement(made: Ceremony, successor: RootDocument) -> None:
    statement = read(made.statement or "")
    key = successor.key(statement.kid)
    if key is None or statement.parsed.payload != made.top:
        raise UntrustedError("registry.trust.ceremony_statement", field="statement")
    jws.verify(statement.parsed, key)


def _bytes(claims: Claims, name: str) -> bytes:
    raw: Any = from_b64u(claims.text(name, _MAX_TEXT))
    if raw is None:
        raise MalformedError("registry.trust.jws_alphabet", field=name)
    return bytes(raw)
