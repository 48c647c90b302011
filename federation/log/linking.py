"""The link from a log to the one before it: the first leaf of a log that was opened because another could not go on.

The leaf is of kind `key`; its `env` is the SHA-256 of the lines below, its `seq` the size of the old log's furthest
checkpoint that is known. The first checkpoint of the new log signs it, and the witnesses of that checkpoint with it:
whoever holds the old checkpoint can say which log followed it, and that nothing else did.

    hazlink/log-link/v1
    <origin of the old log>
    <size of its furthest known checkpoint>
    <its root, base64>
    <origin of the new log>
"""

import base64
import hashlib

from federation.log.leaf import Leaf
from registry.trust.encoding import b64u

__all__ = ["LINK_STREAM", "link_digest", "link_leaf"]

#: What the leaf says as its stream.
LINK_STREAM = "control"


def link_digest(old: str, size: int, root: bytes, new: str) -> str:
    """Return the base64url digest of a link.

    Args:
        old: origin of the log that is closed.
        size: of its furthest known checkpoint; 0: none is known.
        root: 32 bytes, over that many leaves.
        new: origin of the log that follows.
    """
    lines = ("hazlink/log-link/v1", old, str(size), base64.b64encode(root).decode(), new)
    return b64u(hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).digest())


def link_leaf(old: str, size: int, root: bytes, new: str, at: int) -> bytes:
    """Return the first leaf of the new log; arguments as `link_digest`, and the POSIX second."""
    who = f"0.NA/{new.rpartition('/')[0]}"
    return Leaf(
        kind="key",
        env=link_digest(old, size, root, new),
        iss=who,
        aud=who,
        stream=LINK_STREAM,
        epoch=0,
        seq=size,
        at=at,
    ).encode()
