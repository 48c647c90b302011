"""Certificates of the doors: reading the configured one, or making a self-signed one for a first start.

A self-signed certificate is as good as any here, because nodes pin each other's by its SHA-256 (`x5t#S256`), which
stands in the signed delegation; browsers and handhelds will ask for a certificate of the plant's own authority.
"""

import datetime as dt
import hashlib
import ipaddress
import os
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.config import DoorsConfig, TlsConfig
from registry.errors import ExistsError, InvalidValueError, UnavailableError

__all__ = ["TlsFiles", "check_doors", "is_loopback_host", "load", "make_self_signed", "thumbprint"]

_DAYS = 825
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate chain and key of the doors.

    Attributes:
        certificate: path of the PEM chain, the node's own certificate first.
        private_key: path of the PEM key.
        x5t_s256: base64url SHA-256 of the node's certificate, as delegations pin it.
    """

    certificate: Path
    private_key: Path
    x5t_s256: str


def load(config: TlsConfig, folder: Path) -> TlsFiles | None:
    """Return the configured files, or None when the doors are plain.

    Raises:
        InvalidValueError: only one of the two is set, or a file is not what it should be.
        UnavailableError: a file cannot be read, or others may read the key.
    """
    if not config.certificate_file and not config.private_key_file:
        return None
    if not (config.certificate_file and config.private_key_file):
        missing = "private_key_file" if config.certificate_file else "certificate_file"
        raise InvalidValueError("node.tls.half", field=f"tls.{missing}")
    certificate, key = folder / config.certificate_file, folder / config.private_key_file
    try:
        pem = certificate.read_bytes()
        mode = key.stat().st_mode & 0o777
    except OSError as error:
        raise UnavailableError(
            "node.tls.unreadable", field=str(error.filename), reason=error.strerror
        ) from error
    if mode & _OTHERS:
        raise UnavailableError("node.tls.key_mode", field=str(key), mode=f"{mode:04o}")
    return TlsFiles(certificate, key, thumbprint(pem, field=str(certificate)))


def thumbprint(pem: bytes, *, field: str = "certificate") -> str:
    """Return `x5t#S256` of the first certificate in PEM text.

    Raises:
        InvalidValueError: it holds no certificate.
    """
    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
    except ValueError as error:
        raise InvalidValueError("node.tls.no_certificate", field=field) from error
    der = certificate.public_bytes(serialization.Encoding.DER)
    return urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def make_self_signed(folder: Path, *, names: Sequence[str], now: float) -> TlsFiles:
    """Make `tls/certificate.pem` and `tls/private_key.pem` in the data folder.

    Args:
        folder: the data folder.
        names: host names and addresses the certificate is for.
        now: POSIX seconds; it holds from an hour before, for clocks that are behind.

    Raises:
        ExistsError: there already are such files.
    """
    place = folder / "tls"
    place.mkdir(mode=0o700, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    start = dt.datetime.fromtimestamp(now - 3600, tz=dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hazlink node")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = TlsFiles(place / "certificate.pem", place / "private_key.pem", thumbprint(pem))
    _write(files.private_key, secret)
    _write(files.certificate, pem)
    return files


def is_loopback_host(host: str) -> bool:
    """Say whether listening on `host` reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_doors(doors: DoorsConfig, tls: TlsConfig, *, encrypted: bool) -> None:
    """Refuse doors that would carry passwords and plant data over a network in the clear.

    Raises:
        InvalidValueError: a door beyond loopback has no TLS and the settings do not allow that.
    """
    if encrypted or tls.allow_plain:
        return
    for name, host in (("http_host", doors.http_host), ("grpc_host", doors.grpc_host)):
        if not is_loopback_host(host):
            raise InvalidValueError("node.tls.plain", field=f"doors.{name}", host=host)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ExistsError("node.tls.exists", field=str(path)) from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
