"""Identifiers and prefixes: syntax, comparison, the way into and out of URLs.

Rules (the project's facts file on identifiers, §1; RFC 3651 for the Handle syntax):

- an identifier is `prefix/suffix`, split at the first `/`; the suffix may hold or begin with `/`, never be empty;
- a prefix is dotted labels, compared label by label: 88.1 does not contain 88.10;
- the match key folds ASCII a–z to A–Z over the whole identifier and touches no other byte;
- the registered spelling is kept, answers echo the asked spelling;
- prefix P has its own record `0.NA/P`, whose parent drops the last label;
- registering asks for more than resolving: Unicode NFC, no invisible characters, and letters and
  digits that are ASCII or Han, so that no Cyrillic, Greek or full-width letter passes for another.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from registry.errors import MalformedIdentifierError

__all__ = [
    "HANDLE_MAX_BYTES",
    "PREFIX_MAX_BYTES",
    "Identifier",
    "Prefix",
    "ValueReference",
    "fold",
    "from_url_path",
    "to_url_path",
]

#: Node's own choice within the wire protocol's 2,048 bytes.
HANDLE_MAX_BYTES = 255
PREFIX_MAX_BYTES = 64

_NA = "0.NA"
_LABEL = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")


def fold(spelling: str) -> str:
    """Return the match key: ASCII letters upper-case, everything else untouched."""
    if spelling.isascii():
        return spelling.upper()
    return spelling.encode().upper().decode()


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """A dotted prefix such as `88.107.1001`, held in its folded spelling."""

    key: str

    @classmethod
    def parse(cls, spelling: str, *, field: str | None = None) -> "Prefix":
        """Read a prefix; `0.NA/P` is accepted for `P`.

        Raises:
            MalformedIdentifierError: empty label, foreign character, more than 64 bytes.
        """
        bare = spelling[5:] if fold(spelling[:5]) == "0.NA/" else spelling
        size = len(bare.encode("utf-8", "surrogatepass"))
        if size > PREFIX_MAX_BYTES:
            raise MalformedIdentifierError(
                "registry.identifier.prefix_long",
                field=field,
                value=bare[:PREFIX_MAX_BYTES] + "…",
                length=size,
                limit=PREFIX_MAX_BYTES,
            )
        for label in bare.split("."):
            if not label:
                raise MalformedIdentifierError("registry.identifier.prefix_empty", field=field, value=bare)
            if not _LABEL.fullmatch(label):
                odd = next(c for c in label if not _LABEL.fullmatch(c))
                raise MalformedIdentifierError(
                    "registry.identifier.prefix_character",
                    field=field,
                    value=bare,
                    character=f"U+{ord(odd):04X}",
                )
        return cls(fold(bare))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, outermost first."""
        return tuple(self.key.split("."))

    @property
    def parent(self) -> "Prefix | None":
        """The prefix one label shorter, or None for a single label."""
        head, _, tail = self.key.rpartition(".")
        return Prefix(head) if tail and head else None

    @property
    def handle(self) -> "Identifier":
        """The prefix's own record, `0.NA/<prefix>`."""
        return _handle(self.key)

    def contains(self, other: "Prefix") -> bool:
        """Say whether `other` is this prefix or one below it, compared label by label."""
        return other.key == self.key or other.key.startswith(f"{self.key}.")

    def ancestors(self) -> "tuple[Prefix, ...]":
        """Return this prefix and every one above it, the longest first."""
        labels = self.labels
        return tuple(Prefix(".".join(labels[:n])) for n in range(len(labels), 0, -1))

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier as it was spelled, with its prefix and suffix."""

    text: str
    prefix: Prefix
    suffix: str

    @classmethod
    def parse(cls, spelling: str, *, field: str | None = None) -> "Identifier":
        """Read an identifier somebody asks for.

        A name without `/` stands for the prefix record `0.NA/<name>`.

        Raises:
            MalformedIdentifierError: empty suffix, control character, more than 255 bytes of UTF-8, lone
                surrogates, or a prefix that breaks `Prefix.parse`.
        """
        return _parse(spelling) if field is None else _parse_at(spelling, field)

    @classmethod
    def parse_new(cls, spelling: str, *, field: str | None = None) -> "Identifier":
        """Read an identifier that is about to be registered, by the stricter rules.

        Raises:
            MalformedIdentifierError: as `parse`; also: no `/`, not NFC, an invisible or direction-changing
                character, or a letter or digit that is neither ASCII nor Han.
        """
        if "/" not in spelling:
            raise MalformedIdentifierError("registry.identifier.no_slash", field=field, value=spelling)
        made = _parse_at(spelling, field)
        if not spelling.isascii():
            _refuse_look_alikes(spelling, field)
        return made

    @property
    def key(self) -> str:
        """The match key."""
        return fold(self.text)

    @property
    def suffix_key(self) -> str:
        """The match key of the suffix."""
        return fold(self.suffix)

    @property
    def named_prefix(self) -> Prefix | None:
        """For `0.NA/P` the prefix P, else None."""
        return Prefix.parse(self.suffix) if self.prefix.key == _NA and self.suffix_key != _NA else None

    @property
    def authority(self) -> Prefix:
        """The prefix whose delegation governs this identifier: for `0.NA/P`, P's parent (or P at the top)."""
        named = self.named_prefix
        if named is None:
            return self.prefix
        return named.parent or named

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=4096)
def _handle(key: str) -> Identifier:
    return Identifier(text=f"{_NA}/{key}", prefix=Prefix(_NA), suffix=key)


