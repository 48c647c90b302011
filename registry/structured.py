"""The structured value types of the Handle data model: their bytes, and the JSON that stands for them.

| type | JSON format | bytes |
|---|---|---|
| HS_ADMIN | `admin` | uint16 permissions, str handle, uint32 index |
| HS_VLIST | `vlist` | uint32 n, n times (str handle, uint32 index) |
| HS_SITE, HS_SITE.*, HS_NA_DELEGATE | `site` | the site record |
| HS_PUBKEY | `key` | str algorithm, uint16 0, the numbers as strs; or a JWK as text |

`str` is a uint32 length and that many bytes; integers are big-endian (the project's facts on identifiers, §2, §4.5).
A key whose algorithm the old form has no name for (Ed25519, P-256) is kept as its JWK in JSON.
"""

import ipaddress
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from registry.errors import InvalidValueError

__all__ = ["admin_data", "from_json", "structure_of", "to_json"]

_PERMISSIONS = re.compile(r"[01]{1,16}")
_ALL_PERMISSIONS = 0x0FFF
#: JWK members of the algorithms the old form can carry, in its order.
_KEY_PARTS = {"RSA_PUB_KEY": ("RSA", ("e", "n")), "DSA_PUB_KEY": ("DSA", ("q", "p", "g", "y"))}
_PROTOCOLS = ("UDP", "TCP", "HTTP", "HTTPS")
_HASH_WHOLE = 2
_MAX_ENTRIES = 2048
#: Two bytes that an old client library appended to HS_ADMIN.
_LEGACY_TAIL = 2
_IPV4_IN_SIXTEEN = 12


def structure_of(value_type: str) -> str | None:
    """Return the JSON format of a value type, or None when it is plain text or bytes."""
    name = value_type.upper()
    if name in {"HS_ADMIN", "HS_VLIST", "HS_PUBKEY"}:
        return {"HS_ADMIN": "admin", "HS_VLIST": "vlist", "HS_PUBKEY": "key"}[name]
    if name in {"HS_SITE", "HS_NA_DELEGATE"} or name.startswith("HS_SITE."):
        return "site"
    return None


def to_json(structure: str, data: bytes) -> Any:
    """Return the JSON that stands for the bytes of a structured value.

    Raises:
        InvalidValueError: the bytes are not what the type says.
    """
    try:
        return _READERS[structure](_Reader(data))
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise InvalidValueError("registry.structured.bytes", format=structure) from error


