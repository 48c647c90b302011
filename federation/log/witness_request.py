"""What a log asks of a witness, and the decision about it, without I/O.

Rules (facts on federation, (c) "Witness"):

- no valid signature by the log 403; `old` above the size 400; `old` not the size cosigned last 409; a proof that does
  not hold, a proof from nothing, another root at the same size or for an empty log 422; else 200;
- the body is `old <size>`, the hashes of the consistency proof one a line, an empty line, and the checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from federation.log.checkpoint import Checkpoint, SignedCheckpoint, read_size
from federation.log.forks import proof_lines
from federation.log.merkle import verify_consistency
from federation.log.note import MAX_NOTE_BYTES, NoteKey, open_note, parse_note
from federation.log.proof import read_hashes
from registry.errors import LimitError, MalformedError, UntrustedError

__all__ = [
    "MAX_REQUEST_BYTES",
    "Decision",
    "Status",
    "WitnessRequest",
    "decide",
    "make_request",
    "parse_request",
]

MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 4_096


class Status(IntEnum):
    """How a witness answers, by HTTP status."""

    COSIGNED = 200
    BAD = 400
    UNSIGNED = 403
    UNKNOWN = 404
    OTHER_SIZE = 409
    UNPROVEN = 422
    MISSING = 424


@dataclass(frozen=True, slots=True)
class WitnessRequest:
    """What a log asks: its size when it was cosigned last, the proof from there, its new checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a request.

    Attributes:
        status: of HTTP.
        signed: the checkpoint, where the log's signature holds.
    """

    status: Status
    signed: SignedCheckpoint | None = None


def make_request(request: WitnessRequest) -> bytes:
    """Return the body of `add-checkpoint`."""
    return b"old %d\n%b\n%b" % (request.old, proof_lines(request.proof), request.note)


def parse_request(raw: bytes) -> WitnessRequest:
    """Read the body of `add-checkpoint`.

    Raises:
        LimitError: too long, or more than 63 hashes.
        MalformedError: not such a body.
    """
    if len(raw) > MAX_REQUEST_BYTES:
        raise LimitError("federation.log.request_size", length=len(raw), limit=MAX_REQUEST_BYTES)
    head, empty, note = raw.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        first, lines = "", []
    if not empty or not first.startswith("old "):
        raise MalformedError("federation.log.request_form", field="body")
    return WitnessRequest(read_size(first.removeprefix("old "), field="old"), read_hashes(lines), note)


def decide(keys: Sequence[NoteKey], known: tuple[int, bytes], request: WitnessRequest) -> Decision:
    """Decide about a request; no I/O.

    Args:
        keys: of the log.
        known: size and root cosigned last; (0, empty root) before the first.
        request: what is asked.

    Raises:
        LimitError: the note is too long.
        MalformedError: it is no checkpoint.
    """
    note = parse_note(request.note)
    told = Checkpoint.parse(note.text)
    try:
        _, held = open_note(note, [key for key in keys if key.name == told.origin])
    except UntrustedError:
        return Decision(Status.UNSIGNED)
    # only what known keys signed is kept: strangers could hang anything on it
    signed = SignedCheckpoint(told, replace(note, signatures=tuple(seen.signature for seen in held)))
    size, root = known
    if request.old > told.size:
        return Decision(Status.BAD, signed)
    if request.old != size:
        return Decision(Status.OTHER_SIZE, signed)
    if told.size == size:
        good = told.root == root and not request.proof
    elif size == 0:
        good = not request.proof
    else:
        good = verify_consistency(size, root, told.size, told.root, request.proof)
    return Decision(Status.COSIGNED if good else Status.UNPROVEN, signed)
