"""Signed notes (C2SP signed-note and tlog-cosignature): the text of a checkpoint with the signatures under it.

Rules (facts on federation, (c)):

- a note is text that ends with a line feed, an empty line, then lines `— <name> <base64>`; the base64 holds a key id
  of four bytes and the signature. It is split at the last empty line;
- UTF-8, no control character but the line feed; a name has no space and no `+`;
- signatures by unknown keys are ignored, a wrong signature by a known key refuses the whole note;
- key id = first four bytes of SHA-256(name LF type public key); the types here are 01 (Ed25519) and 04 (Ed25519
  cosignature, with a time that is signed too);
- key material is admitted as everywhere: an Ed25519 key of low order is none.
"""

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from registry.errors import LimitError, MalformedError, NotSupportedError, UntrustedError
from registry.trust.algorithms import DEFAULT_ALGORITHM, PublicKey, admit
from registry.trust.encoding import b64u, from_b64u
from registry.trust.keys import Signer

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "MAX_NOTE_BYTES",
    "Note",
    "NoteKey",
    "NoteSignature",
    "Verified",
    "check_name",
    "cosign",
    "exact_base64",
    "key_of",
    "open_note",
    "parse_note",
    "parse_signatures",
    "parse_vkey",
    "sign_note",
]

ED25519 = 0x01
COSIGNATURE = 0x04
MAX_NOTE_BYTES = 65_536

