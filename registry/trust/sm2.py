"""SM2 signatures with SM3 (GB/T 32918.2), by the system's OpenSSL: the library this program uses elsewhere has none.

`libcrypto` 3.0 or newer is called through ctypes; where it is missing, or built without SM2, the algorithm is not
available and says so. The distinguishing identifier is the one of GM/T 0009, `1234567812345678`. A signature is kept
as r and s, 32 bytes each, as for the other curves; the nonce is made inside OpenSSL.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_ubyte, c_ulong, c_void_p
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from registry.errors import UnavailableError, UntrustedError

__all__ = ["ALGORITHM", "Sm2PrivateKey", "Sm2PublicKey", "is_available"]

ALGORITHM = "SM2-SM3"

_IDENTITY = b"1234567812345678"
_LEAST_VERSION = 0x30000000
#: SubjectPublicKeyInfo of a point on the curve of GB/T 32918.5, up to the point itself.
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")
_HALF = 32
_BUFFER = 16_384
_MAX_SIGNATURE = 80

_Bytes = POINTER(c_ubyte)
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "OpenSSL_version_num": (c_ulong, ()),
    "EVP_sm3": (c_void_p, ()),
    "d2i_PUBKEY": (c_void_p, (c_void_p, POINTER(c_char_p), ctypes.c_long)),
    "i2d_PUBKEY": (c_int, (c_void_p, POINTER(_Bytes))),
    "EVP_PKEY_free": (None, (c_void_p,)),
    "EVP_PKEY_CTX_new": (c_void_p, (c_void_p, c_void_p)),
    "EVP_PKEY_CTX_new_from_name": (c_void_p, (c_void_p, c_char_p, c_char_p)),
    "EVP_PKEY_CTX_free": (None, (c_void_p,)),
    "EVP_PKEY_CTX_set1_id": (c_int, (c_void_p, c_char_p, c_int)),
    "EVP_PKEY_keygen_init": (c_int, (c_void_p,)),
    "EVP_PKEY_generate": (c_int, (c_void_p, POINTER(c_void_p))),
    "EVP_MD_CTX_new": (c_void_p, ()),
    "EVP_MD_CTX_free": (None, (c_void_p,)),
    "EVP_MD_CTX_set_pkey_ctx": (None, (c_void_p, c_void_p)),
    "EVP_DigestSignInit": (c_int, (c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)),
    "EVP_DigestSign": (c_int, (c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t)),
    "EVP_DigestVerifyInit": (c_int, (c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)),
    "EVP_DigestVerify": (c_int, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t)),
    "EVP_aes_256_cbc": (c_void_p, ()),
    "BIO_s_mem": (c_void_p, ()),
    "BIO_new": (c_void_p, (c_void_p,)),
    "BIO_new_mem_buf": (c_void_p, (c_char_p, c_int)),
    "BIO_read": (c_int, (c_void_p, c_char_p, c_int)),
    "BIO_free": (c_int, (c_void_p,)),
    "PEM_read_bio_PrivateKey": (c_void_p, (c_void_p, c_void_p, c_void_p, c_char_p)),
    "PEM_write_bio_PKCS8PrivateKey": (
        c_int,
        (c_void_p, c_void_p, c_void_p, c_char_p, c_int, c_void_p, c_void_p),
    ),
    "ERR_clear_error": (None, ()),
}


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    """Return the system's libcrypto with its functions declared; None where it cannot do SM2."""
    try:
        library = ctypes.CDLL("libcrypto.so.3")
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    if library.OpenSSL_version_num() < _LEAST_VERSION:
        return None
    context = library.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
    if not context:
        library.ERR_clear_error()
        return None
    library.EVP_PKEY_CTX_free(context)
    return library


def is_available() -> bool:
    """Say whether this machine can sign and verify with SM2."""
    return _library() is not None


def _needed() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise UntrustedError("registry.trust.alg_unavailable", field="alg", value=ALGORITHM)
    return library


class _Key:
    """An EVP_PKEY that is let go of with its last user."""

    __slots__ = ("_library", "pointer")

    def __init__(self, library: ctypes.CDLL, pointer: int) -> None:
        self._library = library
        self.pointer = pointer

    def __del__(self) -> None:
        self._library.EVP_PKEY_free(self.pointer)


@contextmanager
def _digest(library: ctypes.CDLL, key: _Key) -> Iterator[int]:
    """Give a digest context that knows the signer's identity; OpenSSL owns neither part of it."""
    context, inner = library.EVP_MD_CTX_new(), library.EVP_PKEY_CTX_new(key.pointer, None)
    try:
        if not context or not inner:
            raise UnavailableError("registry.trust.sm2_failed", step="context")
        if library.EVP_PKEY_CTX_set1_id(inner, _IDENTITY, len(_IDENTITY)) <= 0:
            raise UnavailableError("registry.trust.sm2_failed", step="identity")
        library.EVP_MD_CTX_set_pkey_ctx(context, inner)
        yield context
    finally:
        library.ERR_clear_error()
        library.EVP_MD_CTX_free(context)
        library.EVP_PKEY_CTX_free(inner)


