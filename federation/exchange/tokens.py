"""What can be read off one of our own envelopes without verifying it again."""

import orjson

from registry.trust.encoding import from_b64u

__all__ = ["named_chain"]


def named_chain(token: bytes) -> str | None:
    """Return the digest by which an envelope of ours names its chain; None when it carries the chain."""
    payload = from_b64u(token.split(b".")[1].decode())
    chain = orjson.loads(payload or b"{}").get("chain")
    return chain if isinstance(chain, str) else None
