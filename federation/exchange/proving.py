"""Proofs: after the receipt the sender makes sure that the receiver's log really has the leaf it named.

Rules (facts on federation, (b) "Receipt", (c)):

- proofs come a thousand at a time under one checkpoint; the checkpoint must be signed by the log key that the
  receiver's superior certified, and must continue the last one seen: what the continuation needs is computed here out
  of the receiver's own tiles;
- each leaf is the one its receipt names, at the place the receipt names;
- a child's log is witnessed here: what stands in the mirror under a checkpoint this node cosigned is proven;
- nothing is deleted before receipt and proof are verified, and not before its time is over.
"""

import logging
from base64 import b64decode, b64encode
from binascii import Error as NotBase64Error
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import orjson

from federation.exchange import receipt as receipts
from federation.exchange.client import HttpPeer
from federation.exchange.config import ExchangeConfig
from federation.exchange.peers import Peers
from federation.exchange.reaching import Reaching
from federation.exchange.storage.sending import Outgoing
from federation.exchange.storage.sending_proofs import ProofUnit
from federation.exchange.storage.sending_rows import Proven
from federation.log.checkpoint import SignedCheckpoint, open_checkpoint
from federation.log.merkle import consistency, leaf_hash, verify_consistency, verify_inclusion
from federation.log.note import NoteKey, parse_note, parse_vkey
from federation.log.proof import TlogProof
from federation.log.reading import MAX_PROOFS, proofs_in
from federation.log.storage import ForkRow, LogUnit, WitnessUnit
from federation.log.tiles import HEIGHT, TileHashes, TileName, name_of, width_at
from federation.log.watched import owner_of
from registry.clock import Clock
from registry.errors import HazlinkError, MalformedError, NotFoundError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import strict_json
from registry.trust.encoding import b64u, from_b64u
from resolver.pool import in_pool

__all__ = ["Proofs", "Prover", "check_proofs"]

_LOG = logging.getLogger("federation.exchange.proving")
_HASH_BYTES = 32
_DAY = 86_400
_VIA = "proof"