_MAX_SIGNATURES = 100
_MAX_NAME = 128
_KEY_BYTES = 32
_ID_BYTES = 4
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_DASH = "— "
_DELETE = "\x7f"
_TYPES = (ED25519, COSIGNATURE)


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A key that signs notes under a name: what a verifier key spells out.

    Attributes:
        name: of the log or witness.
        kind: 01 signs the text, 04 cosigns it with a time.
        public: 32 bytes.
        id: four bytes.
        key: the admitted key.
    """

    name: str
    kind: int
    public: bytes
    id: bytes
    key: PublicKey

    @property
    def vkey(self) -> str:
        """The verifier key: `name+<8 hex>+base64(type, key)`."""
        return f"{self.name}+{self.id.hex()}+{b64encode(bytes([self.kind]) + self.public).decode()}"

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the key."""
        return self.key.kid

    def as_witness(self) -> "NoteKey":
        """Return the same key under the same name as one that cosigns."""
        return _made(self.name, COSIGNATURE, self.public)


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: name, key id (4 bytes) and what follows it."""

    name: str
    id: bytes
    raw: bytes

    def line(self) -> str:
        """Return the line, with its line feed."""
        return f"{_DASH}{self.name} {b64encode(self.id + self.raw).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A note that was read and not verified.

    Attributes:
        text: ends with a line feed.
        signatures: in their order.
    """

    text: str
    signatures: tuple[NoteSignature, ...] = ()

    def encode(self) -> bytes:
        """Return the bytes of the note."""
        return f"{self.text}\n{''.join(signature.line() for signature in self.signatures)}".encode()

    def plus(self, signatures: Iterable[NoteSignature]) -> "Note":
        """Return the note with more signatures; those it has are not repeated."""
        more = list(self.signatures)
        for signature in signatures:
            if signature not in more:
                more.append(signature)
        return Note(self.text, tuple(more))


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that holds: by which key, and for a cosignature the time it states (POSIX seconds)."""

    key: NoteKey
    at: int | None
    signature: NoteSignature


def check_name(name: str) -> str:
    """Return the name of a log or witness, or refuse it.

    Raises:
        MalformedError: empty, longer than 128, with a space, `+` or a control character.
    """
    odd = any(sign.isspace() or sign < " " or sign in {"+", _DELETE} for sign in name)
    if not 0 < len(name) <= _MAX_NAME or odd:
        raise MalformedError("federation.log.note_name", field="name", value=name[:64])
    return name


def key_of(name: str, signer: Signer, *, kind: int = ED25519) -> NoteKey:
    """Return the public side of a signer under a name.

    Raises:
        NotSupportedError: the signer is not an Ed25519 one.
    """
    if signer.alg != DEFAULT_ALGORITHM:
        raise NotSupportedError("federation.log.note_alg", field="alg", value=signer.alg)
    return _made(check_name(name), kind, from_b64u(signer.jwk["x"]) or b"")


@lru_cache(maxsize=1024)
def parse_vkey(spelling: str) -> NoteKey:
    """Read a verifier key.

    Raises:
        MalformedError: not its one spelling, or the key id is not the right one.
        NotSupportedError: another type than 01 and 04.
        UntrustedError: the key is not admitted.
    """
    name, _, rest = spelling.partition("+")
    hex_id, _, material = rest.partition("+")
    check_name(name)
    raw = exact_base64(material, field="vkey")
    if len(raw) < 1 or raw[0] not in _TYPES:
        raise NotSupportedError("federation.log.note_type", field="vkey", value=raw[:1].hex())
    if len(raw) != 1 + _KEY_BYTES:
        raise MalformedError("federation.log.note_vkey", field="vkey", value=spelling[:128])
    made = _made(name, raw[0], raw[1:])
    if made.id.hex() != hex_id:
        raise MalformedError(
            "federation.log.note_key_id", field="vkey", value=hex_id[:16], right=made.id.hex()
        )
    return made


def sign_note(text: str, name: str, signer: Signer) -> NoteSignature:
    """Sign a text as the log of this name.

    Raises:
        MalformedError: the text is none a note may have.
        NotSupportedError: the signer is not an Ed25519 one.
    """
    key = key_of(name, signer)
    return NoteSignature(name, key.id, signer.sign(_text(text).encode()))


def cosign(text: str, name: str, signer: Signer, at: int) -> NoteSignature:
    """Sign a text as the witness of this name, at this time (POSIX seconds).

    Raises:
        MalformedError: the text is none a note may have.
        NotSupportedError: the signer is not an Ed25519 one.
    """
    key = key_of(name, signer, kind=COSIGNATURE)
    signature = signer.sign(_cosigned(_text(text), at))
    return NoteSignature(name, key.id, at.to_bytes(_TIME_BYTES, "big") + signature)


def parse_note(raw: bytes) -> Note:
    """Read a note without believing it.

    Raises:
        LimitError: longer than 64 KiB, or more than 100 signatures.
        MalformedError: not a note.
    """
    if len(raw) > MAX_NOTE_BYTES:
        raise LimitError("federation.log.note_size", length=len(raw), limit=MAX_NOTE_BYTES)
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        raise MalformedError("federation.log.note_form", field="note") from None
    # the last empty line: signature lines have none, so what stands before it is all text
    text, empty, tail = whole.rpartition("\n\n")
    if not empty:
        raise MalformedError("federation.log.note_form", field="note")
    return Note(_text(f"{text}\n"), parse_signatures(tail))


def parse_signatures(tail: str) -> tuple[NoteSignature, ...]:
    """Read signature lines, at least one.

    Raises:
        LimitError: more than 100.
        MalformedError: not signature lines.
    """
    lines = tail.split("\n")
    if lines.pop() or not lines:
        raise MalformedError("federation.log.note_form", field="signatures")
    if len(lines) > _MAX_SIGNATURES:
        raise LimitError("federation.log.note_lines", count=len(lines), limit=_MAX_SIGNATURES)
    return tuple(_signature(line) for line in lines)


def open_note(raw: bytes | Note, keys: Sequence[NoteKey]) -> tuple[Note, tuple[Verified, ...]]:
    """Read a note and verify what the known keys signed.

    Returns:
        The note, and the signatures that hold, in their order; at least one.

    Raises:
        LimitError: as `parse_note`.
        MalformedError: not a note.
        UntrustedError: no signature by a known key, or a wrong one by a known key.
    """
    note = raw if isinstance(raw, Note) else parse_note(raw)
    known = {(key.name, key.id): key for key in keys}
    held = []
    for signature in note.signatures:
        key = known.get((signature.name, signature.id))
        if key is not None:
            held.append(_verify(note.text, key, signature))
    if not held:
        raise UntrustedError("federation.log.note_unsigned", field="signatures")
    return note, tuple(held)


def exact_base64(spelling: str, *, field: str) -> bytes:
    """Read standard base64 with padding, in its one spelling.

    Raises:
        MalformedError: another spelling, or not base64.
    """
    try:
        raw = b64decode(spelling.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = None
    if raw is None or b64encode(raw).decode() != spelling:
        raise MalformedError("federation.log.base64", field=field, value=spelling[:64])
    return raw


@lru_cache(maxsize=1024)
def _made(name: str, kind: int, public: bytes) -> NoteKey:
    key = admit({"kty": "OKP", "crv": "Ed25519", "x": b64u(public)}, {DEFAULT_ALGORITHM})
    digest = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()
    return NoteKey(name, kind, public, digest[:_ID_BYTES], key)


def _text(text: str) -> str:
    if not text.endswith("\n") or any((sign < " " and sign != "\n") or sign == _DELETE for sign in text):
        raise MalformedError("federation.log.note_text", field="text")
    return text


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _signature(line: str) -> NoteSignature:
    name, _, material = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH):
        raise MalformedError("federation.log.note_form", field="signatures")
    raw = exact_base64(material, field="signatures")
    if len(raw) <= _ID_BYTES:
        raise MalformedError("federation.log.note_form", field="signatures")
    return NoteSignature(check_name(name), raw[:_ID_BYTES], raw[_ID_BYTES:])


def _verify(text: str, key: NoteKey, signature: NoteSignature) -> Verified:
    raw, at, signed = signature.raw, None, text.encode()
    if key.kind == COSIGNATURE and len(raw) > _TIME_BYTES:
        at, raw = int.from_bytes(raw[:_TIME_BYTES], "big"), raw[_TIME_BYTES:]
        signed = _cosigned(text, at)
    if len(raw) != _SIGNATURE_BYTES or not key.key.verify(signed, raw):
        raise UntrustedError("federation.log.note_signature", field="signatures", name=key.name)
    return Verified(key, at, signature)
