"""Where a node says it answers: checked before it may stand in a signed statement."""

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from registry.errors import InvalidValueError
from registry.trust.statement import Endpoints

__all__ = ["check_length", "is_allowed_url", "read_endpoints", "to_endpoints"]

_MAX_URLS = 8
_MAX_URL = 200


def read_endpoints(form: Mapping[str, Any], *, allow_loopback: bool) -> dict[str, Any]:
    """Check where a node says it will answer.

    Raises:
        InvalidValueError: too many addresses, one that is too long, or none of `https://host…` (plain http is taken
            for loopback addresses alone, and only where the settings allow it).
    """
    urls = form.get("resolve") or ()
    if not isinstance(urls, (list, tuple)) or len(urls) > _MAX_URLS:
        raise InvalidValueError("registry.prefixes.urls_many", field="endpoints.resolve", limit=_MAX_URLS)
    checked: dict[str, Any] = {"resolve": [_checked_url(url, allow_loopback) for url in urls]}
    exchange = form.get("exchange")
    checked["exchange"] = _checked_url(exchange, allow_loopback) if exchange else None
    for name in ("tls_x5t_s256", "log_vkey"):
        pin = form.get(name)
        checked[name] = check_length(f"endpoints.{name}", str(pin), _MAX_URL) if pin else None
    return checked


def to_endpoints(form: Mapping[str, Any]) -> Endpoints:
    """Return checked endpoints as they stand in a statement."""
    return Endpoints(
        resolve=tuple(form["resolve"]),
        exchange=form["exchange"],
        tls_x5t_s256=form["tls_x5t_s256"],
        log_vkey=form["log_vkey"],
    )


def is_allowed_url(url: str, *, allow_loopback: bool) -> bool:
    """Say whether a base URL is `https://host…`, or plain http to a loopback address where that is allowed."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    clean = url.isascii() and url.isprintable() and " " not in url
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    scheme = parts.scheme == "https" or (parts.scheme == "http" and allow_loopback and _is_loopback(host))
    return bool(host) and scheme and clean and bare


def _checked_url(url: object, allow_loopback: bool) -> str:
    spelled = check_length("endpoints", str(url), _MAX_URL)
    if not is_allowed_url(spelled, allow_loopback=allow_loopback):
        raise InvalidValueError("registry.prefixes.url", field="endpoints", value=spelled)
    return spelled.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_length(field: str, spelled: str, limit: int) -> str:
    """Return the text, or refuse it for its length.

    Raises:
        InvalidValueError: it has more than `limit` characters.
    """
    if len(spelled) > limit:
        raise InvalidValueError("registry.prefixes.long", field=field, length=len(spelled), limit=limit)
    return spelled
