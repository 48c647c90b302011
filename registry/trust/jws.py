"""Strict JWS: one reading of a token, and no choice left to whoever wrote it.

Rules (facts on federation, (b) steps 1, 2, 4 and (d)):

- compact form: three segments of canonical base64url, no padding;
- the header is strict JSON with exactly `alg`, `kid`, `typ`; `crit`, `jwk`, `jku`, `x5u`, `x5c`, `b64` and
  whatever else are refused;
- `typ` is the expected one, so a token made for one purpose cannot serve another;
- the key's own row decides the algorithm, the header must say the same;
- what identifies a token is its signing input: an ES256 signature has two valid forms.

Reading raises MalformedError, verifying UntrustedError.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import orjson

from registry.errors import LimitError, MalformedError, UntrustedError
from registry.trust import strict_json
from registry.trust.algorithms import SIGNATURE_BYTES, PublicKey
from registry.trust.encoding import b64u, from_b64u
from registry.trust.keys import Signer

__all__ = [
    "MAX_TOKEN_BYTES",
    "Parsed",
    "assemble",
    "parse",
    "parse_general",
    "sign",
    "sign_general",
    "signed",
    "signing_input",
    "verify",
]

MAX_TOKEN_BYTES = 262_144
_MAX_HEADER_CHARACTERS = 512
_KID_BYTES = 32
_SEGMENTS = 3
_SIGNATURE_CHARACTERS = 86
_HEADER = ("alg", "kid", "typ")
_MAX_SIGNATURES = 64


@dataclass(frozen=True, slots=True)
class Parsed:
    """A token that was read and not yet verified.

    Attributes:
        header: exactly `alg`, `kid`, `typ`.
        payload: the bytes that were signed, decoded.
        signing_input: header and payload segments as received.
        signature: raw.
    """

    header: Mapping[str, str]
    payload: bytes
    signing_input: bytes
    signature: bytes
    kid: str
    alg: str

    @property
    def sha256(self) -> str:
        """base64url SHA-256 of the signing input: what this token is called."""
        return b64u(hashlib.sha256(self.signing_input).digest())

    def claims(self) -> dict[str, Any]:
        """Read the payload as one strict JSON object.

        Raises:
            MalformedError: it is not.
        """
        content = strict_json.loads(self.payload)
        if not isinstance(content, dict):
            raise MalformedError("registry.trust.jws_payload", field="payload")
        return content


@lru_cache(maxsize=1024)
def _header_segment(alg: str, kid: str, typ: str) -> bytes:
    return b64u(orjson.dumps({"alg": alg, "kid": kid, "typ": typ})).encode()


@lru_cache(maxsize=1024)
def _known_header(segment: str) -> Mapping[str, str]:
    return _read_header(segment)


def signing_input(alg: str, kid: str, typ: str, payload: bytes) -> bytes:
    """Return the bytes that are signed for `payload`."""
    return _header_segment(alg, kid, typ) + b"." + b64u(payload).encode()


def assemble(alg: str, kid: str, typ: str, payload: bytes, signature: bytes) -> str:
    """Rebuild a compact token from its stored signature, byte for byte as `sign` made it."""
    return f"{signing_input(alg, kid, typ, payload).decode()}.{b64u(signature)}"


def sign(signer: Signer, typ: str, payload: bytes) -> str:
    """Return a compact token over `payload`."""
    data = signing_input(signer.alg, signer.kid, typ, payload)
    return f"{data.decode()}.{b64u(signer.sign(data))}"


def signed(signer: Signer, typ: str, payload: bytes, *, max_bytes: int = MAX_TOKEN_BYTES) -> Parsed:
    """Sign `payload`, and return what `parse` makes of the token: what was just spelled is not taken apart again.

    Raises:
        LimitError: the token is longer than `max_bytes`.
        MalformedError: the signer's header or its signature is none that `parse` would take.
    """
    segment = _header_segment(signer.alg, signer.kid, typ)
    data = segment + b"." + b64u(payload).encode()
    if len(data) + 1 + _SIGNATURE_CHARACTERS > max_bytes:
        raise LimitError(
            "registry.trust.jws_size", length=len(data) + 1 + _SIGNATURE_CHARACTERS, limit=max_bytes
        )
    signature = _full(signer.sign(data))
    header = _known_header(segment.decode())
    return Parsed(
        header=header,
        payload=payload,
        signing_input=data,
        signature=signature,
        kid=header["kid"],
        alg=header["alg"],
    )


def parse(token: str, *, typ: str, max_bytes: int = MAX_TOKEN_BYTES) -> Parsed:
    """Read a compact token without believing it.

    Raises:
        LimitError: longer than `max_bytes`.
        MalformedError: segments, alphabet, header members, `typ` or signature length are not as they must be.
    """
    if len(token) > max_bytes:
        raise LimitError("registry.trust.jws_size", length=len(token), limit=max_bytes)
    segments = token.split(".")
    if len(segments) != _SEGMENTS:
        raise MalformedError("registry.trust.jws_segments", count=len(segments))
    header = _known_header(segments[0])
    if header["typ"] != typ:
        raise MalformedError("registry.trust.jws_typ", field="typ", value=header["typ"][:64], right=typ)
    signature = _full(_decode(segments[2], "signature"))
    return Parsed(
        header=header,
        payload=_decode(segments[1], "payload"),
        signing_input=f"{segments[0]}.{segments[1]}".encode(),
        signature=signature,
        kid=header["kid"],
        alg=header["alg"],
    )


def verify(parsed: Parsed, key: PublicKey) -> None:
    """Check the signature with `key`, which decides the algorithm.

    Raises:
        UntrustedError: the token names another key or another algorithm, or the signature does not fit.
    """
    if parsed.kid != key.kid:
        raise UntrustedError("registry.trust.signature_kid", field="kid", value=parsed.kid, right=key.kid)
    if parsed.alg != key.alg:
        raise UntrustedError(
            "registry.trust.signature_alg", field="alg", value=parsed.alg[:64], right=key.alg
        )
    if not key.verify(parsed.signing_input, parsed.signature):
        raise UntrustedError("registry.trust.signature", field="signature", kid=key.kid)


def sign_general(signers: Sequence[Signer], typ: str, payload: bytes) -> str:
    """Return one payload under the signatures of all `signers`, in the general JSON form."""
    signatures = []
    for signer in signers:
        protected, _, signature = sign(signer, typ, payload).split(".")
        signatures.append({"protected": protected, "signature": signature})
    return orjson.dumps({"payload": b64u(payload), "signatures": signatures}).decode()


def parse_general(text: str, *, typ: str, max_bytes: int = MAX_TOKEN_BYTES) -> tuple[Parsed, ...]:
    """Read the general JSON form: each signature as the compact token it stands for, over the one payload.

    Raises:
        LimitError: longer than `max_bytes`, or too many signatures.
        MalformedError: members other than `payload`, `signatures`, `protected`, `signature`; as `parse`.
    """
    if len(text) > max_bytes:
        raise LimitError("registry.trust.jws_size", length=len(text), limit=max_bytes)
    content = strict_json.loads(text.encode("utf-8", "surrogatepass"))
    payload, rows = _members(content, "payload", "signatures")
    if not isinstance(payload, str) or not isinstance(rows, list) or not rows:
        raise MalformedError("registry.trust.jws_general", field="signatures")
    if len(rows) > _MAX_SIGNATURES:
        raise LimitError("registry.trust.jws_signatures", count=len(rows), limit=_MAX_SIGNATURES)
    tokens = []
    for row in rows:
        protected, signature = _members(row, "protected", "signature")
        if not isinstance(protected, str) or not isinstance(signature, str):
            raise MalformedError("registry.trust.jws_general", field="signatures")
        tokens.append(f"{protected}.{payload}.{signature}")
    return tuple(parse(token, typ=typ, max_bytes=max_bytes) for token in tokens)


def _members(content: object, *names: str) -> tuple[object, ...]:
    if not isinstance(content, dict) or set(content) != set(names):
        raise MalformedError("registry.trust.jws_general", field="/".join(names))
    return tuple(content[name] for name in names)


def _full(signature: bytes) -> bytes:
    """Return a signature of the one length there is."""
    if len(signature) != SIGNATURE_BYTES:
        raise MalformedError(
            "registry.trust.jws_signature_length",
            field="signature",
            length=len(signature),
            right=SIGNATURE_BYTES,
        )
    return signature


def _decode(segment: str, field: str) -> bytes:
    raw = from_b64u(segment)
    if raw is None:
        raise MalformedError("registry.trust.jws_alphabet", field=field)
    return raw


def _read_header(segment: str) -> Mapping[str, str]:
    if len(segment) > _MAX_HEADER_CHARACTERS:
        raise LimitError("registry.trust.jws_size", length=len(segment), limit=_MAX_HEADER_CHARACTERS)
    header = strict_json.loads(_decode(segment, "header"), max_depth=4)
    if not isinstance(header, dict):
        raise MalformedError("registry.trust.jws_header", field="header")
    for name in header:
        if name not in _HEADER:
            raise MalformedError("registry.trust.jws_header_member", field="header", value=name[:64])
    for name in _HEADER:
        if not isinstance(header.get(name), str):
            raise MalformedError("registry.trust.jws_header_missing", field="header", value=name)
    raw = from_b64u(header["kid"])
    if raw is None or len(raw) != _KID_BYTES:
        raise MalformedError("registry.trust.jws_kid", field="kid", value=header["kid"][:64])
    return MappingProxyType(header)
