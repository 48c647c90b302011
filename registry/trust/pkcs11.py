"""Private keys in a device that speaks PKCS #11: made there, used there, never seen.

Needs the optional package `python-pkcs11` and the device maker's module. Rules:

- a key is found by its CKA_ID, which is its thumbprint, so a token is a folder of keys like any other;
- it is made sensitive and not extractable;
- what the device answers is checked against the public key before it is used: a device that is confused signs
  nothing in our name;
- a device that does not answer is away, not gone: the session is opened anew at the next call.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from registry.errors import ExistsError, NotSupportedError, UnavailableError, UntrustedError
from registry.trust.algorithms import DEFAULT_ALGORITHM, PublicKey, admit, usable
from registry.trust.encoding import b64u, from_b64u

__all__ = ["Pkcs11Keys", "Pkcs11Signer"]

_DIGEST_BYTES = 32
_POINT_BYTES = 64
#: DER of the curve's object identifier (RFC 5480) or name (RFC 8410, as PKCS #11 v3 spells it).
_P256 = bytes.fromhex("06082a8648ce3d030107")
_ED25519 = (bytes.fromhex("130c656477617264733235353139"), bytes.fromhex("06032b6570"))
_UNCOMPRESSED = 0x04
_OCTET_STRING = 0x04
_SUPPORTED = ("Ed25519", "ES256")


class Pkcs11Signer:
    """A key pair in the device; implements `registry.trust.keys.Signer`."""

    __slots__ = ("_keys", "_public", "alg", "jwk", "kid")

    def __init__(self, keys: "Pkcs11Keys", public: PublicKey) -> None:
        self._keys = keys
        self._public = public
        self.alg, self.jwk, self.kid = public.alg, public.jwk, public.kid

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`.

        Raises:
            UnavailableError: the device does not answer, or answers with what is no signature of this key.
        """
        signature = self._keys.sign(self.kid, self.alg, data)
        if not self._public.verify(data, signature):
            raise UnavailableError(
                "registry.trust.pkcs11_failed", field="kid", reason=f"signature {self.kid}"
            )
        return signature

    def __repr__(self) -> str:
        return f"Pkcs11Signer({self.alg}, {self.kid})"


