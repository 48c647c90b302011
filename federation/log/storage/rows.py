"""Rows of the node's own log as the rest of the room sees them."""

from dataclasses import dataclass

__all__ = ["LogRow", "StoredCheckpoint", "StoredTile"]


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log of this node.

    Attributes:
        number: 1 for the first, growing.
        origin: its name.
        kid, vkey: of the key that signs its checkpoints.
        state: `open` or `closed`.
        minimum: entries below it are no longer served.
        created: POSIX seconds.
    """

    number: int
    origin: str
    kid: str
    vkey: str
    state: str
    minimum: int
    created: int


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint: size in leaves, root of 32 bytes, the note's bytes, how many witnesses signed it, when."""

    size: int
    root: bytes
    note: bytes
    cosigned: int
    at: int


@dataclass(frozen=True, slots=True)
class StoredTile:
    """A tile as wide as it is by now: level, number, 32 bytes for each entry."""

    level: int
    number: int
    hashes: bytes
