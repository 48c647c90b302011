"""Secrets of the node itself, one file each, and the keyed hash of systems' secrets.

A system's secret is 256 random bits: guessing it is hopeless, so a fast hash suffices, and its key, which lives
outside the database, makes a stolen database useless by itself. Several instances over one database share these
files.
"""

import hashlib
import hmac
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

from registry.errors import UnavailableError

__all__ = ["SecretHash", "load_or_create", "new_secret"]

_BYTES = 32
_OTHERS = 0o077


def load_or_create(path: Path, randomness: Callable[[int], bytes]) -> bytes:
    """Return the 32 bytes of a secret file, making it (mode 0600, fsynced) when it is not there.

    Raises:
        UnavailableError: others may read it, or it does not hold 32 bytes.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _create(path, randomness)
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        content = file.read(_BYTES + 1)
    if mode & _OTHERS:
        raise UnavailableError("node.accounts.secret_mode", field=str(path), mode=f"{mode:04o}")
    if len(content) != _BYTES:
        raise UnavailableError("node.accounts.secret_size", field=str(path), size=len(content))
    return content


def _create(path: Path, randomness: Callable[[int], bytes]) -> bytes:
    content = randomness(_BYTES)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        # link, not rename: of two processes that start at once, the second keeps the first one's secret.
        os.link(new, path)
    except FileExistsError:
        return load_or_create(path, randomness)
    finally:
        new.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return content


def new_secret(randomness: Callable[[int], bytes]) -> str:
    """Return 256 random bits as 43 characters that fit into a header, a URL and a shell."""
    return urlsafe_b64encode(randomness(_BYTES)).rstrip(b"=").decode()


class SecretHash:
    """HMAC-SHA-256 of a system's secret under the node's key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, name: str, secret: str) -> str:
        """Return the hash, bound to the account's name."""
        told = f"{name}\0{secret}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, told, hashlib.sha256).hexdigest()

    def holds(self, name: str, secret: str, expected: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.of(name, secret), expected)