class Sm2PublicKey:
    """A point on the curve, and what it verifies. Any number of threads.

    Args:
        x: 32 bytes, big-endian.
        y: 32 bytes, big-endian.

    Raises:
        UntrustedError: the point is not on the curve, or SM2 is not available here.
    """

    __slots__ = ("_key", "_library", "x", "y")

    def __init__(self, x: bytes, y: bytes) -> None:
        self.x, self.y = x, y
        self._library = _needed()
        content = _SPKI + x + y
        pointer = self._library.d2i_PUBKEY(None, byref(c_char_p(content)), len(content))
        if not pointer or len(x) != _HALF or len(y) != _HALF:
            self._library.ERR_clear_error()
            raise UntrustedError("registry.trust.key_off_curve", field="x")
        self._key = _Key(self._library, pointer)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Say whether `signature`, r and s, is this key's over `data`."""
        if len(signature) != 2 * _HALF:
            return False
        r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
        der = encode_dss_signature(r, s)
        library = self._library
        with _digest(library, self._key) as context:
            if library.EVP_DigestVerifyInit(context, None, library.EVP_sm3(), None, self._key.pointer) != 1:
                raise UnavailableError("registry.trust.sm2_failed", step="verify")
            return bool(library.EVP_DigestVerify(context, der, len(der), data, len(data)) == 1)


class Sm2PrivateKey:
    """A private key that never leaves OpenSSL but as PEM text. Any number of threads."""

    __slots__ = ("_key", "_library", "public")

    def __init__(self, library: ctypes.CDLL, key: _Key, public: Sm2PublicKey) -> None:
        self._library = library
        self._key = key
        self.public = public

    @classmethod
    def generate(cls) -> "Sm2PrivateKey":
        """Make a key pair.

        Raises:
            UntrustedError: SM2 is not available here.
            UnavailableError: OpenSSL failed.
        """
        library = _needed()
        pointer = c_void_p()
        context = library.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
        try:
            done = library.EVP_PKEY_keygen_init(context) == 1
            if not done or library.EVP_PKEY_generate(context, byref(pointer)) != 1 or not pointer.value:
                raise UnavailableError("registry.trust.sm2_failed", step="generate")
        finally:
            library.ERR_clear_error()
            library.EVP_PKEY_CTX_free(context)
        made = cls._of(library, _Key(library, pointer.value))
        if made is None:
            raise UnavailableError("registry.trust.sm2_failed", step="generate")
        return made

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None) -> "Sm2PrivateKey | None":
        """Return the key in a PEM text; None when it is no SM2 key, or does not unlock."""
        library = _library()
        if library is None or len(pem) > _BUFFER:
            return None
        source = library.BIO_new_mem_buf(pem, len(pem))
        # an empty passphrase where there is none: OpenSSL would else ask on the terminal
        pointer = library.PEM_read_bio_PrivateKey(source, None, None, passphrase or b"")
        library.BIO_free(source)
        library.ERR_clear_error()
        return cls._of(library, _Key(library, pointer)) if pointer else None

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """Return the key as PKCS #8 PEM text, encrypted when there is a passphrase.

        Raises:
            UnavailableError: OpenSSL failed.
        """
        library = self._library
        target = library.BIO_new(library.BIO_s_mem())
        try:
            cipher = library.EVP_aes_256_cbc() if passphrase else None
            length = len(passphrase) if passphrase else 0
            if (
                library.PEM_write_bio_PKCS8PrivateKey(
                    target, self._key.pointer, cipher, passphrase, length, None, None
                )
                != 1
            ):
                raise UnavailableError("registry.trust.sm2_failed", step="write")
            buffer = ctypes.create_string_buffer(_BUFFER)
            length = library.BIO_read(target, buffer, _BUFFER)
            return buffer.raw[:length]
        finally:
            library.ERR_clear_error()
            library.BIO_free(target)

    def sign(self, data: bytes) -> bytes:
        """Return r and s over `data`.

        Raises:
            UnavailableError: OpenSSL failed.
        """
        library = self._library
        with _digest(library, self._key) as context:
            buffer, length = ctypes.create_string_buffer(_MAX_SIGNATURE), c_size_t(_MAX_SIGNATURE)
            done = library.EVP_DigestSignInit(context, None, library.EVP_sm3(), None, self._key.pointer) == 1
            if not done or library.EVP_DigestSign(context, buffer, byref(length), data, len(data)) != 1:
                raise UnavailableError("registry.trust.sm2_failed", step="sign")
        r, s = decode_dss_signature(buffer.raw[: length.value])
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    @classmethod
    def _of(cls, library: ctypes.CDLL, key: _Key) -> "Sm2PrivateKey | None":
        """Return the key with its public half; None when it lies on another curve."""
        room = (c_ubyte * _BUFFER)()
        length = library.i2d_PUBKEY(key.pointer, byref(ctypes.cast(room, _Bytes)))
        public = bytes(room[: max(length, 0)])
        library.ERR_clear_error()
        if len(public) != len(_SPKI) + 2 * _HALF or not public.startswith(_SPKI):
            return None
        point = public[len(_SPKI) :]
        return cls(library, key, Sm2PublicKey(point[:_HALF], point[_HALF:]))
