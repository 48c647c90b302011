"""Forms of text in an EPCIS document: URIs and the names of own members."""

import re
from collections.abc import Mapping

__all__ = ["URI_LIMIT", "is_uri", "own_name"]

#: Characters; the node's own limit.
URI_LIMIT = 2048

_PCHAR = r"[A-Za-z0-9._~!$&'()*+,;=:@-]"
_ESC = "%[0-9A-Fa-f]{2}"
#: RFC 3986 §3, `URI`, with something behind the scheme.
_URI = re.compile(
    "(?![A-Za-z0-9+.-]+:$)[A-Za-z][A-Za-z0-9+.-]*:"
    rf"(?://(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|{_ESC})*@)?"
    rf"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]++|{_ESC})*)(?::[0-9]*)?(?=[/?#]|$)|(?!//))"
    rf"(?:{_PCHAR}++|/|{_ESC})*+"
    rf"(?:\?(?:{_PCHAR}++|[/?]|{_ESC})*+)?(?:\#(?:{_PCHAR}++|[/?]|{_ESC})*+)?",
    re.ASCII,
)
#: Schemes that a name may begin with though no context declares them as prefixes.
_SCHEMES = frozenset({"http", "https", "urn", "did", "hdl", "tag", "info", "ni", "oid"})


def is_uri(written: str) -> bool:
    """Whether it is a URI of RFC 3986, no longer than `URI_LIMIT`."""
    return len(written) <= URI_LIMIT and _URI.fullmatch(written) is not None


def own_name(name: str, prefixes: Mapping[str, str]) -> str | None:
    """Return what is wrong with the name of an own member, as the name of a fault; None when nothing is.

    A name is a CURIE whose prefix is declared, or a URI.
    """
    prefix, colon, local = name.partition(":")
    if not colon:
        return "member"
    if prefix in prefixes:
        return None if local else "member"
    if prefix in _SCHEMES or local.startswith("//"):
        return None if is_uri(name) else "member"
    return "prefix"
