"""Private keys: a folder of files, and the signer that is all the rest of the program sees of them.

Rules:

- one PKCS #8 PEM file per key, named by the key's thumbprint, in a folder nobody else can enter;
- a file that others may read is refused, so is one whose content is not the key its name says;
- with a passphrase every file is encrypted, and one that is not is refused: it was put there by somebody else;
- a file appears whole or not at all: written beside its place, flushed to disk, linked in, the folder flushed.
"""

import os
import stat
from pathlib import Path
from typing import Protocol, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from registry.errors import ExistsError, InvalidValueError, UnavailableError, UntrustedError
from registry.trust.algorithms import DEFAULT_ALGORITHM, SIGNATURE_BYTES, thumbprint, usable
from registry.trust.encoding import b64u, from_b64u
from registry.trust.sm2 import ALGORITHM, Sm2PrivateKey

__all__ = ["KeyFolder", "KeySigner", "PrivateKey", "Signer"]

PrivateKey: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | Sm2PrivateKey

_SUFFIX = ".pem"
_MAX_FILE_BYTES = 16_384
_DIGEST_BYTES = 32
_RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Signer(Protocol):
    """A private key that can be used and never seen.

    Consistency: `kid`, `alg` and `jwk` never change. Concurrency: any number of threads. Errors: UnavailableError
    when the key is in a device that does not answer.
    """

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the public key."""
        ...

    @property
    def alg(self) -> str:
        """Name of the algorithm, as in `registry.trust.algorithms`."""
        ...

    @property
    def jwk(self) -> dict[str, str]:
        """The public key; the required members alone."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`."""
        ...


