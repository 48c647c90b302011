"""Ready answers: what everybody may see, encoded once by a door and served until it changes.

One table per encoding (`grpc`, `handle`, …), each from match key to `Fragment`. The doors read the tables directly: a
hit is one dictionary look-up. Rules:

- only the event loop's thread touches it; there are no locks;
- a change drops the key from every table;
- an answer that was read before a change must not be kept after it: whoever resolves takes a `mark` first, and `put`
  ignores a fragment whose key was dropped since;
- each table is bounded by bytes; the fragment kept longest goes first, so that a hit needs no bookkeeping.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Fragment", "Ready"]

#: What one kept fragment costs beside its data: key, object, dictionary entry (measured, rounded up).
_OVERHEAD_BYTES = 300
#: Dropped keys remembered one by one; when there are more, every older mark is void.
_MAX_DROPPED = 100_000


@dataclass(frozen=True, slots=True)
class Fragment:
    """One encoded answer without the asked spelling.

    Attributes:
        data: the bytes.
        authoritative: it is of an own record: its age is 0 and its ttl stands in `data`. Otherwise both are spliced.
        since: steady seconds (`Clock.monotonic`) at which its age was 0.
        ttl_ends: steady seconds at which its ttl is used up.
        until: steady seconds after which it must not be served.
        etag: HTTP entity tag, quotes included; empty where there is no such thing.
    """

    data: bytes
    authoritative: bool
    since: float
    ttl_ends: float
    until: float
    etag: bytes = b""


class Ready:
    """Encoded answers by encoding and match key."""

    def __init__(self, *, max_bytes_per_encoding: int = 32 << 20) -> None:
        self._max_bytes = max_bytes_per_encoding
        self._tables: dict[str, dict[str, Fragment]] = {}
        self._sizes: dict[str, int] = {}
        self._count = 0
        self._void_before = 0
        self._dropped: dict[str, int] = {}

    def table(self, encoding: str) -> Mapping[str, Fragment]:
        """Return the living table of an encoding; it stays the same object."""
        self._sizes.setdefault(encoding, 0)
        return self._tables.setdefault(encoding, {})

    def get(self, encoding: str, key: str) -> Fragment | None:
        """Return what is kept; the caller checks `until`."""
        return self.table(encoding).get(key)

    def mark(self) -> int:
        """Return the point in time, counted in changes, to hand to `put` after resolving."""
        return self._count

    def put(self, encoding: str, key: str, fragment: Fragment, *, mark: int) -> None:
        """Keep a fragment, unless its key was dropped after `mark`."""
        if mark < self._void_before or self._dropped.get(key, 0) > mark:
            return
        self.table(encoding)
        table = self._tables[encoding]
        self._forget(encoding, key)
        size = _size(key, fragment)
        if size > self._max_bytes:
            return
        table[key] = fragment
        self._sizes[encoding] += size
        while self._sizes[encoding] > self._max_bytes:
            self._forget(encoding, next(iter(table)))

    def drop(self, key: str) -> None:
        """Forget a key in every encoding: it changed."""
        self._count += 1
        if len(self._dropped) >= _MAX_DROPPED:
            self._dropped.clear()
            self._void_before = self._count
        self._dropped[key] = self._count
        for encoding in self._tables:
            self._forget(encoding, key)

    def clear(self) -> None:
        """Forget everything: a delegation changed, or changes were missed."""
        self._count += 1
        self._dropped.clear()
        self._void_before = self._count
        for encoding, table in self._tables.items():
            table.clear()
            self._sizes[encoding] = 0

    def __len__(self) -> int:
        return sum(len(table) for table in self._tables.values())

    def _forget(self, encoding: str, key: str) -> None:
        old = self._tables[encoding].pop(key, None)
        if old is not None:
            self._sizes[encoding] -= _size(key, old)


def _size(key: str, fragment: Fragment) -> int:
    return len(key) + len(fragment.data) + _OVERHEAD_BYTES