class Proofs:
    """The receiver's side, and the books of the sender's.

    Consistency: each call sees one snapshot, or is one transaction. Concurrency: any number of threads. Errors: as
    said at each method, and UnavailableError from the database.
    """

    def __init__(self, *, database: Database, reaching: Reaching, clock: Clock) -> None:
        """Take the parts.

        Args:
            database: where everything is kept.
            reaching: the log keys of receivers.
            clock: the time.
        """
        self._database = database
        self._reaching = reaching
        self._clock = clock

    def proofs(self, peer: Prefix, envs: Sequence[str]) -> dict[str, Any]:
        """Return a checkpoint, and for each envelope of `peer` that it covers its place and hashes (base64).

        Raises:
            LimitError: more than 1,000.
            NotFoundError: nothing was published yet.
        """
        wanted = {raw: env for env in envs[:MAX_PROOFS] if (raw := from_b64u(env)) is not None}
        with self._database.read() as connection:
            places = ProofUnit(connection).places(peer, list(wanted))
            proven = proofs_in(LogUnit(connection), list(places.values()), cosigned=True)
        return {
            "checkpoint": proven.checkpoint.decode(),
            "proofs": {
                wanted[raw]: {
                    "index": place,
                    "hashes": [b64encode(step).decode() for step in proven.proofs[place]],
                }
                for raw, place in places.items()
                if place in proven.proofs
            },
        }

    def pairs(self) -> list[tuple[Prefix, Prefix]]:
        """Return (sender, receiver) with something to prove."""
        with self._database.read() as connection:
            return ProofUnit(connection).unproven_pairs()

    def unproven(self, iss: Prefix, aud: Prefix, limit: int, *, after: int = -1) -> list[Outgoing]:
        """Return envelopes with a receipt and no proof, in the order of the receiver's log."""
        with self._database.read() as connection:
            return ProofUnit(connection).unproven(iss, aud, limit, after=after)

    def key(self, iss: Prefix, aud: Prefix) -> NoteKey:
        """Return the certified key of a receiver's log.

        Raises:
            NotFoundError: its superior has certified none yet.
        """
        vkey = self._reaching.log_vkey(iss, aud)
        if vkey is None:
            raise NotFoundError("federation.exchange_sending.no_log_key", prefix=aud.key)
        return parse_vkey(vkey)

    def last_seen(self, origin: str) -> tuple[int, bytes, bytes] | None:
        """Return (size, root, note) of the largest checkpoint of a log that was seen and believed."""
        with self._database.read() as connection:
            return WitnessUnit(connection).last_seen(origin)

    def store(self, signed: SignedCheckpoint, raw: bytes, proofs: Sequence[Proven]) -> None:
        """Store verified proofs and the checkpoint they stand under."""
        told, now = signed.checkpoint, int(self._clock.now())
        with self._database.write() as connection:
            WitnessUnit(connection).saw(told.origin, told.size, told.root, raw, via=_VIA, at=now)
            unit = ProofUnit(connection)
            unit.put_checkpoint(told.origin, told.size, raw, now)
            unit.store(proofs)

    def forked(self, origin: str, seen: bytes, shown: bytes, proof: Sequence[bytes]) -> UntrustedError:
        """Keep the evidence that a log showed two histories; return the error to raise."""
        made = ForkRow(origin, seen, shown, b"".join(proof), _VIA, int(self._clock.now()))
        with self._database.write() as connection:
            WitnessUnit(connection).put_fork(made)
        return UntrustedError("federation.exchange_sending.fork", field="checkpoint", origin=origin)

    def from_mirror(self, iss: Prefix, aud: Prefix, limit: int) -> int:
        """Prove what a child's log has by this node's own mirror of it; return how many.

        Raises:
            NotFoundError: the child's log key is not certified yet.
            UntrustedError: the mirror has another leaf at that place.
        """
        key = self.key(iss, aud)
        with self._database.write() as connection:
            known = WitnessUnit(connection).get(key.name)
            if known is None or not known.mirrored:
                return 0
            unit = ProofUnit(connection)
            proofs = []
            for row in unit.unproven(iss, aud, limit):
                index = row.leaf_index
                if index is None or index >= min(known.mirrored, known.size):
                    break
                (leaf,) = WitnessUnit(connection).mirrored(known.id, index, index + 1)
                if leaf_hash(leaf) != _named_leaf(row):
                    raise UntrustedError("federation.exchange_sending.other_leaf", field="leaf", value=index)
                proofs.append(Proven(row.env, b"", known.size, key.name))
            if proofs:
                unit.put_checkpoint(key.name, known.size, known.note, int(self._clock.now()))
            unit.store(proofs)
        return len(proofs)

    def proof(self, row: Outgoing) -> TlogProof | None:
        """Return the stored proof of an envelope in the receiver's log; None while there is none.

        For a leaf that was found in this node's mirror there is none to hand out either: the receiver's log has it.
        """
        if not row.proof or row.proof_size is None or row.leaf_index is None or row.proof_origin is None:
            return None
        with self._database.read() as connection:
            note = ProofUnit(connection).checkpoint(row.proof_origin, row.proof_size)
        if note is None:
            return None
        steps = tuple(
            row.proof[first : first + _HASH_BYTES] for first in range(0, len(row.proof), _HASH_BYTES)
        )
        return TlogProof(row.leaf_index, steps, note)

    def prune(self, before: int, limit: int) -> int:
        """Remove proven envelopes answered before `before`; return how many went."""
        with self._database.write() as connection:
            return ProofUnit(connection).prune(before, limit)