class KeySigner:
    """A signer over a key in memory.

    Raises:
        UntrustedError: the key is of a type that is not admitted.
    """

    __slots__ = ("_key", "alg", "jwk", "kid")

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.alg, self.jwk = _describe(key)
        self.kid = thumbprint(self.jwk)

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`."""
        if isinstance(self._key, Ed25519PrivateKey | Sm2PrivateKey):
            return self._key.sign(data)
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        half = SIGNATURE_BYTES // 2
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")

    def __repr__(self) -> str:
        return f"KeySigner({self.alg}, {self.kid})"


def _describe(key: object) -> tuple[str, dict[str, str]]:
    if isinstance(key, Ed25519PrivateKey):
        return "Ed25519", {"kty": "OKP", "crv": "Ed25519", "x": b64u(key.public_key().public_bytes(*_RAW))}
    if isinstance(key, Sm2PrivateKey):
        return ALGORITHM, {"kty": "SM2", "x": b64u(key.public.x), "y": b64u(key.public.y)}
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        numbers = key.public_key().public_numbers()
        x, y = (b64u(part.to_bytes(32, "big")) for part in (numbers.x, numbers.y))
        return "ES256", {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    raise UntrustedError("registry.trust.key_type", field="key", value=type(key).__name__)


class KeyFolder:
    """The folder of private keys.

    Consistency: what `create` and `import_pem` return is in the folder. Durability: it survives power loss.
    Concurrency: any number of threads and processes; files are only ever added.

    Args:
        path: the folder; made with mode 0700 when it is missing.
        passphrase: encrypts every file; None leaves them protected by their mode alone.

    Raises:
        InvalidValueError: an empty passphrase.
    """

    def __init__(self, path: Path, passphrase: bytes | None = None) -> None:
        if passphrase is not None and not passphrase:
            raise InvalidValueError("registry.trust.passphrase_empty", field="passphrase")
        self._path = path
        self._passphrase = passphrase

    def create(self, alg: str = DEFAULT_ALGORITHM) -> Signer:
        """Make a key pair and keep it.

        Raises:
            UntrustedError: the algorithm is unknown, forbidden or not available.
            UnavailableError: the file cannot be written.
        """
        usable(alg)
        key = _generate(alg)
        signer = KeySigner(key)
        self._keep(signer.kid, key)
        return signer

    def load(self, kid: str) -> Signer:
        """Return the key pair with this thumbprint.

        Raises:
            UnavailableError: there is no such file, it cannot be read, or it cannot be unlocked.
            UntrustedError: the file may be read by others, is no key of ours, or is not the key its name says.
        """
        return KeySigner(self._read(kid))

    def kids(self) -> tuple[str, ...]:
        """Return the thumbprints of the keys in the folder, in order."""
        if not self._path.is_dir():
            return ()
        return tuple(
            sorted(
                file.name.removesuffix(_SUFFIX) for file in self._path.iterdir() if _is_key_name(file.name)
            )
        )

    def import_pem(self, pem: bytes, passphrase: bytes | None = None) -> Signer:
        """Take in a key pair made elsewhere; `passphrase` unlocks the PEM text.

        Raises:
            ExistsError: the key is there already.
            UnavailableError: the passphrase is wrong or missing, or the file cannot be written.
            UntrustedError: not a private key of an admitted type.
        """
        key = _unlock(pem, passphrase, "pem")
        signer = KeySigner(key)
        self._keep(signer.kid, key)
        return signer

    def export_pem(self, kid: str, passphrase: bytes) -> bytes:
        """Return a key pair as PEM text locked with `passphrase`; never in clear.

        Raises:
            InvalidValueError: an empty passphrase.
            UnavailableError: as `load`.
            UntrustedError: as `load`.
        """
        if not passphrase:
            raise InvalidValueError("registry.trust.passphrase_empty", field="passphrase")
        return _lock(self._read(kid), passphrase)

    def _file(self, kid: str) -> Path:
        raw = from_b64u(kid)
        if raw is None or len(raw) != _DIGEST_BYTES:
            raise UnavailableError("registry.trust.key_missing", field="kid", value=kid[:64])
        return self._path / f"{kid}{_SUFFIX}"

    def _read(self, kid: str) -> PrivateKey:
        file = self._file(kid)
        try:
            # not blocking: a pipe put in the key's place must not hold the node up
            handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UnavailableError("registry.trust.key_missing", field="kid", value=kid) from None
        except OSError as error:
            raise UnavailableError(
                "registry.trust.key_unreadable", field="kid", value=kid, reason=error.strerror
            ) from None
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077 or state.st_uid != os.geteuid():
                mode = f"{state.st_mode & 0o7777:04o}"
                raise UntrustedError("registry.trust.key_file_open", field="kid", value=kid, mode=mode)
            pem = os.read(handle, _MAX_FILE_BYTES)
        finally:
            os.close(handle)
        key = _unlock(pem, self._passphrase, kid)
        if KeySigner(key).kid != kid:
            raise UntrustedError("registry.trust.key_file_other", field="kid", value=kid)
        return key

    def _keep(self, kid: str, key: PrivateKey) -> None:
        file = self._file(kid)
        try:
            if file.exists():
                raise ExistsError("registry.trust.key_exists", field="kid", value=kid)
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_whole(file, _lock(key, self._passphrase))
        except OSError as error:
            raise UnavailableError(
                "registry.trust.key_unwritable", field="kid", value=kid, reason=error.strerror
            ) from None


def _is_key_name(name: str) -> bool:
    if not name.endswith(_SUFFIX):
        return False
    raw = from_b64u(name.removesuffix(_SUFFIX))
    return raw is not None and len(raw) == _DIGEST_BYTES


def _generate(alg: str) -> PrivateKey:
    if alg == ALGORITHM:
        return Sm2PrivateKey.generate()
    return Ed25519PrivateKey.generate() if alg == "Ed25519" else ec.generate_private_key(ec.SECP256R1())


def _lock(key: PrivateKey, passphrase: bytes | None) -> bytes:
    if isinstance(key, Sm2PrivateKey):
        return key.to_pem(passphrase)
    encryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase is not None
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _unlock(pem: bytes, passphrase: bytes | None, name: str) -> PrivateKey:
    locked = b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem
    if locked and passphrase is None:
        raise UnavailableError("registry.trust.key_locked", field="passphrase", value=name)
    if not locked and passphrase is not None:
        raise UntrustedError("registry.trust.key_not_locked", field="passphrase", value=name)
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # the library reads no SM2 key, and cannot say that this is one
        other = Sm2PrivateKey.from_pem(pem, passphrase)
        if other is not None:
            return other
        if locked:
            raise UnavailableError("registry.trust.key_passphrase", field="passphrase", value=name) from error
        raise UntrustedError("registry.trust.key_file_damaged", field="kid", value=name) from error
    if not isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise UntrustedError("registry.trust.key_type", field="kid", value=type(key).__name__)
    return key


def _write_whole(file: Path, content: bytes) -> None:
    """Put a new file in its place at once; FileExistsError when the place is taken."""
    waiting = file.with_name(f".{file.name}.{os.getpid()}.new")
    waiting.unlink(missing_ok=True)
    handle = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        # link, not rename: it refuses to replace a key that is there already
        os.link(waiting, file)
    finally:
        waiting.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
