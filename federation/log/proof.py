"""The file that proves one entry of a log (C2SP tlog-proof): its index, the hashes up to the root, and a checkpoint.

It needs no signature of its own; the checkpoint carries those of the log and its witnesses.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from federation.log.checkpoint import SignedCheckpoint, open_checkpoint, read_size
from federation.log.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from federation.log.note import MAX_NOTE_BYTES, NoteKey, exact_base64
from registry.errors import LimitError, MalformedError, UntrustedError

__all__ = ["MAX_PROOF_BYTES", "TlogProof", "read_hashes"]

MAX_PROOF_BYTES = MAX_NOTE_BYTES + 8_192

_HEADER = "c2sp.org/tlog-proof@v1"
_MAX_HASHES = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """The content of a proof file.

    Attributes:
        index: of the entry.
        hashes: from the leaf to the root, 32 bytes each.
        checkpoint: the bytes of the signed note.
        extra: opaque bytes for the application, or None.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Return the file."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [b64encode(step).decode() for step in self.hashes]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint

    @classmethod
    def parse(cls, raw: bytes) -> "TlogProof":
        """Read a proof file without believing it.

        Raises:
            LimitError: too long, or more than 63 hashes.
            MalformedError: not such a file.
        """
        if len(raw) > MAX_PROOF_BYTES:
            raise LimitError("federation.log.proof_size", length=len(raw), limit=MAX_PROOF_BYTES)
        # the first empty line ends the proof; the note after it has one of its own
        head, empty, checkpoint = raw.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            lines = []
        if not empty or not lines or lines.pop(0) != _HEADER:
            raise MalformedError("federation.log.proof_form", field="proof")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = exact_base64(lines.pop(0).removeprefix("extra "), field="extra")
        if not lines or not lines[0].startswith("index "):
            raise MalformedError("federation.log.proof_form", field="index")
        index = read_size(lines.pop(0).removeprefix("index "), field="index")
        return cls(index, read_hashes(lines), checkpoint, extra)

    def verify(self, leaf: bytes, log: NoteKey, witnesses: Sequence[NoteKey] = ()) -> SignedCheckpoint:
        """Check that the log has `leaf` at this index, and return the checkpoint that says so.

        Raises:
            MalformedError: the checkpoint is none.
            UntrustedError: the checkpoint is not the log's, or the leaf is not under it.
        """
        signed = open_checkpoint(self.checkpoint, log, witnesses)
        told = signed.checkpoint
        if not verify_inclusion(leaf_hash(leaf), self.index, told.size, self.hashes, told.root):
            raise UntrustedError("federation.log.proof_inclusion", field="index", value=self.index)
        return signed


def read_hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    """Read base64 hashes, one a line.

    Raises:
        LimitError: more than 63.
        MalformedError: not hashes.
    """
    if len(lines) > _MAX_HASHES:
        raise LimitError("federation.log.proof_hashes", count=len(lines), limit=_MAX_HASHES)
    made = tuple(exact_base64(line, field="hashes") for line in lines)
    if any(len(step) != HASH_BYTES for step in made):
        raise MalformedError("federation.log.proof_form", field="hashes")
    return made