def check_proofs(rows: Sequence[Outgoing], told: Mapping[str, Any], signed: SignedCheckpoint) -> list[Proven]:
    """Verify the proofs of a batch under a checkpoint.

    Envelopes without one are left out: the checkpoint may not cover them yet. Who never gets one stays unproven, is
    never deleted, and is seen in the status.

    Args:
        rows: envelopes with their receipts.
        told: by base64url envelope hash `{"index", "hashes"}`.
        signed: the checkpoint, verified.

    Raises:
        MalformedError: a proof cannot be read.
        UntrustedError: a proof is about another place, or does not hold.
    """
    checkpoint = signed.checkpoint
    proofs = []
    for row in rows:
        said = told.get(b64u(row.env))
        if said is None:
            continue
        steps = _steps(said)
        if not isinstance(said, dict) or said.get("index") != row.leaf_index or row.leaf_index is None:
            raise UntrustedError("federation.exchange_sending.other_place", field="index", value=row.seq)
        if not verify_inclusion(_named_leaf(row), row.leaf_index, checkpoint.size, steps, checkpoint.root):
            raise UntrustedError("federation.log.proof_inclusion", field="index", value=row.leaf_index)
        proofs.append(Proven(row.env, b"".join(steps), checkpoint.size, checkpoint.origin))
    return proofs


class Prover:
    """Fetches and verifies proofs, and removes what is over. Owner: the event loop that runs `run`."""

    def __init__(
        self,
        *,
        proofs: Proofs,
        peers: Peers,
        homes: Callable[[Prefix], bool],
        clock: Clock,
        executor: Executor,
        config: ExchangeConfig,
    ) -> None:
        """Take the parts.

        Args:
            proofs: the books.
            peers: the superiors.
            homes: says whether a prefix is homed here.
            clock: the time.
            executor: for blocking calls.
            config: how often, how many.
        """
        self._proofs = proofs
        self._peers = peers
        self._homes = homes
        self._clock = clock
        self._executor = executor
        self._config = config
        self.forks = 0

    async def run(self) -> None:
        """Prove and prune until cancelled."""
        while True:
            await self.once()
            await self._clock.sleep(self._config.prove_seconds)

    async def once(self) -> None:
        """Prove all that can be proven now; what fails comes again."""
        try:
            pairs = await in_pool(self._executor, self._proofs.pairs)
        except HazlinkError as error:
            _LOG.info("proving: %s", error)
            return
        for iss, aud in pairs:
            try:
                await self._prove(iss, aud)
            except HazlinkError as error:
                self.forks += error.code.endswith(".fork")
                _LOG.warning("proofs of %s at %s: %s", iss, aud, error)
        await self._prune()

    async def _prove(self, iss: Prefix, aud: Prefix) -> None:
        limit = min(self._config.prove_batch, MAX_PROOFS)
        above = dict(self._peers.superiors()).get(iss) == aud
        if not above and not self._homes(aud):
            while await in_pool(self._executor, self._proofs.from_mirror, iss, aud, limit) == limit:
                pass
            return
        peer = self._peers.above(iss, aud) if above else None
        after = -1
        while rows := await in_pool(self._executor, self._proofs.unproven, iss, aud, limit, after=after):
            after = rows[-1].leaf_index or 0
            if not await self._batch(iss, aud, rows, peer) or len(rows) < limit:
                return

    async def _batch(self, iss: Prefix, aud: Prefix, rows: Sequence[Outgoing], peer: HttpPeer | None) -> int:
        envs = [b64u(row.env) for row in rows]
        if peer is None:
            answer = await in_pool(self._executor, self._proofs.proofs, iss, envs)
        else:
            reply = await peer.ask(
                "POST", "exchange/proofs", channel="proofs", content=orjson.dumps({"envs": envs})
            )
            answer = await in_pool(self._executor, strict_json.loads, reply.body)
        note, told = _answer(answer)
        key = await in_pool(self._executor, self._proofs.key, iss, aud)
        signed = open_checkpoint(note, key)
        await self._continues(signed, note, peer)
        waited = self._clock.now() - (rows[-1].acked_at or 0)
        if not _is_witnessed(note, iss, aud) and waited < self._config.witness_seconds:
            # A proof that nobody witnessed convinces nobody: the next checkpoint will be cosigned.
            return 0
        proofs = await in_pool(self._executor, check_proofs, rows, told, signed)
        await in_pool(self._executor, self._proofs.store, signed, note, proofs)
        return len(proofs)

    async def _continues(self, signed: SignedCheckpoint, note: bytes, peer: HttpPeer | None) -> None:
        """Make sure that a checkpoint and the largest one seen are of one history."""
        told = signed.checkpoint
        seen = await in_pool(self._executor, self._proofs.last_seen, told.origin)
        if seen is None or peer is None or seen[0] == 0 or told.size == 0:
            return
        size, root, seen_note = seen
        if size == told.size:
            if root != told.root:
                raise await in_pool(self._executor, self._proofs.forked, told.origin, seen_note, note, ())
            return
        old, new = ((size, root), (told.size, told.root))
        if size > told.size:
            old, new = new, old
        steps = await _consistency(peer, old[0], new[0])
        if not verify_consistency(old[0], old[1], new[0], new[1], steps):
            raise await in_pool(self._executor, self._proofs.forked, told.origin, seen_note, note, steps)

    async def _prune(self) -> None:
        before = int(self._clock.now()) - self._config.keep_days * _DAY
        limit = self._config.prune_batch
        try:
            while await in_pool(self._executor, self._proofs.prune, before, limit) == limit:
                pass
        except HazlinkError as error:
            _LOG.info("pruning: %s", error)


