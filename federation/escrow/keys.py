"""The escrow keys of a node: X25519 key pairs in files, apart from the keys that sign.

One PKCS #8 PEM file per key, named by its thumbprint, readable by its owner alone, encrypted where there is a
passphrase. Files are only added: an old deposit needs the key it was made for. The newest is announced.
"""

import hashlib
import os
import stat
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from federation.escrow.cipher import mapping
from registry.errors import UnavailableError, UntrustedError
from registry.trust.encoding import b64u, from_b64u

__all__ = ["EscrowKeys", "escrow_kid"]

_SUFFIX = ".pem"
_MAX_FILE_BYTES = 4_096
_DIGEST_BYTES = 32


def escrow_kid(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of an X25519 public key."""
    jwk = {"crv": "X25519", "kty": "OKP", "x": b64u(public)}
    return b64u(hashlib.sha256(orjson.dumps(jwk)).digest())


class EscrowKeys:
    """The folder of escrow keys.

    Consistency: a created key can be loaded at once. Durability: it survives power loss once it is announced.
    Concurrency: any number of threads and processes; files are only added. Errors: as said at each method.

    Args:
        path: the folder; made with mode 0700 when it is missing.
        passphrase: encrypts every file; None leaves them protected by their mode alone.
    """

    def __init__(self, path: Path, passphrase: bytes | None = None) -> None:
        self._path = path
        self._passphrase = passphrase

    def current(self) -> tuple[str, bytes]:
        """Return thumbprint and public key of the newest key; make the first one.

        Raises:
            UnavailableError, UntrustedError: as `load`; or the file cannot be written.
        """
        try:
            newest = max(
                (file.stat().st_mtime_ns, file.name.removesuffix(_SUFFIX))
                for file in self._path.glob(f"*{_SUFFIX}")
                if _is_kid(file.name.removesuffix(_SUFFIX))
            )
        except ValueError:
            return self.create()
        except OSError as error:
            raise UnavailableError("federation.escrow.key_file", reason=error.strerror) from error
        return newest[1], self.load(newest[1]).public_key().public_bytes_raw()

    def create(self) -> tuple[str, bytes]:
        """Make a key pair; return its thumbprint and public key. From now on it is the one that is announced.

        Raises:
            UnavailableError: the file cannot be written.
        """
        key = X25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        kid = escrow_kid(public)
        encryption: serialization.KeySerializationEncryption = (
            serialization.BestAvailableEncryption(self._passphrase)
            if self._passphrase
            else serialization.NoEncryption()
        )
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_whole(self._path / f"{kid}{_SUFFIX}", pem)
        except OSError as error:
            raise UnavailableError("federation.escrow.key_file", reason=error.strerror) from error
        return kid, public

    def load(self, kid: str) -> X25519PrivateKey:
        """Return the key pair with this thumbprint.

        Raises:
            UnavailableError: there is no such key, or it cannot be read or unlocked.
            UntrustedError: others may read the file, or it is not the key its name says.
        """
        if not _is_kid(kid):
            raise UnavailableError("federation.escrow.key_missing", field="kid", kid=kid[:64])
        file = self._path / f"{kid}{_SUFFIX}"
        try:
            handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UnavailableError("federation.escrow.key_missing", field="kid", kid=kid) from None
        except OSError as error:
            raise UnavailableError("federation.escrow.key_file", reason=error.strerror) from error
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077 or state.st_uid != os.geteuid():
                raise UntrustedError("federation.escrow.key_open", field="kid", kid=kid)
            pem = os.read(handle, _MAX_FILE_BYTES)
        finally:
            os.close(handle)
        locked = b"ENCRYPTED" in pem
        try:
            key = serialization.load_pem_private_key(pem, self._passphrase if locked else None)
        except (ValueError, TypeError) as error:
            raise UnavailableError("federation.escrow.key_locked", field="kid", kid=kid) from error
        if (
            not isinstance(key, X25519PrivateKey)
            or escrow_kid(key.public_key().public_bytes_raw()) != kid
            or locked != (self._passphrase is not None)
        ):
            raise UntrustedError("federation.escrow.key_other", field="kid", kid=kid)
        return key

    def jwk(self, kid: str) -> dict[str, str]:
        """Return the public key with this thumbprint.

        Raises:
            UnavailableError, UntrustedError: as `load`.
        """
        return dict(mapping(self.load(kid).public_key()))


def _is_kid(name: str) -> bool:
    raw = from_b64u(name)
    return raw is not None and len(raw) == _DIGEST_BYTES


def _write_whole(file: Path, content: bytes) -> None:
    """Put a new file in its place at once, on the disk before this returns."""
    waiting = file.with_name(f".{file.name}.{os.getpid()}.new")
    waiting.unlink(missing_ok=True)
    handle = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        waiting.replace(file)
    finally:
        waiting.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
