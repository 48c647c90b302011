"""Our identifiers as EPCIS URIs, and back.

Rules (the project's facts file on traceability, section 2; CBV 2.0 section 8.2):

- `88.1.2/B1` is `https://host/88.1.2/<marker>/B1`; the marker says what is named: `obj`, `class`, `loc`, `bt`, `pty`;
- everything in the suffix but unreserved ASCII is escaped, also `/`; `hdl:88.1.2/B1` names the same;
- no path of ours holds what GS1 software takes for one of its keys: it would move the URI to another host;
- two URIs are compared by `normal`: one of ours by its identifier, whatever the host; a GS1 key by its canonical
  link; every other URI is carried and compared as it was written.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote, unquote_to_bytes

from node.flow.events.gs1_keys import canonical, has_key
from node.flow.events.texts import is_uri
from registry.errors import InvalidValueError, MalformedIdentifierError
from registry.identifier import Identifier, fold

__all__ = ["Kind", "Reference", "normal", "read_uri", "to_hdl", "to_uri"]


class Kind(Enum):
    """What an identifier names; the value is the marker in the path."""

    OBJECT = "obj"
    CLASS = "class"
    PLACE = "loc"
    DOCUMENT = "bt"
    PARTY = "pty"


@dataclass(frozen=True, slots=True)
class Reference:
    """What one of our URIs says.

    Attributes:
        identifier: as it was spelled, unescaped.
        kind: None for `hdl:`, which does not tell.
        authority: host, and port where one was given; None for `hdl:`.
    """

    identifier: str
    kind: Kind | None
    authority: str | None


_AUTHORITY = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_MARKERS = "|".join(kind.value for kind in Kind)
_OURS = re.compile(rf"https://([^/?#]+)/([0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)/({_MARKERS})/([^/?#]+)")
_HDL = re.compile(r"hdl:([0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)/([^?#]+)")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def to_uri(identifier: str, kind: Kind, authority: str) -> str:
    """Return the EPCIS URI of one of our identifiers.

    Args:
        identifier: such as `88.1.2/B1`.
        kind: what it names.
        authority: `id.example.cn` or `id.example.cn:8443`.

    Raises:
        MalformedIdentifierError: it is no identifier.
        InvalidValueError: the authority is none, the URI would be too long, or holds what GS1 takes for a key.
    """
    parsed = Identifier.parse(identifier)
    if _AUTHORITY.fullmatch(authority) is None:
        raise InvalidValueError("node.flow_events.uri", value=authority)
    path = f"/{parsed.prefix.key}/{kind.value}/"
    if has_key(path + parsed.suffix):
        raise InvalidValueError("node.flow_events.gs1_key", value=identifier)
    made = f"https://{authority}{path}{quote(parsed.suffix, safe='')}"
    if not is_uri(made) or _OURS.fullmatch(made) is None:
        raise InvalidValueError("node.flow_events.uri", value=made)
    return made


def to_hdl(identifier: str) -> str:
    """Return the `hdl:` URI of one of our identifiers.

    Raises:
        MalformedIdentifierError: it is no identifier.
    """
    parsed = Identifier.parse(identifier)
    return f"hdl:{parsed.prefix.key}/{quote(parsed.suffix, safe='')}"


def read_uri(uri: str, *, authorities: Collection[str] | None = None) -> Reference | None:
    """Return what a URI of our form names; None for every other URI, which is carried as it is.

    Args:
        uri: any URI.
        authorities: the hosts whose URIs are ours; None: the form alone decides.
    """
    found = _OURS.fullmatch(uri)
    if found is not None:
        authority = found[1].lower()
        if authorities is not None and authority not in authorities:
            return None
        identifier = _identifier(found[2], found[4])
        return Reference(identifier, Kind(found[3]), authority) if identifier else None
    found = _HDL.fullmatch(uri)
    if found is None:
        return None
    identifier = _identifier(found[1], found[2])
    return Reference(identifier, None, None) if identifier else None


def normal(uri: str) -> str:
    """Return the one spelling by which two URIs are compared."""
    found = read_uri(uri)
    if found is None:
        return canonical(uri)
    return to_hdl(fold(found.identifier))


def _identifier(prefix: str, suffix: str) -> str | None:
    if _ESCAPE.search(suffix):
        return None
    try:
        return Identifier.parse(f"{prefix}/{unquote_to_bytes(suffix).decode()}").text
    except (MalformedIdentifierError, UnicodeDecodeError):
        return None
