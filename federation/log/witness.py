"""Witnessing: cosigning checkpoints of other nodes' logs, each a continuation of the one before (C2SP tlog-witness).

Rules (facts on federation, (c) "Witness"):

- unknown log 404, and what `federation.log.witness_request` decides: 409 goes with the size cosigned last, 200 with a
  cosignature;
- compared and stored in one transaction, before the answer: two callers cannot have two histories cosigned;
- a log that is mirrored must have sent its entries first, and they must give the root that it signed: 424 with the
  number of entries that are here when some are missing, 422 (and the entries dropped) when they do not fit;
- every checkpoint with a valid signature is remembered and compared: a fork is evidence, whoever brought it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from federation.log.checkpoint import Checkpoint, SignedCheckpoint
from federation.log.cosigning import add_cosignatures, parse_cosignatures
from federation.log.forks import Alarm, note_seen
from federation.log.merkle import EMPTY_ROOT, HASH_BYTES, CompactRange, leaf_hash
from federation.log.note import NoteKey, cosign, key_of, parse_note
from federation.log.storage import ForkRow, WitnessedRow, WitnessUnit
from federation.log.watched import WatchedLog, WatchedLogs
from federation.log.witness_request import Status, WitnessRequest, decide, parse_request
from registry.clock import Clock
from registry.errors import (
    ConflictError,
    ForbiddenError,
    HazlinkError,
    LimitError,
    MalformedError,
    NotFoundError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.keys import Signer

__all__ = ["MAX_ENTRIES", "SIZE_TYPE", "Answer", "Witness"]

#: Entries in one call.
MAX_ENTRIES = 4_096
#: The type of a body that is a size and a line feed.
SIZE_TYPE = "text/x.tlog.size"
_TEXT = "text/plain; charset=utf-8"
#: Entries of one log that may wait for a checkpoint.
_MAX_WAITING = 1_000_000
_CHUNK = 4_096


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    media_type: str = _TEXT


class Witness:
    """Cosigns and mirrors.

    Consistency: one history for each log. Durability: what was cosigned is stored first. Concurrency: any number of
    threads and processes. Errors: as said at each method, and UnavailableError when the database or key cannot be
    used; nothing was cosigned then.

    Args:
        database: where the state is kept.
        signer: the key that cosigns: that of this node's own log.
        name: under which it cosigns: that log's name.
        logs: what is witnessed.
        clock: for the time that is signed.
        alarm: told of each fork.
    """

    def __init__(
        self,
        *,
        database: Database,
        signer: Signer,
        name: str,
        logs: WatchedLogs,
        clock: Clock,
        alarm: Alarm | None = None,
    ) -> None:
        self._database = database
        self._signer = signer
        self._name = name
        self._key = key_of(name, signer).as_witness()
        self._logs = logs
        self._clock = clock
        self._alarm = alarm

    @property
    def key(self) -> NoteKey:
        """The key that cosigns, as others know it."""
        return self._key

    def add_checkpoint(self, raw: bytes, peers: Collection[Prefix] = ()) -> Answer:
        """Answer `add-checkpoint`.

        Args:
            raw: the body.
            peers: prefixes the caller has proven to speak for; needed for nothing but to believe a bad proof.
        """
        try:
            request = parse_request(raw)
            origin = Checkpoint.parse(parse_note(request.note).text).origin
        except (MalformedError, LimitError) as error:
            return _refused(Status.BAD, error)
        log = self._logs.find(origin)
        if log is None:
            return _refused(
                Status.UNKNOWN, NotFoundError("federation.log.unknown_log", field="origin", value=origin)
            )
        forks: list[ForkRow] = []
        with self._database.write() as connection:
            answer = self._judge(WitnessUnit(connection), log, request, peers, forks)
        if self._alarm is not None:
            for fork in forks:
                self._alarm(fork)
        return answer

    def add_cosignatures(self, raw: bytes, peers: Collection[Prefix]) -> int:
        """Take the signatures that a follower of this node's own log brings; return how many there are now.

        Args:
            raw: the body, as `federation.log.cosigning` reads it.
            peers: prefixes the caller has proven to speak for; the keys of their logs may cosign.

        Raises:
            LimitError: too long.
            MalformedError: not such a body.
            NotFoundError: no checkpoint of that size.
            UntrustedError: no signature by the caller's keys, or a wrong one.
        """
        size, signatures = parse_cosignatures(raw)
        keys = [key.as_witness() for log in self._logs.owned(peers) for key in log.keys]
        return add_cosignatures(self._database, size, signatures, keys)

    def known(self, origin: str) -> int:
        """Return the size of a log that was cosigned last; 0 before the first."""
        with self._database.read() as connection:
            row = WitnessUnit(connection).get(origin)
        return 0 if row is None else row.size

    def checkpoint(self, digest: str) -> bytes:
        """Return the newest checkpoint of a log that was cosigned here, with the cosignature.

        Raises:
            NotFoundError: the log is not witnessed here, or not yet.
        """
        row = self._row(digest)
        if not row.note:
            raise NotFoundError("federation.log.unknown_log", field="origin", value=digest[:64])
        return row.note

    def add_entries(self, digest: str, first: int, leaves: Sequence[bytes], peers: Collection[Prefix]) -> int:
        """Take entries of a mirrored log; what is here already is passed over.

        Returns:
            How many entries are here now.

        Raises:
            NotFoundError: the log is not mirrored here.
            ForbiddenError: the caller is not its owner.
            ConflictError: entries before these are missing; `have` says how many there are.
            LimitError: too many at once, or waiting for a checkpoint.
        """
        log = self._owned(digest, peers)
        if len(leaves) > MAX_ENTRIES:
            raise LimitError("federation.log.entries", count=len(leaves), limit=MAX_ENTRIES)
        with self._database.write() as connection:
            unit = WitnessUnit(connection)
            row = unit.begin(log.origin, log.keys[0].vkey, EMPTY_ROOT, int(self._clock.now()))
            have = unit.mirror_size(row.id)
            if first > have:
                raise ConflictError("federation.log.entries_gap", field="from", value=first, have=have)
            fresh = leaves[have - first :]
            if have + len(fresh) - row.mirrored > _MAX_WAITING:
                raise LimitError(
                    "federation.log.entries_waiting", count=have - row.mirrored, limit=_MAX_WAITING
                )
            unit.mirror(row.id, have, fresh)
            return have + len(fresh)

    def entries(
        self, digest: str, first: int, count: int, peers: Collection[Prefix]
    ) -> tuple[int, list[bytes]]:
        """Give a log its own entries back, as far as a cosigned checkpoint covers them.

        Returns:
            How many there are in all, and those from `first` on.

        Raises:
            NotFoundError: the log is not mirrored here.
            ForbiddenError: the caller is not its owner.
        """
        log = self._owned(digest, peers)
        with self._database.read() as connection:
            unit = WitnessUnit(connection)
            row = unit.get(log.origin)
            if row is None:
                return 0, []
            end = min(row.mirrored, first + min(count, MAX_ENTRIES))
            return row.mirrored, unit.mirrored(row.id, first, end)

    def _judge(
        self,
        unit: WitnessUnit,
        log: WatchedLog,
        request: WitnessRequest,
        peers: Collection[Prefix],
        forks: list[ForkRow],
    ) -> Answer:
        now = int(self._clock.now())
        row = unit.begin(log.origin, log.keys[0].vkey, EMPTY_ROOT, now)
        decision = decide(log.keys, (row.size, row.root), request)
        signed = decision.signed
        if signed is not None:
            fork = note_seen(unit, signed, via=self._via(peers), at=now)
            if fork is None and decision.status == Status.UNPROVEN and log.owners & set(peers):
                fork = self._unproven(unit, row, signed, request, now)
            forks += [fork] if fork is not None else []
        if decision.status == Status.OTHER_SIZE:
            return Answer(Status.OTHER_SIZE, b"%d\n" % row.size, SIZE_TYPE)
        if decision.status != Status.COSIGNED or signed is None:
            return _refused(
                decision.status, UntrustedError("federation.log.not_cosigned", field="checkpoint")
            )
        told = signed.checkpoint
        moved: WitnessedRow | Answer = replace(row, size=told.size, root=told.root, at=now)
        if log.mirror:
            moved = self._mirrored(unit, replace(row, size=told.size, root=told.root, at=now))
        if isinstance(moved, Answer):
            return moved
        line = cosign(told.text(), self._name, self._signer, now)
        vkey = next(key.vkey for key in log.keys if key.id == signed.note.signatures[0].id)
        unit.set(replace(moved, vkey=vkey, note=signed.note.plus([line]).encode()))
        return Answer(Status.COSIGNED, line.line().encode())

    @staticmethod
    def _unproven(
        unit: WitnessUnit, row: WitnessedRow, signed: SignedCheckpoint, request: WitnessRequest, now: int
    ) -> ForkRow | None:
        """Keep what the owner of a log brought itself and could not prove; return it when it is news."""
        if not row.note or signed.checkpoint.size == row.size:
            return None
        via, proof = f"owner of {row.origin}", b"".join(request.proof)
        fork = ForkRow(row.origin, row.note, signed.note.encode(), proof, via, now)
        return fork if unit.put_fork(fork) else None

    def _mirrored(self, unit: WitnessUnit, row: WitnessedRow) -> WitnessedRow | Answer:
        """Check the waiting entries against the root of `row`."""
        have = unit.mirror_size(row.id)
        if have < row.size:
            return Answer(Status.MISSING, b"%d\n" % have, SIZE_TYPE)
        peaks = [row.peaks[i : i + HASH_BYTES] for i in range(0, len(row.peaks), HASH_BYTES)]
        tree = CompactRange(row.mirrored, peaks)
        while tree.size < row.size:
            leaves = unit.mirrored(row.id, tree.size, min(row.size, tree.size + _CHUNK))
            if not leaves:
                break
            for leaf in leaves:
                tree.add(leaf_hash(leaf))
        if tree.root() != row.root:
            unit.forget(row.id, row.mirrored)
            return _refused(Status.UNPROVEN, UntrustedError("federation.log.mirror_root", field="entries"))
        return replace(row, mirrored=tree.size, peaks=b"".join(tree.peaks))

    def _row(self, digest: str) -> WitnessedRow:
        log = self._logs.find_digest(digest)
        row = None
        if log is not None:
            with self._database.read() as connection:
                row = WitnessUnit(connection).get(log.origin)
        if row is None:
            raise NotFoundError("federation.log.unknown_log", field="origin", value=digest[:64])
        return row

    def _owned(self, digest: str, peers: Collection[Prefix]) -> WatchedLog:
        log = self._logs.find_digest(digest)
        if log is None or not log.mirror:
            raise NotFoundError("federation.log.unknown_log", field="origin", value=digest[:64])
        if not log.owners & set(peers):
            raise ForbiddenError("federation.log.not_owner", field="origin", value=log.origin)
        return log

    @staticmethod
    def _via(peers: Collection[Prefix]) -> str:
        return "witness " + (", ".join(sorted(peer.key for peer in peers)) or "anonymous")


def _refused(status: int, error: HazlinkError) -> Answer:
    return Answer(status, f"{error.message('zh')}\n{error.message('en')}\n".encode())