def from_json(structure: str, content: object, *, field: str | None = None) -> bytes:
    """Return the bytes of a structured value given as JSON.

    Raises:
        InvalidValueError: a member is missing or out of range.
    """
    try:
        return _WRITERS[structure](content)
    except KeyError as error:
        raise InvalidValueError(
            "registry.structured.member", field=field, format=structure, member=str(error).strip("'")
        ) from error
    except (struct.error, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidValueError("registry.structured.json", field=field, format=structure) from error


def admin_data(handle: str, index: int, permissions: int = 0x07F3) -> bytes:
    """Return the bytes of an HS_ADMIN value; by default everything but listing and derived prefixes."""
    return permissions.to_bytes(2, "big") + _text(handle) + index.to_bytes(4, "big")


class _Reader:
    """Walks over bytes; a read past the end raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ValueError(count)
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return self.block().decode()

    def count(self) -> int:
        number = self.number()
        if number > _MAX_ENTRIES:
            raise ValueError(number)
        return number

    def end(self, tolerated: int = 0) -> None:
        if len(self.data) - self.at not in {0, tolerated}:
            raise ValueError(self.at)


def _block(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _text(content: str) -> bytes:
    return _block(content.encode())


def _b64u(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _read_admin(reader: _Reader) -> dict[str, Any]:
    permissions = reader.number(2)
    handle = reader.text()
    index = reader.number()
    reader.end(_LEGACY_TAIL)
    return {"handle": handle, "index": index, "permissions": f"{permissions & _ALL_PERMISSIONS:012b}"}


def _write_admin(content: Any) -> bytes:
    spelled = content["permissions"]
    if spelled == "*":
        permissions = _ALL_PERMISSIONS
    elif isinstance(spelled, str) and _PERMISSIONS.fullmatch(spelled):
        permissions = int(spelled, 2)
    else:
        raise ValueError(spelled)
    return admin_data(content["handle"], int(content["index"]), permissions)


def _read_vlist(reader: _Reader) -> list[dict[str, Any]]:
    entries = [{"handle": reader.text(), "index": reader.number()} for _ in range(reader.count())]
    reader.end()
    return entries


def _write_vlist(content: Any) -> bytes:
    parts = [_text(entry["handle"]) + int(entry["index"]).to_bytes(4, "big") for entry in content]
    return len(parts).to_bytes(4, "big") + b"".join(parts)


def _read_key(reader: _Reader) -> dict[str, Any]:
    if reader.data[:1] == b"{":
        jwk = orjson.loads(reader.data)
        if not isinstance(jwk, dict):
            raise ValueError(jwk)
        return jwk
    algorithm = reader.text()
    reader.take(2)
    if algorithm not in _KEY_PARTS:
        raise ValueError(algorithm)
    kind, names = _KEY_PARTS[algorithm]
    parts = {name: _b64u(reader.block().lstrip(b"\x00")) for name in names}
    reader.end()
    return {"kty": kind, **parts}


def _write_key(content: Any) -> bytes:
    for algorithm, (kind, names) in _KEY_PARTS.items():
        if content["kty"] == kind:
            return _text(algorithm) + b"\x00\x00" + b"".join(_block(_number(content[name])) for name in names)
    return orjson.dumps(dict(content))


def _number(encoded: str) -> bytes:
    raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).lstrip(b"\x00")
    # A leading zero keeps the number positive for readers that take it as signed.
    return b"\x00" + raw if raw[:1] >= b"\x80" else raw


def _read_site(reader: _Reader) -> dict[str, Any]:
    version, major, minor, serial, flags, hashing = struct.unpack(">HBBHBB", reader.take(8))
    hash_filter = reader.text()
    site: dict[str, Any] = {
        "version": version,
        "protocolVersion": f"{major}.{minor}",
        "serialNumber": serial,
        "primarySite": bool(flags & 0x80),
        "multiPrimary": bool(flags & 0x40),
    }
    if hashing != _HASH_WHOLE:
        site["hashOption"] = hashing
    if hash_filter:
        site["hashFilter"] = hash_filter
    site["attributes"] = [{"name": reader.text(), "value": reader.text()} for _ in range(reader.count())]
    site["servers"] = [_read_server(reader) for _ in range(reader.count())]
    reader.end()
    return site


def _read_server(reader: _Reader) -> dict[str, Any]:
    number = reader.number()
    address = ipaddress.IPv6Address(reader.take(16))
    raw = address.packed
    shown = ipaddress.IPv4Address(raw[_IPV4_IN_SIXTEEN:]) if not any(raw[:_IPV4_IN_SIXTEEN]) else address
    server: dict[str, Any] = {"serverId": number, "address": str(shown)}
    if key := reader.block():
        server["publicKey"] = {"format": "key", "value": _read_key(_Reader(key))}
    server["interfaces"] = []
    for _ in range(reader.count()):
        kind, protocol, port = struct.unpack(">BBI", reader.take(6))
        server["interfaces"].append(
            {"query": bool(kind & 2), "admin": bool(kind & 1), "protocol": _PROTOCOLS[protocol], "port": port}
        )
    return server


def _write_site(content: Any) -> bytes:
    major, _, minor = str(content.get("protocolVersion", "2.10")).partition(".")
    flags = 0x80 * bool(content.get("primarySite")) | 0x40 * bool(content.get("multiPrimary"))
    head = struct.pack(
        ">HBBHBB",
        content.get("version", 1),
        int(major),
        int(minor),
        content.get("serialNumber", 1),
        flags,
        content.get("hashOption", _HASH_WHOLE),
    )
    attributes: Sequence[Mapping[str, str]] = content.get("attributes", ())
    servers = content["servers"]
    return b"".join(
        [
            head,
            _text(content.get("hashFilter", "")),
            len(attributes).to_bytes(4, "big"),
            *(_text(item["name"]) + _text(item["value"]) for item in attributes),
            len(servers).to_bytes(4, "big"),
            *(_write_server(server) for server in servers),
        ]
    )


def _write_server(server: Any) -> bytes:
    address = ipaddress.ip_address(server["address"])
    key = server.get("publicKey")
    interfaces = server["interfaces"]
    return b"".join(
        [
            server["serverId"].to_bytes(4, "big"),
            address.packed.rjust(16, b"\x00"),
            _block(_write_key(key["value"]) if key else b""),
            len(interfaces).to_bytes(4, "big"),
            *(
                struct.pack(
                    ">BBI",
                    2 * bool(item.get("query")) | bool(item.get("admin")),
                    _PROTOCOLS.index(item["protocol"]),
                    item["port"],
                )
                for item in interfaces
            ),
        ]
    )


_READERS = {"admin": _read_admin, "vlist": _read_vlist, "key": _read_key, "site": _read_site}
_WRITERS = {"admin": _write_admin, "vlist": _write_vlist, "key": _write_key, "site": _write_site}
