"""Patterns people search by: `*` stands for any text, `?` for one character, everything else for itself.

Matching takes at most (length of pattern) x (length of text) steps, whatever the pattern: each literal part between
two stars is looked for once, from where the one before it ended. (A regular expression would try every combination.)
"""

import re
from functools import lru_cache

from registry.identifier import fold

__all__ = ["Glob"]

_SPECIAL = re.compile(r"[*?]")
_LIKE_SPECIAL = re.compile(r"([\\%_])")
_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


class Glob:
    """A compiled pattern; ASCII case is ignored. Immutable, safe for any number of threads."""

    __slots__ = ("_free", "_parts", "_pattern", "literal")

    def __init__(self, pattern: str) -> None:
        self._pattern = fold(pattern)
        self._parts = tuple(self._pattern.split("*"))
        self._free = tuple(_part(part) for part in self._parts)
        #: What every matching text begins with; folded.
        self.literal = _SPECIAL.split(self._pattern, maxsplit=1)[0]

    def matches(self, folded: str) -> bool:
        """Say whether the whole of a folded text matches."""
        first, last = self._free[0], self._free[-1]
        if len(self._parts) == 1:
            return first.fullmatch(folded) is not None
        begun = first.match(folded)
        # a part without stars has one length: the last one can only stand at the very end
        tail = len(folded) - len(self._parts[-1])
        if begun is None or tail < begun.end() or last.match(folded, tail) is None:
            return False
        at = begun.end()
        for part in self._free[1:-1]:
            found = part.search(folded, at, tail)
            if found is None:
                return False
            at = found.end()
        return True

    @property
    def like(self) -> str:
        r"""The same as an SQL LIKE pattern with `\` as escape character."""
        escaped = _LIKE_SPECIAL.sub(r"\\\1", self._pattern)
        return re.sub(r"\*+", "%", escaped).replace("?", "_")

    def beyond(self, length: int) -> str | None:
        """Return the least text greater than all that begin with the first `length` characters of `literal`.

        None when there is no such text. The order is that of code points, which is that of UTF-8 bytes.
        """
        kept = self.literal[:length]
        while kept:
            following = ord(kept[-1]) + 1
            if following in _SURROGATES:
                following = _SURROGATES.stop
            if following <= _LAST:
                return kept[:-1] + chr(following)
            kept = kept[:-1]
        return None


@lru_cache(maxsize=1024)
def _part(part: str) -> re.Pattern[str]:
    """Return the expression of a part without stars: all its matches have the same length."""
    return re.compile("".join("." if c == "?" else re.escape(c) for c in part), re.DOTALL)
