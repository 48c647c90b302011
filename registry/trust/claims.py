"""Claims read one by one, each of exactly the type it must have; what is wrong is named by its path."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import MalformedError, MalformedIdentifierError, UntrustedError
from registry.identifier import Prefix, fold
from registry.trust.strict_json import MAX_INTEGER

__all__ = ["Claims", "check_crit"]

_MAX_TEXT = 512
_NA = "0.NA/"
_ROOT_HANDLE = "0.NA/0.NA"


@dataclass(frozen=True, slots=True)
class Claims:
    """A JSON object whose members are about to be checked.

    Attributes:
        content: the object; anything else is refused at the first look.
        at: where it stands, for the refusal.

    Every method raises MalformedError when the member is missing or of another type.
    """

    content: Mapping[str, Any]
    at: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.content, Mapping):
            raise MalformedError("registry.trust.claim_type", field=self.at or "payload", right="object")

    def where(self, name: str) -> str:
        """Return the path of a member."""
        return f"{self.at}.{name}" if self.at else name

    def get(self, name: str) -> Any:
        """Return a member that must be there."""
        if name not in self.content:
            raise MalformedError("registry.trust.claim_missing", field=self.where(name))
        return self.content[name]

    def text(self, name: str, most: int = _MAX_TEXT) -> str:
        """Return a text that is not empty."""
        value = self.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise self._wrong(name, f"text (1–{most})")
        return value

    def optional_text(self, name: str, most: int = _MAX_TEXT) -> str | None:
        """Return a text, or None when it is missing or null."""
        return None if self.content.get(name) is None else self.text(name, most)

    def integer(self, name: str, *, least: int = 0, most: int = MAX_INTEGER) -> int:
        """Return an integer; true, false and 1.0 are none."""
        value = self.get(name)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"integer ({least}–{most})")
        return value

    def array(self, name: str, *, most: int) -> list[Any]:
        """Return an array."""
        value = self.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._wrong(name, f"array (0–{most})")
        return value

    def texts(self, name: str, *, most: int) -> list[str]:
        """Return an array of different texts, not empty."""
        value = self.array(name, most=most)
        good = all(isinstance(item, str) and 0 < len(item) <= _MAX_TEXT for item in value)
        if not value or not good or len(set(value)) != len(value):
            raise self._wrong(name, f"array of different texts (1–{most})")
        return value

    def object(self, name: str) -> dict[str, Any]:
        """Return an object."""
        value = self.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "object")
        return value

    def prefix(self, name: str) -> Prefix | None:
        """Return the prefix P of a member `0.NA/P`; None for the root's `0.NA/0.NA`."""
        return self._prefix(name, self.text(name))

    def reference(self, name: str, index: int) -> Prefix | None:
        """Return the prefix P of a member `<index>:0.NA/P`; None for the root."""
        value = self.text(name)
        head, colon, handle = value.partition(":")
        if not colon or head != str(index):
            raise MalformedError(
                "registry.trust.issuer", field=self.where(name), value=value[:128], right=f"{index}:0.NA/…"
            )
        return self._prefix(name, handle)

    def _prefix(self, name: str, handle: str) -> Prefix | None:
        if fold(handle) == _ROOT_HANDLE:
            return None
        if fold(handle[: len(_NA)]) != _NA:
            raise MalformedError(
                "registry.trust.issuer", field=self.where(name), value=handle[:128], right="0.NA/…"
            )
        bare = handle[len(_NA) :]
        made = Prefix.parse(bare, field=self.where(name))
        # A second `0.NA/` inside, or a prefix out of the system's own name space, names nobody.
        if "/" in bare or made.labels[0] == "0":
            raise MalformedIdentifierError(
                "registry.trust.prefix_reserved", field=self.where(name), value=handle[:128]
            )
        return made

    def _wrong(self, name: str, right: str) -> MalformedError:
        return MalformedError("registry.trust.claim_type", field=self.where(name), right=right)


def check_crit(claims: Claims, *, required: Collection[str], understood: Collection[str]) -> None:
    """Check the payload claim `crit`: libraries for JWT do not, so it is done here.

    Raises:
        MalformedError: it is missing, or does not name what it must, or names what is not there.
        UntrustedError: it names a claim that is not understood here.
    """
    names = claims.texts("crit", most=32)
    for name in names:
        if name not in understood:
            raise UntrustedError("registry.trust.crit_unknown", field="crit", name=name[:64])
        if name not in claims.content:
            raise MalformedError("registry.trust.crit_absent", field="crit", name=name)
    for name in required:
        if name not in names:
            raise MalformedError("registry.trust.crit_missing", field="crit", name=name)
