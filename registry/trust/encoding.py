"""base64url without padding (RFC 7515 §2), read so that one content has exactly one spelling."""

from binascii import a2b_base64, b2a_base64

__all__ = ["b64u", "from_b64u"]

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
#: By how many characters stand behind the last full group of four: the last characters whose unused bits are zero.
_LAST = ("", "", "AQgw", "AEIMQUYcgkosw048")
_PADDING = (b"", b"", b"==", b"=")


def b64u(data: bytes) -> str:
    """Return `data` in base64url without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode()


def from_b64u(spelling: str) -> bytes | None:
    """Return the bytes, or None when the spelling is not the only right one.

    Refused: padding, other characters, an impossible length, and a last character whose unused bits are not zero.
    """
    if not spelling.isascii():
        return None
    raw = spelling.encode()
    behind = len(raw) % 4
    if raw.translate(None, _ALPHABET) or (behind and spelling[-1] not in _LAST[behind]):
        return None
    return a2b_base64(raw.translate(_FROM_URL) + _PADDING[behind])
