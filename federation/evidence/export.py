"""Making a file of evidence from what a node keeps, at the receiver or at the sender of an envelope.

Rules:

- the first checkpoint over the receipt that somebody witnessed is taken, not the newest: it is the earliest proof
  that the receipt was there;
- of the chains that could vouch for a key the first is taken under which the stand-alone verifier says yes; a file
  that it refuses is not given out;
- the newest revocation list of every issuer involved goes along, and the list of historical keys of either side.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol

from federation.evidence import verifier
from federation.evidence.bundle import Entry, Evidence, Reception, SignedList, Witness, only_known
from federation.evidence.storage import EvidenceUnit, KeptIn, KeptOut
from federation.exchange import envelope as wire
from federation.exchange import receipt as receipts
from federation.exchange.receipt import Receipt
from federation.log.leaf import Leaf
from federation.log.merkle import inclusion, leaf_hash
from federation.log.note import NoteKey, parse_note, parse_vkey
from federation.log.proof import TlogProof
from federation.log.writer import tile_hashes
from registry.errors import HazlinkError, MalformedError, NotFoundError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import statement
from registry.trust.encoding import b64u, from_b64u

__all__ = ["Exported", "Exporter", "Vouchers"]

_DIGEST_BYTES = 32


class Vouchers(Protocol):
    """What this node knows about who vouches for whom; `federation.evidence.vouchers.StoredVouchers` is one.

    Consistency: as stored. Concurrency: any number of threads. Errors: UnavailableError when it cannot be read.
    """

    def roots(self) -> Sequence[str]:
        """Return every version of the root, the first one first."""
        ...

    def chains(self, prefix: Prefix) -> Sequence[tuple[str, ...]]:
        """Return the chains known of exactly this prefix, leaf first each, the likeliest first."""
        ...

    def revocations(self, issuer: Prefix | None) -> SignedList | None:
        """Return the newest revocation list of an issuer; None is the root."""
        ...

    def history(self, subject: Prefix) -> SignedList | None:
        """Return the newest list of all keys of a prefix."""
        ...


@dataclass(frozen=True, slots=True)
class Exported:
    """A file of evidence, and what the stand-alone verifier says about it."""

    data: bytes
    finding: verifier.Finding


@dataclass(frozen=True, slots=True)
class _Found:
    """What was kept about an envelope, before chains are chosen."""

    token: str
    receipt: Receipt
    entry: Entry
    log: NoteKey
    sender_chains: tuple[tuple[str, ...], ...]
    body: bytes | None
    sent: Entry | None = None
    acknowledged: Entry | None = None
    own_log: NoteKey | None = None


class Exporter:
    """Makes files of evidence.

    Consistency: each file is made from one snapshot. Concurrency: any number of threads. Errors: as `export` says.

    Args:
        database: of this node.
        vouchers: who vouches for whom.
    """

    def __init__(self, *, database: Database, vouchers: Vouchers) -> None:
        self._database = database
        self._vouchers = vouchers

    def export(self, env: str) -> Exported:
        """Make the evidence about an envelope.

        Args:
            env: its base64url hash.

        Raises:
            MalformedError: `env` is no hash.
            NotFoundError: no such envelope was sent or received here, or it is not answered, logged and proven yet.
            UntrustedError: what is kept does not prove it; the verifier's reason is told.
            UnavailableError: the database cannot be read.
        """
        digest = from_b64u(env)
        if digest is None or len(digest) != _DIGEST_BYTES:
            raise MalformedError("federation.evidence.env", field="env", value=env[:64])
        with self._database.read() as connection:
            unit = EvidenceUnit(connection)
            kept = unit.received(digest)
            if kept is not None:
                found = self._received(unit, kept)
            else:
                sent = unit.sent(digest)
                if sent is None:
                    raise NotFoundError("federation.evidence.unknown", field="env", value=env)
                found = self._sent(unit, sent)
        return self._composed(found)

    def _received(self, unit: EvidenceUnit, kept: KeptIn) -> _Found:
        receipt = receipts.read(kept.receipt)
        entry, key = _own_entry(unit, receipt.leaf_index, from_b64u(receipt.leaf or ""))
        return _Found(
            token=kept.token,
            receipt=receipt,
            entry=entry,
            log=key,
            sender_chains=(kept.chain, *self._vouchers.chains(receipt.aud)),
            body=kept.body,
        )

    def _sent(self, unit: EvidenceUnit, kept: KeptOut) -> _Found:
        if kept.receipt is None or kept.proof is None:
            raise NotFoundError("federation.evidence.unproven", field="env")
        receipt = receipts.read(kept.receipt)
        leaf = _in_leaf(receipt)
        key, note = self._seen(unit, kept)
        proof = TlogProof(receipt.leaf_index or 0, kept.proof, note)
        sent, own = _maybe_entry(unit, kept.out_index)
        acknowledged, _ = _maybe_entry(unit, kept.ack_index)
        return _Found(
            token=kept.token,
            receipt=receipt,
            entry=Entry(leaf, proof),
            log=key,
            sender_chains=tuple(self._sender_chains(unit, kept)),
            body=kept.body,
            sent=sent,
            acknowledged=acknowledged,
            own_log=own,
        )

    def _seen(self, unit: EvidenceUnit, kept: KeptOut) -> tuple[NoteKey, bytes]:
        """Return the key of the receiver's log and the checkpoint its proof stands under."""
        note = unit.seen(kept.proof_origin or "", kept.proof_size or 0)
        for chain in self._vouchers.chains(Prefix(kept.aud)):
            vkey = statement.read(chain[0]).endpoints.log_vkey
            if note is not None and vkey is not None and parse_vkey(vkey).name == kept.proof_origin:
                return parse_vkey(vkey), note
        raise NotFoundError("federation.evidence.unproven", field="env")

    def _sender_chains(self, unit: EvidenceUnit, kept: KeptOut) -> Iterator[tuple[str, ...]]:
        """Yield the chain the envelope names, and then every other one known."""
        named = _chain_of(kept.token)
        if isinstance(named, str):
            named = unit.chain(from_b64u(named) or b"") or ()
        yield named
        yield from self._vouchers.chains(Prefix(kept.iss))

    def _composed(self, found: _Found) -> Exported:
        """Choose the first chains under which it holds."""
        first: Exported | None = None
        receiver_chains = self._vouchers.chains(found.receipt.iss)
        # the newer the likelier to know old keys; the kept one comes first all the same
        for sender, receiver in product(_distinct(found.sender_chains), _distinct(receiver_chains)):
            made = self._with(found, sender, receiver)
            finding = verifier.verify(made.encode(), made.anchor, require_witness=False)
            exported = Exported(made.encode(), finding)
            if finding.holds:
                return exported
            first = first or exported
        if first is None or first.finding.error is None:
            raise NotFoundError("federation.evidence.no_chain", field="env")
        error = first.finding.error
        raise UntrustedError(
            "federation.evidence.not_proved",
            field="env",
            reason_zh=error.text("zh"),
            reason_en=error.text("en"),
        )

    def _with(self, found: _Found, sender: tuple[str, ...], receiver: tuple[str, ...]) -> Evidence:
        own = found.own_log
        optional = [(entry, own) for entry in (found.sent, found.acknowledged) if entry and own]
        proofs = [(found.entry, found.log), *optional]
        known = self._witnesses([entry.proof for entry, _ in proofs], receiver)
        plain: list[Entry] = []
        used: list[Witness] = []
        for entry, key in proofs:
            proof, signed = only_known(entry.proof, key, [one for one in known if one.key.kid != key.kid])
            plain.append(replace(entry, proof=proof))
            used += [one for one in signed if one not in used]
        mine = dict(zip(_names(found), plain[1:], strict=True))
        reception = Reception(
            sender_chain=sender,
            receiver_chain=receiver,
            receipt=found.receipt.token,
            entry=plain[0],
            body=found.body,
            sent=mine.get("sent"),
            acknowledged=mine.get("acknowledged"),
        )
        chains = (sender, receiver, *(one.chain for one in used))
        return Evidence(
            roots=tuple(self._vouchers.roots()),
            envelope=found.token,
            reception=reception,
            witnesses=tuple(used),
            revocations=tuple(self._revocations(chains)),
            historical=tuple(self._histories((found.receipt.aud, found.receipt.iss))),
        )

    def _witnesses(self, proofs: Sequence[TlogProof], receiver: tuple[str, ...]) -> list[Witness]:
        """Return who of those that signed is known here, and not the receiver itself."""
        names = {signature.name for proof in proofs for signature in parse_note(proof.checkpoint).signatures}
        made: list[Witness] = []
        for name in sorted(names):
            try:
                prefix = Prefix.parse(name.partition("/")[0])
            except HazlinkError:
                continue
            if prefix == statement.read(receiver[0]).subject:
                continue
            for chain in self._vouchers.chains(prefix):
                vkey = statement.read(chain[0]).endpoints.log_vkey
                if vkey is not None:
                    made.append(Witness(parse_vkey(vkey).as_witness(), chain))
        return made

    def _revocations(self, chains: Sequence[tuple[str, ...]]) -> Iterator[SignedList]:
        issuers = {statement.read(token).issuer for chain in chains for token in chain}
        for issuer in sorted(issuers, key=lambda one: one.key if one else ""):
            found = self._vouchers.revocations(issuer)
            if found is not None:
                yield found

    def _histories(self, subjects: Sequence[Prefix]) -> Iterator[SignedList]:
        for subject in subjects:
            found = self._vouchers.history(subject)
            if found is not None:
                yield found


