"""Seeing forks: what a log says to one is compared with what it says to others.

Rules:

- two signed checkpoints of one log with the same size and different roots are a fork; they prove it by themselves and
  are kept for good;
- for different sizes the log must prove that one tree continues the other; a log that cannot is not believed, and its
  owner is asked, but an outsider's bad proof is no evidence against it;
- every signed checkpoint that comes by is remembered, whatever way it came: from the log, from a peer's head, from a
  witness, from another child.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from enum import Enum

from federation.log.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from federation.log.merkle import verify_consistency
from federation.log.note import NoteKey
from federation.log.storage import ForkRow, WitnessUnit
from registry.clock import Clock
from registry.errors import InvalidValueError, UntrustedError
from registry.storage.engine import Database

__all__ = ["Alarm", "ForkWatch", "View", "compare", "note_seen", "proof_lines"]

#: Told of each new piece of evidence, after it is stored. Must not raise.
Alarm = Callable[[ForkRow], None]


class View(Enum):
    """What two checkpoints of one log say together."""

    SAME = "same"
    CONSISTENT = "consistent"
    UNPROVEN = "unproven"
    FORK = "fork"


def compare(origin: str, first: Checkpoint, second: Checkpoint, consistency: Sequence[bytes] = ()) -> View:
    """Compare two checkpoints whose signatures hold.

    Args:
        origin: the log both are said to be of.
        first: a checkpoint; the order does not matter.
        second: another.
        consistency: the proof from the smaller to the larger.

    Raises:
        InvalidValueError: they are of other logs.
    """
    if {first.origin, second.origin} != {origin}:
        raise InvalidValueError(
            "federation.log.other_origin", field="origin", value=second.origin, right=origin
        )
    old, new = sorted((first, second), key=lambda checkpoint: checkpoint.size)
    if old.size == new.size:
        return View.SAME if old.root == new.root else View.FORK
    # every tree continues the empty one
    proven = old.size == 0 or verify_consistency(old.size, old.root, new.size, new.root, consistency)
    return View.CONSISTENT if proven else View.UNPROVEN


def proof_lines(proof: Sequence[bytes]) -> bytes:
    """Return a proof as text, one base64 hash a line."""
    return b"".join(b64encode(step) + b"\n" for step in proof)


def note_seen(unit: WitnessUnit, signed: SignedCheckpoint, *, via: str, at: int) -> ForkRow | None:
    """Remember a verified checkpoint; return the evidence when it contradicts one seen before."""
    told, raw = signed.checkpoint, signed.note.encode()
    fork = None
    for other_root, other in unit.seen_at(told.origin, told.size):
        if other_root != told.root:
            made = ForkRow(told.origin, other, raw, b"", via, at)
            fork = made if unit.put_fork(made) else fork
    unit.saw(told.origin, told.size, told.root, raw, via=via, at=at)
    return fork


class ForkWatch:
    """Remembers what other logs signed, and finds contradictions.

    Consistency and durability: what was accepted is stored first. Concurrency: any number of threads. Errors: as said
    at each method, and UnavailableError when the database cannot be used.

    Args:
        database: where it is kept.
        clock: for the time kept with it.
        alarm: told of each fork.
    """

    def __init__(self, database: Database, clock: Clock, alarm: Alarm | None = None) -> None:
        self._database = database
        self._clock = clock
        self._alarm = alarm

    def last(self, origin: str) -> tuple[int, bytes] | None:
        """Return size and root of the largest checkpoint of a log that was seen."""
        with self._database.read() as connection:
            found = WitnessUnit(connection).last_seen(origin)
        return None if found is None else found[:2]

    def forks(self, limit: int = 100) -> list[ForkRow]:
        """Return the evidence of forks, newest first."""
        with self._database.read() as connection:
            return WitnessUnit(connection).forks(limit)

    def see(self, raw: bytes, keys: Sequence[NoteKey], *, via: str) -> SignedCheckpoint:
        """Remember a checkpoint that somebody showed, without a proof: enough to find a fork at equal size.

        Raises:
            LimitError: too long.
            MalformedError: no checkpoint.
            UntrustedError: not signed by the log, or a fork: it contradicts one that was seen.
        """
        signed = open_checkpoint(raw, keys)
        self._keep(signed, via)
        return signed

    def accept(
        self, raw: bytes, keys: Sequence[NoteKey], consistency: Sequence[bytes], *, via: str
    ) -> SignedCheckpoint:
        """Take a checkpoint as the continuation (or an earlier state) of the largest one seen.

        Args:
            raw: the note.
            keys: of the log.
            consistency: the proof between the largest one seen and this one; empty when there is none yet.
            via: from whom it came.

        Raises:
            LimitError: too long.
            MalformedError: no checkpoint.
            UntrustedError: not signed by the log, not proven consistent, or a fork.
        """
        signed = open_checkpoint(raw, keys)
        told = signed.checkpoint
        known = self.last(told.origin)
        if known is not None:
            view = compare(told.origin, Checkpoint(told.origin, *known), told, consistency)
            if view is View.UNPROVEN:
                raise UntrustedError("federation.log.unproven", field="consistency", origin=told.origin)
        self._keep(signed, via)
        return signed

    def _keep(self, signed: SignedCheckpoint, via: str) -> None:
        told = signed.checkpoint
        with self._database.write() as connection:
            unit = WitnessUnit(connection)
            fork = note_seen(unit, signed, via=via, at=int(self._clock.now()))
            forked = any(root != told.root for root, _ in unit.seen_at(told.origin, told.size))
        if fork is not None and self._alarm is not None:
            self._alarm(fork)
        if forked:
            raise UntrustedError("federation.log.fork", field="root", origin=told.origin, size=told.size)
