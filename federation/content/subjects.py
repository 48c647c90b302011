"""Who the prefixes belong to and where they answer: the docking tables T1, T2, T6 and T7.

A prefix tells its superior about itself (T1 its holder, T2 its addresses) and, where it has delegated, about each
enterprise below it (T6, T7). What the registry knows is put together here; the rest of a table's fields is entered by
hand (`federation.content.own`).
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from federation.content.dataset import Dataset
from federation.content.ports import HomedPrefixes
from federation.content.registrations import fields_of, seen_by
from federation.content.storage.receiving import ReceivedUnit
from federation.content.storage.sending import SendingUnit
from registry.delegation import Delegation, DelegationState
from registry.errors import HazlinkError
from registry.identifier import Prefix
from registry.trust.statement import read

__all__ = ["Subjects"]

_KIND = "enterprise"
_CODE_TYPE = "HANDLE"
_PORTS = {"http": ("HTTP", 80), "https": ("HTTPS", 443)}


class Subjects:
    """Puts the four tables together; each method is a `federation.content.snapshots.Rows`.

    Args:
        homes: the prefixes this node speaks for, and what it delegated.
        subject: declaration of T1, whose record types T6 shares.
    """

    def __init__(self, *, homes: HomedPrefixes, subject: Dataset) -> None:
        self._homes = homes
        self._subject = subject

    def t1(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return the holder of the prefix, as its own record of kind `enterprise` says."""
        del now
        yield {"prefix": owner.key, **self._of_record(connection, owner, receiver)}

    def t2(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return the addresses of the prefix, as its delegation says."""
        del connection, receiver, now
        chain = self._homes.chain(owner)
        if chain:
            yield {"prefix": owner.key, "code_type": _CODE_TYPE, "routes": routes_of(chain[0])}

    def t6(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return the enterprises below the prefix: what they said of themselves, else what their request said."""
        del now
        unit = ReceivedUnit(connection)
        for made in self._below(owner):
            content: dict[str, Any] = {"prefix": made.prefix.key}
            if made.name:
                content["name"] = made.name
            if made.contact:
                content["contact_phone" if _is_phone(made.contact) else "contact"] = made.contact
            said = unit.one("t1", owner, made.prefix, made.prefix.key)
            content |= _plain(said.entry.content) if said else {}
            yield content | self._of_record(connection, made.prefix, receiver) | {"prefix": made.prefix.key}

    def t7(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return the addresses of the enterprises below the prefix."""
        del connection, receiver, now
        for made in self._below(owner):
            yield {"prefix": made.prefix.key, "code_type": _CODE_TYPE, "routes": routes_of(made.token)}

    def _below(self, owner: Prefix) -> Iterator[Delegation]:
        for made in sorted(self._homes.delegations(), key=lambda made: made.prefix.key):
            if made.parent == owner and made.state is not DelegationState.REVOKED:
                yield made

    def _of_record(self, connection: Any, prefix: Prefix, receiver: Prefix) -> dict[str, Any]:
        if self._homes.home_of(prefix) != prefix:
            return {}
        records = SendingUnit(connection).records_of_kind(prefix, _KIND, 1)
        if not records:
            return {}
        return fields_of(self._subject, seen_by(records[0].values, receiver, passed_on=False))


def routes_of(token: str) -> list[dict[str, Any]]:
    """Return the addresses a statement names; an unreadable one names none."""
    try:
        urls = read(token).endpoints.resolve
    except HazlinkError:
        return []
    return [route for url in urls if (route := _route(url)) is not None]


def _route(url: str) -> dict[str, Any] | None:
    parts = urlsplit(url)
    protocol, usual = _PORTS.get(parts.scheme, ("", 0))
    host = parts.hostname
    if not protocol or host is None:
        return None
    made: dict[str, Any] = {"protocol": protocol, "port": parts.port or usual}
    try:
        address = ip_address(host)
    except ValueError:
        return {"host": host, **made}
    return {"ip_type": f"IPv{address.version}", "ip": str(address), **made}


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that came as values: a digest of the enterprise's is nothing to pass on as our own word."""
    return {
        name: value
        for name, value in content.items()
        if not (isinstance(value, dict) and set(value) == {"digest"})
    }


def _is_phone(text: str) -> bool:
    return text.strip("+0123456789 -") == ""
