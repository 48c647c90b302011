"""The hash tree of the log (RFC 6962 §2.1): roots, proofs and their verification. Pure; `hashlib` alone.

Rules:

- a leaf is hashed with 00 before it, a node with 01 before its two children; the empty tree is SHA-256 of nothing;
- a tree of n > 1 leaves splits at the largest power of two below n, so its left part never changes again;
- a complete subtree is named `(level, index)`: the 2^level leaves from index * 2^level on. All that a proof needs is
  made of those, so a log keeps only them;
- verification follows the loops of RFC 9162 §2.1.3.2 and §2.1.4.2; a consistency proof from the empty tree proves
  nothing and is refused.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "CompactRange",
    "Hashes",
    "Node",
    "consistency",
    "inclusion",
    "leaf_hash",
    "node_hash",
    "root",
    "root_at",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

#: A complete subtree: level (0 = a leaf) and index from the left.
Node: TypeAlias = tuple[int, int]

_sha256 = hashlib.sha256


class Hashes(Protocol):
    """Where hashes of complete subtrees are kept.

    Consistency: what was returned once never changes. Concurrency: as the implementation says. Errors: whatever keeps
    it from reading; it never returns a wrong number of hashes.
    """

    def read(self, nodes: Sequence[Node]) -> list[bytes]:
        """Return the hashes of `nodes`, 32 bytes each, in their order."""
        ...


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over its two children."""
    return _sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over these leaf hashes."""
    if not leaf_hashes:
        return EMPTY_ROOT
    layer = list(leaf_hashes)
    while len(layer) > 1:
        # the last of an odd layer goes up as it is: that is the split at the largest power of two, seen from below
        above = [node_hash(layer[i], layer[i + 1]) for i in range(0, len(layer) - 1, 2)]
        if len(layer) % 2:
            above.append(layer[-1])
        layer = above
    return layer[0]


def _peaks(first: int, end: int) -> list[Node]:
    """Cut [first, end) into complete subtrees, from the left; a power of two >= its length divides `first`."""
    nodes = []
    while first < end:
        level = (end - first).bit_length() - 1
        nodes.append((level, first >> level))
        first += 1 << level
    return nodes


def _fold(peaks: Sequence[bytes]) -> bytes:
    made = peaks[-1]
    for peak in reversed(peaks[:-1]):
        made = node_hash(peak, made)
    return made


def _split(length: int) -> int:
    return 1 << (length - 1).bit_length() - 1


def _read_ranges(hashes: Hashes, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
    """Return the root of each range, reading all that is needed at once."""
    cuts = [_peaks(first, end) for first, end in ranges]
    found = iter(hashes.read([node for cut in cuts for node in cut]))
    return [_fold([next(found) for _ in cut]) for cut in cuts]


def root_at(hashes: Hashes, size: int) -> bytes:
    """Return the root of the first `size` leaves."""
    return _read_ranges(hashes, [(0, size)])[0] if size else EMPTY_ROOT


def inclusion(hashes: Hashes, index: int, size: int) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` leaves, from the leaf up.

    Raises:
        IndexError: index is not below size.
    """
    if not 0 <= index < size:
        raise IndexError(index)
    ranges = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    return _read_ranges(hashes, reversed(ranges))


def consistency(hashes: Hashes, old: int, size: int) -> list[bytes]:
    """Return the proof that the tree of `size` leaves continues that of `old` leaves.

    Raises:
        IndexError: not 0 < old <= size.
    """
    if not 0 < old <= size:
        raise IndexError(old)
    ranges = []
    first, end = 0, size
    whole = True
    while old < end:
        middle = first + _split(end - first)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
            whole = False
    if not whole:
        ranges.append((first, end))
    return _read_ranges(hashes, reversed(ranges))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> bool:
    """Say whether `proof` shows the leaf hash `leaf` at `index` of the tree with this size and root."""
    if not 0 <= index < size:
        return False
    fn, sn = index, size - 1
    made = leaf
    for step in proof:
        if sn == 0 or len(step) != HASH_BYTES:
            return False
        if fn & 1 or fn == sn:
            made = _sha256(b"\x01" + step + made).digest()
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            made = _sha256(b"\x01" + made + step).digest()
        fn >>= 1
        sn >>= 1
    return sn == 0 and made == expected_root


def verify_consistency(old: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether `proof` shows that the tree (size, new_root) continues the tree (old, old_root)."""
    if not 0 < old <= size:
        return False
    if old == size:
        return not proof and old_root == new_root
    if not proof or any(len(step) != HASH_BYTES for step in proof):
        return False
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    fn, sn = old - 1, size - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    first = second = steps[0]
    for step in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first = node_hash(step, first)
            second = node_hash(step, second)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            second = node_hash(second, step)
        fn >>= 1
        sn >>= 1
    return sn == 0 and first == old_root and second == new_root


class CompactRange:
    """The complete subtrees of a growing tree: enough for its root, and for going on.

    Args:
        size: leaves so far.
        peaks: the hashes of the complete subtrees of that tree, from the left (largest first).

    Raises:
        ValueError: not as many peaks as a tree of that size has.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self._size = size
        self._peaks = list(peaks)
        if len(self._peaks) != size.bit_count():
            raise ValueError(size)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The complete subtrees, from the left."""
        return tuple(self._peaks)

    @staticmethod
    def nodes(size: int) -> list[Node]:
        """Return the complete subtrees of a tree of `size` leaves, from the left."""
        return _peaks(0, size)

    def add(self, leaf: bytes) -> None:
        """Append a leaf hash."""
        made = leaf
        full = self._size
        while full & 1:
            made = node_hash(self._peaks.pop(), made)
            full >>= 1
        self._peaks.append(made)
        self._size += 1

    def root(self) -> bytes:
        """Return the root."""
        return _fold(self._peaks) if self._peaks else EMPTY_ROOT
