"""base64url without padding (RFC 7515 §2), read so that one content has exactly one spelling."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

__all__ = ["b64u", "from_b64u"]

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def b64u(data: bytes) -> str:
    """Return `data` in base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_b64u(spelling: str) -> bytes | None:
    """Return the bytes, or None when the spelling is not the only right one.

    Refused: padding, other characters, an impossible length, and a last character whose unused bits are not zero.
    """
    if not _ALPHABET.fullmatch(spelling) or len(spelling) % 4 == 1:
        return None
    data = urlsafe_b64decode(spelling + "=" * (-len(spelling) % 4))
    return data if b64u(data)[-1:] == spelling[-1:] else None