class Pkcs11Keys:
    """The keys of one token; serves wherever a `KeyFolder` does, but for taking keys in or out.

    Consistency: a created key can be loaded at once. Durability: the device's. Concurrency: any number of threads,
    one at a time in the device. Errors: UnavailableError when the device does not answer.

    Args:
        module: path of the maker's PKCS #11 module.
        token: label of the token.
        pin: of the token's user.

    Raises:
        NotSupportedError: the package `python-pkcs11` is not installed.
    """

    def __init__(self, *, module: str, token: str, pin: str) -> None:
        try:
            self._api: Any = import_module("pkcs11")
        except ImportError as error:
            raise NotSupportedError("registry.trust.pkcs11_package", field="pkcs11") from error
        self._module = module
        self._token = token
        self._pin = pin
        self._session: Any = None
        self._lock = threading.RLock()

    def create(self, alg: str = DEFAULT_ALGORITHM) -> Pkcs11Signer:
        """Make a key pair in the device.

        Raises:
            UntrustedError: the algorithm is unknown, forbidden or not available.
            NotSupportedError: a device cannot be asked for it.
            UnavailableError: the device does not answer, or cannot make such a key.
        """
        usable(alg)
        if alg not in _SUPPORTED:
            raise NotSupportedError("registry.trust.pkcs11_algorithm", field="alg", value=alg)
        api = self._api
        with self._opened() as session:
            parameters = session.create_domain_parameters(
                api.KeyType.EC if alg == "ES256" else api.KeyType.EC_EDWARDS,
                {api.Attribute.EC_PARAMS: _P256 if alg == "ES256" else _ED25519[0]},
                local=True,
            )
            public, private = parameters.generate_keypair(
                store=True,
                label="hazlink",
                mechanism=None if alg == "ES256" else api.Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                private_template={api.Attribute.SENSITIVE: True, api.Attribute.EXTRACTABLE: False},
            )
            made = _public_key(api, public)
            if made.kid in self.kids():
                raise ExistsError("registry.trust.key_exists", field="kid", value=made.kid)
            for half in (public, private):
                half[api.Attribute.ID] = from_b64u(made.kid)
        return Pkcs11Signer(self, made)

    def load(self, kid: str) -> Pkcs11Signer:
        """Return the key pair with this thumbprint.

        Raises:
            UnavailableError: the device does not answer, or has no such key.
            UntrustedError: the key in the device is not the one its name says.
        """
        with self._opened() as session:
            made = _public_key(self._api, self._object(session, kid, self._api.ObjectClass.PUBLIC_KEY))
            self._object(session, kid, self._api.ObjectClass.PRIVATE_KEY)
        if made.kid != kid:
            raise UntrustedError("registry.trust.key_file_other", field="kid", value=kid)
        return Pkcs11Signer(self, made)

    def kids(self) -> tuple[str, ...]:
        """Return the thumbprints of the keys in the token, in order.

        Raises:
            UnavailableError: the device does not answer.
        """
        api = self._api
        with self._opened() as session:
            found = [
                key[api.Attribute.ID]
                for key in session.get_objects({api.Attribute.CLASS: api.ObjectClass.PRIVATE_KEY})
            ]
        return tuple(sorted(b64u(name) for name in found if len(name) == _DIGEST_BYTES))

    def sign(self, kid: str, alg: str, data: bytes) -> bytes:
        """Return what the device signs; `Pkcs11Signer` checks it.

        Raises:
            UnavailableError: the device does not answer, or has no such key.
        """
        api = self._api
        with self._opened() as session:
            key = self._object(session, kid, api.ObjectClass.PRIVATE_KEY)
            if alg == "ES256":
                digest = hashlib.sha256(data).digest()
                return bytes(key.sign(digest, mechanism=api.Mechanism.ECDSA))
            return bytes(key.sign(data, mechanism=api.Mechanism.EDDSA))

    def close(self) -> None:
        """Leave the token."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                session.close()

    def _object(self, session: Any, kid: str, kind: Any) -> Any:
        api = self._api
        raw = from_b64u(kid)
        if raw is None or len(raw) != _DIGEST_BYTES:
            raise UnavailableError("registry.trust.key_missing", field="kid", value=kid[:64])
        wanted = {api.Attribute.CLASS: kind, api.Attribute.ID: raw}
        found = list(session.get_objects(wanted))
        if len(found) != 1:
            raise UnavailableError("registry.trust.key_missing", field="kid", value=kid)
        return found[0]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Give the session, to one thread at a time; what the device refuses makes it open a new one next time."""
        failures = (self._api.exceptions.PKCS11Error, RuntimeError, OSError)
        with self._lock:
            try:
                if self._session is None:
                    token = self._api.lib(self._module).get_token(token_label=self._token)
                    self._session = token.open(rw=True, user_pin=self._pin)
                yield self._session
            except failures as error:
                self._session = None
                raise UnavailableError(
                    "registry.trust.pkcs11_failed", field="pkcs11", reason=type(error).__name__
                ) from error


def _public_key(api: Any, key: Any) -> PublicKey:
    """Return the admitted public half of a key in the device."""
    point = _unwrapped(bytes(key[api.Attribute.EC_POINT]))
    curve = bytes(key[api.Attribute.EC_PARAMS])
    if curve == _P256 and len(point) == _POINT_BYTES + 1 and point[0] == _UNCOMPRESSED:
        x, y = point[1 : 1 + _DIGEST_BYTES], point[1 + _DIGEST_BYTES :]
        return admit({"kty": "EC", "crv": "P-256", "x": b64u(x), "y": b64u(y)}, ("ES256",))
    if curve in _ED25519 and len(point) == _DIGEST_BYTES:
        return admit({"kty": "OKP", "crv": "Ed25519", "x": b64u(point)}, ("Ed25519",))
    raise UntrustedError("registry.trust.key_type", field="key", value=curve.hex()[:64])


def _unwrapped(point: bytes) -> bytes:
    """Take the DER octet string off a point; some devices leave it away."""
    if len(point) > 2 and point[0] == _OCTET_STRING and point[1] == len(point) - 2:  # noqa: PLR2004 — tag and length
        return point[2:]
    return point
