"""How a node is reached, in the words of the Handle system (HS_SITE, facts on identifiers §2)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["describe_site"]

_PORTS = {"http": 80, "https": 443}


def describe_site(url: str, *, description: str, jwk: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the JSON of an HS_SITE value with one server and its HTTP interface.

    Args:
        url: base URL of the HTTP door.
        description: what the site calls itself.
        jwk: public key of the prefix, when there is one.
    """
    parts = urlsplit(url)
    server: dict[str, Any] = {
        "serverId": 1,
        "address": parts.hostname or "",
        "interfaces": [
            {
                "query": True,
                "admin": True,
                "protocol": parts.scheme.upper(),
                "port": parts.port or _PORTS.get(parts.scheme, 0),
            }
        ],
    }
    if jwk is not None:
        server["publicKey"] = {"format": "key", "value": dict(jwk)}
    return {
        "version": 1,
        "protocolVersion": "2.10",
        "serialNumber": 1,
        "primarySite": True,
        "multiPrimary": False,
        "attributes": [{"name": "desc", "value": description}],
        "servers": [server],
    }
