"""The streams of the exchange, in the order in which they go first, and the sizes everybody keeps to.

Rules (facts on federation, (b)):

- each stream has its own order; nothing in one waits for another;
- a stream needs the operation of its name in the sender's rights; `control` needs none beyond a chain that holds;
- limits are constants: a sender reads by the same ones before it signs.
"""

__all__ = [
    "CONTROL",
    "MAX_BATCH",
    "MAX_BATCH_BYTES",
    "MAX_BODY_BYTES",
    "MAX_ENVELOPE_BYTES",
    "MAX_INLINE_BODY_BYTES",
    "STREAMS",
    "is_stream",
    "operation",
    "priority",
]

CONTROL = "control"

#: All streams; an earlier one is sent, and worked on, before a later one.
STREAMS = ("alarm", CONTROL, "query", "register", "flow", "catalogue", "report")

#: One token, as received.
MAX_ENVELOPE_BYTES = 262_144
#: A body inside its envelope, as JSON.
MAX_INLINE_BODY_BYTES = 65_536
#: A body beside its envelope.
MAX_BODY_BYTES = 10 * 1024 * 1024
#: Tokens of one request.
MAX_BATCH = 256
#: Bytes of one request.
MAX_BATCH_BYTES = 4 * 1024 * 1024

_PRIORITY = {stream: place for place, stream in enumerate(STREAMS)}


def is_stream(name: str) -> bool:
    """Say whether there is a stream of this name."""
    return name in _PRIORITY


def operation(stream: str) -> str | None:
    """Return the operation a sender needs for a stream; None for `control`.

    Raises:
        KeyError: there is no such stream.
    """
    _PRIORITY[stream]
    return None if stream == CONTROL else stream


def priority(stream: str) -> int:
    """Return the place of a stream in `STREAMS`; 0 goes first.

    Raises:
        KeyError: there is no such stream.
    """
    return _PRIORITY[stream]
