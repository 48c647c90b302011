"""The file of evidence: what goes into it, and its one spelling.

Rules:

- canonical JSON, members sorted, nothing between them, ASCII, one LF at the end; whoever reads it writes it again and
  compares, so that no byte can change unnoticed;
- nothing stands in it that nobody vouches for: signatures of unknown keys are left out of checkpoints and roots,
  proofs have no `extra` line, a witness that did not sign is not named;
- times and rights are those of the receipt; the file names no address and needs no node.

The format is `federation.evidence.verifier`'s, which reads it without any other part of the program.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from federation.evidence.verifier import EVIDENCE_TYPE, canonical
from federation.log.note import NoteKey, NoteSignature, parse_note
from federation.log.proof import TlogProof
from registry.errors import MalformedError
from registry.trust import jws, strict_json
from registry.trust.encoding import b64u
from registry.trust.root import ROOT_TYPE, fingerprint, read_root

__all__ = ["Entry", "Evidence", "Reception", "SignedList", "Witness", "join", "only_known", "plain_roots"]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a log: the bytes of its leaf, and the proof that the log has it."""

    leaf: bytes
    proof: TlogProof

    def members(self, leaf: str, proof: str) -> dict[str, str]:
        """Return the two members of the file under their names."""
        return {leaf: b64u(self.leaf), proof: self.proof.encode().decode()}


@dataclass(frozen=True, slots=True)
class Witness:
    """Who cosigned: the verifier key (type 04), and the chain that certifies it, leaf first."""

    key: NoteKey
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignedList:
    """A revocation list or list of historical keys, and the chain of its issuer; empty for the root's."""

    token: str
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reception:
    """What proves that one envelope was received.

    Attributes:
        sender_chain: what decided about the sender, leaf first.
        receiver_chain: what vouches for the receiver's key and log.
        receipt: as signed.
        entry: the receiver's `in` leaf.
        body: of the envelope, where it went beside it and not inside a relay.
        sent: the `out` leaf of the sender's own log.
        acknowledged: its `ack` leaf.
        inner: the same for the token inside a relay.
    """

    sender_chain: tuple[str, ...]
    receiver_chain: tuple[str, ...]
    receipt: str
    entry: Entry
    body: bytes | None = None
    sent: Entry | None = None
    acknowledged: Entry | None = None
    inner: "Reception | None" = None

    def members(self) -> dict[str, Any]:
        """Return the members of the file."""
        made: dict[str, Any] = {
            "sender_chain": list(self.sender_chain),
            "receiver_chain": list(self.receiver_chain),
            "receipt": self.receipt,
            **self.entry.members("leaf", "proof"),
        }
        if self.body is not None:
            made["body"] = b64u(self.body)
        if self.sent is not None:
            made |= self.sent.members("sender_leaf", "sender_proof")
        if self.acknowledged is not None:
            made |= self.acknowledged.members("ack_leaf", "ack_proof")
        if self.inner is not None:
            made["inner"] = self.inner.members()
        return made


@dataclass(frozen=True, slots=True)
class Evidence:
    """The whole file.

    Attributes:
        roots: every version of the root from the first on.
        envelope: the token, as received.
        reception: what proves its receipt.
        witnesses: of the checkpoints in it.
        revocations, historical: lists that matter to its keys.
    """

    roots: tuple[str, ...]
    envelope: str
    reception: Reception
    witnesses: tuple[Witness, ...] = ()
    revocations: tuple[SignedList, ...] = ()
    historical: tuple[SignedList, ...] = field(default=())

    @property
    def anchor(self) -> str:
        """The fingerprint of the first root: what the reader must know from elsewhere."""
        return fingerprint(read_root(self.roots[0]))

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        return canonical(
            {
                "type": EVIDENCE_TYPE,
                "anchor": self.anchor,
                "roots": list(plain_roots(self.roots)),
                "envelope": self.envelope,
                **self.reception.members(),
                "witnesses": [{"vkey": one.key.vkey, "chain": list(one.chain)} for one in self.witnesses],
                "revocations": _lists(self.revocations),
                "historical": _lists(self.historical),
            }
        )


def _lists(lists: Iterable[SignedList]) -> list[dict[str, Any]]:
    return [{"token": one.token, "chain": list(one.chain)} for one in lists]


def plain_roots(texts: Sequence[str]) -> tuple[str, ...]:
    """Return root documents with the signatures that count, each key once, in one spelling.

    Raises:
        UntrustedError: a text is no root.
    """
    made = []
    before: frozenset[str] = frozenset()
    for text in texts:
        root = read_root(text)
        kids = frozenset(root.keys)
        parts = {parsed.kid: parsed for parsed in jws.parse_general(text, typ=ROOT_TYPE)}
        rows = [
            {"protected": one.signing_input.split(b".")[0].decode(), "signature": b64u(one.signature)}
            for kid, one in parts.items()
            if kid in kids | before
        ]
        made.append(orjson.dumps({"payload": b64u(root.payload), "signatures": rows}).decode())
        before = kids
    return tuple(made)


def only_known(
    proof: TlogProof, log: NoteKey, known: Sequence[Witness]
) -> tuple[TlogProof, tuple[Witness, ...]]:
    """Leave out of a proof what nobody vouches for; return it with the witnesses that signed its checkpoint.

    Args:
        proof: as read from a log.
        log: the key of that log.
        known: whoever may have witnessed.

    Raises:
        MalformedError: the checkpoint is none.
    """
    note = parse_note(proof.checkpoint)
    keys: dict[tuple[str, bytes], Witness] = {}
    for one in known:
        keys.setdefault((one.key.name, one.key.id), one)
    own = (log.name, log.id)
    kept: dict[tuple[str, bytes], NoteSignature] = {}
    for signature in note.signatures:
        name = (signature.name, signature.id)
        if name == own or name in keys:
            kept.setdefault(name, signature)
    checkpoint = type(note)(note.text, tuple(kept.values())).encode()
    plain = TlogProof(index=proof.index, hashes=proof.hashes, checkpoint=checkpoint)
    return plain, tuple(keys[name] for name in kept if name != own)


def join(outer: bytes, inner: bytes) -> bytes:
    """Put the evidence of an envelope into the evidence of the relay that carried it.

    Args:
        outer: the file about the relay.
        inner: the file about the envelope inside, from whoever received that; under the same root.

    Raises:
        MalformedError: one of them is no such file, or they stand on different roots.
    """
    whole, part = _read(outer), _read(inner)
    if whole["anchor"] != part["anchor"]:
        raise MalformedError(
            "federation.evidence.other_anchor", field="anchor", value=str(part["anchor"])[:64]
        )
    shared = ("type", "anchor", "roots", "envelope", "witnesses", "revocations", "historical")
    whole["inner"] = {name: value for name, value in part.items() if name not in shared}
    # an inner body stands inside the relay already
    whole["inner"].pop("body", None)
    whole["roots"] = max(whole["roots"], part["roots"], key=len)
    for name in ("witnesses", "revocations", "historical"):
        whole[name] += [row for row in part[name] if row not in whole[name]]
    return canonical(whole)


def _read(raw: bytes) -> dict[str, Any]:
    content = strict_json.loads(raw)
    if not isinstance(content, dict) or content.get("type") != EVIDENCE_TYPE:
        raise MalformedError("federation.evidence.form", field="type", right=EVIDENCE_TYPE)
    return content
