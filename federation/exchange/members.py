"""Members that envelopes, receipts, heads and epochs share, each read in its one spelling."""

import re
from functools import lru_cache

from registry.errors import MalformedError
from registry.identifier import Prefix
from registry.trust.claims import Claims

__all__ = ["MEDIA", "digest_claim", "handle_claim", "name_claim", "parse_handle", "uuid_claim"]

#: A media type without parameters.
MEDIA = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_MAX_NAME = 128
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UUID_CHARACTERS = 36
#: 256 bits in 43 characters: the last carries four of them, its two others are zero.
_DIGEST = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_DIGEST_CHARACTERS = 43
_HANDLE_CHARACTERS = 80


def handle_claim(claims: Claims, name: str) -> Prefix:
    """Return the prefix of a member that holds a folded prefix handle, `0.NA/88.107`.

    Raises:
        MalformedError: it is anything else; another spelling too.
    """
    text = claims.text(name, _HANDLE_CHARACTERS)
    made = parse_handle(text)
    if made is None:
        raise MalformedError(
            "federation.exchange.handle", field=claims.where(name), value=text, right="0.NA/88.107"
        )
    return made


def digest_claim(claims: Claims, name: str) -> str:
    """Return a member that holds 32 bytes in base64url.

    Raises:
        MalformedError: it is anything else.
    """
    text = claims.text(name, _DIGEST_CHARACTERS)
    if not _DIGEST.fullmatch(text):
        raise MalformedError("federation.exchange.digest", field=claims.where(name), value=text)
    return text


@lru_cache(maxsize=8192)
def parse_handle(text: str) -> Prefix | None:
    """Return the prefix of a handle in its one spelling, None for anything else and for the root."""
    try:
        made = Claims({"": text}).prefix("")
    except MalformedError:
        return None
    return made if made is not None and made.handle.text == text else None


def name_claim(claims: Claims, name: str, rule: re.Pattern[str] = _NAME) -> str:
    """Return a name out of printable ASCII: an event, a schema, a media type.

    Raises:
        MalformedError: it is anything else.
    """
    text = claims.text(name, _MAX_NAME)
    if not rule.fullmatch(text):
        raise MalformedError("federation.exchange.name", field=name, value=text, right=rule.pattern)
    return text


def uuid_claim(claims: Claims, name: str) -> str:
    """Return a UUID of version 7 in lower case.

    Raises:
        MalformedError: it is anything else.
    """
    text = claims.text(name, _UUID_CHARACTERS)
    if not _UUID7.fullmatch(text):
        raise MalformedError("federation.exchange.uuid", field=name, value=text)
    return text