def _names(found: _Found) -> list[str]:
    return [name for name in ("sent", "acknowledged") if getattr(found, name) is not None and found.own_log]


def _distinct(chains: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [chain for chain in dict.fromkeys(chains) if chain and chain[0]]


def _chain_of(token: str) -> tuple[str, ...] | str:
    return wire.read(wire.parse(token.encode())).chain


def _in_leaf(receipt: Receipt) -> bytes:
    """Make the receiver's leaf again from its receipt, which names the hash of it.

    Raises:
        UntrustedError: it has another hash.
    """
    leaf = Leaf(
        kind="in",
        env=receipt.env,
        iss=receipt.aud.handle.text,
        aud=receipt.iss.handle.text,
        stream=receipt.stream,
        epoch=receipt.epoch,
        seq=receipt.seq,
        at=receipt.received_at,
        outcome=receipt.outcome,
        code=receipt.code,
    ).encode()
    if b64u(leaf_hash(leaf)) != receipt.leaf:
        raise UntrustedError("federation.evidence.leaf", field="leaf", value=receipt.leaf)
    return leaf


def _own_entry(unit: EvidenceUnit, index: int | None, hashed: bytes | None) -> tuple[Entry, NoteKey]:
    """Prove an entry of this node's own log, or of one it had to close, by the hash the receipt names."""
    for row in reversed(unit.logs()):
        found = _entry_at(unit, row.number, index)
        if found is not None and (hashed is None or hashlib.sha256(b"\x00" + found.leaf).digest() == hashed):
            return found, parse_vkey(row.vkey)
    raise NotFoundError("federation.evidence.unproven", field="env")


def _maybe_entry(unit: EvidenceUnit, index: int | None) -> tuple[Entry | None, NoteKey | None]:
    rows = unit.logs()
    if index is None or not rows:
        return None, None
    return _entry_at(unit, rows[-1].number, index), parse_vkey(rows[-1].vkey)


def _entry_at(unit: EvidenceUnit, number: int, index: int | None) -> Entry | None:
    log = unit.log(number)
    covering = None if index is None else unit.covering(number, index)
    if index is None or covering is None:
        return None
    leaves = log.leaves(index, 1)
    if not leaves:
        return None
    size, note = covering
    return Entry(leaves[0], TlogProof(index, tuple(inclusion(tile_hashes(log), index, size)), note))
