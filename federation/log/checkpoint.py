"""Checkpoints (C2SP tlog-checkpoint): the size and root of a log at a moment, as a signed note.

Three lines: origin, decimal size, base64 root. No more: nothing here would understand them. The key that signs has
the origin as its name.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from federation.log.merkle import EMPTY_ROOT, HASH_BYTES
from federation.log.note import Note, NoteKey, Verified, check_name, exact_base64, open_note, sign_note
from registry.errors import MalformedError, UntrustedError
from registry.trust.keys import Signer
from registry.trust.strict_json import MAX_INTEGER

__all__ = ["Checkpoint", "SignedCheckpoint", "open_checkpoint", "read_size", "sign_checkpoint"]

_LINES = 3
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its origin, how many leaves it has, and the root over them (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of a note.

        Raises:
            MalformedError: not exactly a checkpoint.
        """
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines[_LINES]:
            raise MalformedError("federation.log.checkpoint_form", field="checkpoint")
        root = exact_base64(lines[2], field="root")
        if len(root) != HASH_BYTES:
            raise MalformedError("federation.log.checkpoint_form", field="root")
        return cls(check_name(lines[0]), read_size(lines[1], field="size"), root)

    @property
    def is_possible(self) -> bool:
        """Whether the root can be right at all: an empty log has the root of the empty tree."""
        return self.size > 0 or self.root == EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose log's signature holds.

    Attributes:
        checkpoint: what it says.
        note: as received.
        cosignatures: those of the known witnesses; each has a time.
    """

    checkpoint: Checkpoint
    note: Note
    cosignatures: tuple[Verified, ...] = ()

    @property
    def witnessed_at(self) -> int | None:
        """The earliest time a known witness states; None without one."""
        return min((seen.at for seen in self.cosignatures if seen.at is not None), default=None)


def read_size(spelling: str, *, field: str) -> int:
    """Read a decimal size in its one spelling.

    Raises:
        MalformedError: leading zeros, signs, or beyond 2^53 - 1.
    """
    if not _SIZE.fullmatch(spelling) or int(spelling) > MAX_INTEGER:
        raise MalformedError("federation.log.size_form", field=field, value=spelling[:32])
    return int(spelling)


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> Note:
    """Return the note of a checkpoint, signed by the log's key.

    Raises:
        MalformedError: the origin is no name.
        NotSupportedError: the signer is not an Ed25519 one.
    """
    text = checkpoint.text()
    return Note(text, (sign_note(text, checkpoint.origin, signer),))


def open_checkpoint(
    raw: bytes, log: NoteKey | Sequence[NoteKey], witnesses: Sequence[NoteKey] = ()
) -> SignedCheckpoint:
    """Read a checkpoint and verify the log's signature and those of known witnesses.

    Args:
        raw: the note.
        log: the key or keys (while one is rotated) of the log; their name must be the origin.
        witnesses: keys that may have cosigned.

    Raises:
        LimitError: too long.
        MalformedError: not a checkpoint.
        UntrustedError: not signed by the log, another origin, or a known key's signature is wrong.
    """
    logs = (log,) if isinstance(log, NoteKey) else tuple(log)
    note, held = open_note(raw, (*logs, *witnesses))
    checkpoint = Checkpoint.parse(note.text)
    if not any(seen.key in logs and seen.key.name == checkpoint.origin for seen in held):
        raise UntrustedError("federation.log.checkpoint_unsigned", field="origin", value=checkpoint.origin)
    if not checkpoint.is_possible:
        raise UntrustedError("federation.log.checkpoint_empty", field="root")
    return SignedCheckpoint(checkpoint, note, tuple(seen for seen in held if seen.key not in logs))