@lru_cache(maxsize=4096)
def _parse(spelling: str) -> Identifier:
    return _parse_at(spelling, None)


def _parse_at(spelling: str, field: str | None) -> Identifier:
    try:
        size = len(spelling.encode())
    except UnicodeEncodeError:
        raise MalformedIdentifierError("registry.identifier.not_utf8", field=field) from None
    if size > HANDLE_MAX_BYTES:
        raise MalformedIdentifierError(
            "registry.identifier.long", field=field, length=size, limit=HANDLE_MAX_BYTES
        )
    if control := _CONTROL.search(spelling):
        raise MalformedIdentifierError(
            "registry.identifier.control", field=field, value=spelling, character=f"U+{ord(control[0]):04X}"
        )
    head, slash, suffix = spelling.partition("/")
    if not slash:
        head, suffix = _NA, spelling
    if not suffix:
        raise MalformedIdentifierError("registry.identifier.suffix_empty", field=field, value=spelling)
    prefix = Prefix.parse(head, field=field)
    if prefix.key == _NA and fold(suffix) != _NA:
        Prefix.parse(suffix, field=field)
    return Identifier(text=spelling if slash else f"{_NA}/{spelling}", prefix=prefix, suffix=suffix)


def _refuse_look_alikes(spelling: str, field: str | None) -> None:
    normal = unicodedata.normalize("NFC", spelling)
    if normal != spelling:
        raise MalformedIdentifierError(
            "registry.identifier.not_nfc", field=field, value=spelling, normal=normal
        )
    for character in spelling:
        if character.isascii():
            continue
        # Cf: zero width, bidirectional; Z*: foreign spaces; Cn, Co, Cs: unassigned, private, surrogate
        category = unicodedata.category(character)
        point = f"U+{ord(character):04X}"
        if category[0] in "CZ":
            raise MalformedIdentifierError(
                "registry.identifier.invisible", field=field, value=spelling, character=point
            )
        letter = category[0] in "LMN"
        if unicodedata.normalize("NFKC", character) != character or (letter and not _is_han(character)):
            raise MalformedIdentifierError(
                "registry.identifier.look_alike", field=field, value=spelling, character=point
            )


def _is_han(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK UNIFIED IDEOGRAPH") or character == "〇"


@dataclass(frozen=True, slots=True)
class ValueReference:
    """`index:handle`, for example `300:0.NA/88.107`; index 0 stands for any index."""

    index: int
    handle: Identifier

    @classmethod
    def parse(cls, spelling: str, *, field: str | None = None) -> "ValueReference":
        """Read a value reference.

        Raises:
            MalformedIdentifierError: no index, index outside 0 … 2^32-1, or a malformed handle.
        """
        index, colon, handle = spelling.partition(":")
        if not colon or not index.isascii() or not index.isdigit() or int(index) >= 1 << 32:
            raise MalformedIdentifierError("registry.identifier.reference", field=field, value=spelling)
        return cls(int(index), Identifier.parse(handle, field=field))

    def __str__(self) -> str:
        return f"{self.index}:{self.handle}"


def from_url_path(raw: bytes, *, field: str | None = None) -> str:
    """Decode the raw bytes of a URL path once; `+` stays, `%2F` is `/`.

    Raises:
        MalformedIdentifierError: a broken escape, `%00`, or bytes that are not UTF-8.
    """
    if b"%" not in raw:
        decoded = raw
    else:
        for escape in _ESCAPE.finditer(raw):
            if escape[1] is None:
                raise MalformedIdentifierError(
                    "registry.identifier.percent",
                    field=field,
                    value=raw.decode("latin-1"),
                    position=escape.start() + 1,
                )
        decoded = _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), raw)
    try:
        spelling = decoded.decode()
    except UnicodeDecodeError:
        raise MalformedIdentifierError("registry.identifier.not_utf8", field=field) from None
    if "\x00" in spelling:
        raise MalformedIdentifierError(
            "registry.identifier.control", field=field, value=spelling, character="U+0000"
        )
    return spelling


def to_url_path(identifier: str) -> str:
    """Encode an identifier for a URL path: all but unreserved characters, `/` and `:` is escaped."""
    return quote(identifier, safe="/:-._~")
