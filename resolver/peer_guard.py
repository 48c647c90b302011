"""Where this node may connect to, so that no statement and no invitation can make it knock where it must not.

Rules (facts on federation, (f) row 8 and (g)):

- https alone; plain http to loopback addresses, and only where the settings allow it;
- special addresses (loopback, private, link-local, multicast …, also in their IPv6 disguises) are refused unless the
  settings name their network: a plant's own ranges.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from registry.errors import UnavailableError, UntrustedError

__all__ = ["GuardConfig", "PeerGuard"]

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK = ("127.0.0.0/8", "::1/128")
#: NAT64 (RFC 6052): the last four bytes are an IPv4 address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Settings for asking other nodes.

    Attributes:
        allow_loopback_peers: also loopback addresses, also over plain http; for demonstrations and tests.
        allowed_networks: special networks that may be asked all the same, for example `10.20.0.0/16`.
        max_reply_bytes: a longer reply is refused.
        connect_timeout_seconds: for connecting and the handshake.
        reply_deadline_seconds: for the whole exchange.
        max_connections: open at the same time to nodes with the same certificate.
        ca_file: certificates that are trusted instead of the system's, for a plant with its own authority.
    """

    allow_loopback_peers: bool = False
    allowed_networks: tuple[str, ...] = ()
    max_reply_bytes: int = 4 << 20
    connect_timeout_seconds: float = 2.0
    reply_deadline_seconds: float = 5.0
    max_connections: int = 32
    ca_file: str | None = None


class PeerGuard:
    """Decides where this node may connect to."""

    def __init__(self, config: GuardConfig) -> None:
        loopback = _LOOPBACK if config.allow_loopback_peers else ()
        self._allowed = _networks((*config.allowed_networks, *loopback))
        self._plain = _networks(loopback)

    def check_url(self, url: str) -> None:
        """Check the spelling of an address, before anything is looked up.

        Raises:
            UntrustedError: not https, or carries a login, a fragment, control characters or no host.
        """
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        clean = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
        plain = parts.scheme == "http" and bool(self._plain)
        if not host or not clean or "@" in parts.netloc or parts.fragment:
            raise UntrustedError("resolver.peer.url", field="url", value=url[:200])
        if parts.scheme != "https" and not plain:
            raise UntrustedError("resolver.peer.scheme", field="url", value=url[:200])

    def admit(self, address: str, *, plain: bool = False) -> bool:
        """Say whether this node may connect to an address.

        Args:
            address: an IP address as text.
            plain: without TLS.
        """
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        inner = _unwrapped(ip)
        if plain:
            return _within(inner, self._plain)
        return all(_is_public(one) or _within(one, self._allowed) for one in {ip, inner})

    async def addresses(self, host: str, port: int, *, plain: bool = False) -> list[str]:
        """Look a host up and return the addresses this node may connect to.

        Raises:
            UnavailableError: the name is unknown now.
            UntrustedError: it has no address that may be used.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise UnavailableError("resolver.peer.unknown_host", field="url", value=host) from error
        known = list(dict.fromkeys(str(row[4][0]) for row in found))
        admitted = [address for address in known if self.admit(address, plain=plain)]
        if not admitted:
            raise UntrustedError(
                "resolver.peer.forbidden_address", field="url", value=host, addresses=", ".join(known)[:200]
            )
        return admitted


def _networks(spellings: Iterable[str]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(spelling) for spelling in spellings)


def _within(ip: _Address, networks: Iterable[_Network]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)


def _is_public(ip: _Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def _unwrapped(ip: _Address) -> _Address:
    """Return the IPv4 address inside an IPv6 one."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    teredo = ip.teredo
    return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else ip)
