"""Putting witnesses' signatures under this node's own checkpoints.

A signature comes back from a witness that was asked, or is brought by a subordinate node that follows this log
(nothing connects to such a node: it fetches and brings). Only what a certified key signed over it is kept.
"""

from collections.abc import Sequence

from federation.log.checkpoint import read_size
from federation.log.note import Note, NoteKey, NoteSignature, open_note, parse_note, parse_signatures
from federation.log.storage import LogUnit, StoredCheckpoint
from registry.errors import LimitError, MalformedError, NotFoundError
from registry.storage.engine import Database

__all__ = ["MAX_COSIGNATURES", "add_cosignatures", "make_cosignatures", "parse_cosignatures"]

#: Under one checkpoint: what every reader of notes accepts.
MAX_COSIGNATURES = 15

_MAX_BYTES = 16_384


def make_cosignatures(size: int, lines: bytes) -> bytes:
    """Return the body that brings signature lines for the checkpoint of `size`."""
    return b"%d\n%b" % (size, lines)


def parse_cosignatures(raw: bytes) -> tuple[int, tuple[NoteSignature, ...]]:
    """Read such a body.

    Raises:
        LimitError: too long.
        MalformedError: not such a body.
    """
    if len(raw) > _MAX_BYTES:
        raise LimitError("federation.log.request_size", length=len(raw), limit=_MAX_BYTES)
    try:
        size, _, tail = raw.decode().partition("\n")
    except UnicodeDecodeError:
        raise MalformedError("federation.log.note_form", field="signatures") from None
    return read_size(size, field="size"), parse_signatures(tail)


def add_cosignatures(
    database: Database, size: int, signatures: Sequence[NoteSignature], witnesses: Sequence[NoteKey]
) -> int:
    """Put signatures under the stored checkpoint of `size`; beyond fifteen witnesses no more are kept.

    Returns:
        How many witnesses' signatures it has now.

    Raises:
        NotFoundError: there is no such checkpoint.
        UntrustedError: none is by `witnesses`, or one of theirs does not hold.
        UnavailableError: the database cannot be written.
    """
    with database.write() as connection:
        unit = LogUnit(connection)
        known = unit.checkpoint(size, lock=True)
        if known is None:
            raise NotFoundError("federation.log.no_checkpoint", field="size", value=size)
        note = parse_note(known.note)
        _, held = open_note(Note(note.text, tuple(signatures)), witnesses)
        # one signature of a witness is enough: the first gives the earliest time
        there = {(signature.name, signature.id) for signature in note.signatures}
        fresh: dict[tuple[str, bytes], NoteSignature] = {}
        for seen in held:
            place = (seen.signature.name, seen.signature.id)
            if place not in there:
                fresh.setdefault(place, seen.signature)
        room = max(0, MAX_COSIGNATURES - known.cosigned)
        more = note.plus(list(fresh.values())[:room])
        count = len(more.signatures) - 1
        if count != known.cosigned:
            unit.put_checkpoint(StoredCheckpoint(known.size, known.root, more.encode(), count, known.at))
        return count