def _is_witnessed(note: bytes, iss: Prefix, aud: Prefix) -> bool:
    """Say whether somebody signed a checkpoint whom the sender can vouch for: itself, or a prefix above it.

    Another child of the receiver may have cosigned first; its chain is not known here, so it would convince nobody.
    """
    for signature in parse_note(note).signatures:
        witness = owner_of(signature.name)
        if witness is not None and witness != aud and witness.contains(iss):
            return True
    return False


class _Wanted(Exception):  # noqa: N818 — carries a question, not a failure
    """Which tiles a computation needs."""

    def __init__(self, places: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.places = tuple(places)


async def _consistency(peer: HttpPeer, old: int, size: int) -> list[bytes]:
    """Compute a consistency proof out of the peer's tiles; whether it holds is for the caller to verify."""

    def ask(places: Sequence[tuple[int, int]]) -> list[bytes]:
        raise _Wanted(places)

    try:
        return consistency(TileHashes(ask), old, size)
    except _Wanted as wanted:
        places = wanted.places
    tiles: dict[tuple[int, int], bytes] = {}
    for level, number in places:
        name = name_of(TileName(number, width_at(size, level, number)))
        reply = await peer.ask("GET", f"log/tile/{level}/{name}", channel="proofs")
        tiles[level, number] = reply.body
    try:
        return consistency(TileHashes(lambda asked: [tiles[place] for place in asked]), old, size)
    except KeyError as error:
        raise MalformedError("federation.exchange_sending.answer", field="tile") from error


def _answer(content: Any) -> tuple[bytes, Mapping[str, Any]]:
    note = content.get("checkpoint") if isinstance(content, dict) else None
    told = content.get("proofs") if isinstance(content, dict) else None
    if not isinstance(note, str) or not isinstance(told, dict):
        raise MalformedError("federation.exchange_sending.answer", field="proofs")
    return note.encode(), told


def _steps(said: Any) -> tuple[bytes, ...]:
    hashes = said.get("hashes") if isinstance(said, dict) else None
    try:
        if not isinstance(hashes, list) or len(hashes) > HEIGHT * HEIGHT:
            raise MalformedError("federation.exchange_sending.answer", field="hashes")
        made = tuple(b64decode(step, validate=True) for step in hashes)
    except (NotBase64Error, TypeError, ValueError) as error:
        raise MalformedError("federation.exchange_sending.answer", field="hashes") from error
    if any(len(step) != _HASH_BYTES for step in made):
        raise MalformedError("federation.exchange_sending.answer", field="hashes")
    return made


def _named_leaf(row: Outgoing) -> bytes:
    """Return the leaf hash a stored, verified receipt names."""
    leaf = receipts.read((row.receipt or b"").decode()).leaf
    return from_b64u(leaf or "") or b""
