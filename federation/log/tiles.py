"""Tiles: the hashes of the tree in pieces of 256, as they are stored and served (C2SP tlog-tiles).

Rules (facts on federation, (c)):

- tile (L, N) holds the hashes of the complete subtrees (8L, 256N) … (8L, 256N + 255); a full one has 8,192 bytes and
  never changes; a partial one of width W holds the first W of them, and its bytes begin every wider one;
- a tree of s leaves has floor(s / 256^L) hashes at level L; what is left over after full tiles makes the partial one;
- N is written in groups of three digits, all but the last with an `x`: 1234067 = `x001/x234/067`; a partial tile adds
  `.p/W`; each tile has one spelling.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from federation.log.merkle import HASH_BYTES, Node, node_hash
from registry.errors import MalformedError

__all__ = [
    "HEIGHT",
    "WIDTH",
    "TileHashes",
    "TileName",
    "name_of",
    "parse_name",
    "tile_widths",
    "width_at",
]

HEIGHT = 8
WIDTH = 1 << HEIGHT

_NAME = re.compile(r"(?:(?:x[0-9]{3}/){0,5})[0-9]{3}")
_PARTIAL = re.compile(r"[1-9][0-9]{0,2}")


@dataclass(frozen=True, slots=True)
class TileName:
    """Which tile: its number from the left, and how many entries (1 to 256)."""

    number: int
    width: int = WIDTH


def name_of(tile: TileName) -> str:
    """Return the path below the level: `x001/x234/067` or `000.p/5`."""
    digits = str(tile.number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return path if tile.width == WIDTH else f"{path}.p/{tile.width}"


def parse_name(path: str) -> TileName:
    """Read the path below the level.

    Raises:
        MalformedError: it is not the one spelling of a tile.
    """
    number_path, dot, width_text = path.partition(".p/")
    number = int(number_path.replace("x", "").replace("/", "")) if _NAME.fullmatch(number_path) else -1
    if dot and not _PARTIAL.fullmatch(width_text):
        number = -1
    made = TileName(number, int(width_text)) if dot and number >= 0 else TileName(number)
    if number < 0 or name_of(made) != path:
        raise MalformedError("federation.log.tile_name", field="tile", value=path[:64])
    return made


def width_at(size: int, level: int, number: int) -> int:
    """Return how many hashes tile (level, number) has in a tree of `size` leaves; 0 when it is not there."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - number * WIDTH))


def tile_widths(old: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (level, number, width) of every tile that is new or wider at `size` leaves than at `old`."""
    level = 0
    while (have := size >> HEIGHT * level) > 0:
        had = old >> HEIGHT * level
        if have > had:
            for number in range(had // WIDTH, -(-have // WIDTH)):
                yield level, number, width_at(size, level, number)
        level += 1


class TileHashes:
    """Hashes of complete subtrees out of tiles; implements `federation.log.merkle.Hashes`.

    The tiles asked for are kept, with their inner nodes once needed, as long as this object lives: one for each
    answer or batch. Concurrency: one thread.

    Args:
        fetch: given (level, number) pairs, returns the bytes of those tiles, as wide as they are stored.
    """

    def __init__(self, fetch: Callable[[Sequence[tuple[int, int]]], list[bytes]]) -> None:
        self._fetch = fetch
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}

    def read(self, nodes: Sequence[Node]) -> list[bytes]:
        """Return the hashes of complete subtrees.

        Raises:
            KeyError: a tile does not hold one of them.
        """
        places = [_place(level, index) for level, index in nodes]
        missing = sorted({place[0] for place in places} - self._tiles.keys())
        if missing:
            for place, raw in zip(missing, self._fetch(missing), strict=True):
                self._tiles[place] = [[raw[i : i + HASH_BYTES] for i in range(0, len(raw), HASH_BYTES)]]
        return [self._node(*place) for place in places]

    def _node(self, tile: tuple[int, int], inner: int, offset: int) -> bytes:
        layers = self._tiles[tile]
        while len(layers) <= inner:
            below = layers[-1]
            layers.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
        layer = layers[inner]
        if offset >= len(layer):
            raise KeyError((tile, inner, offset))
        return layer[offset]


def _place(level: int, index: int) -> tuple[tuple[int, int], int, int]:
    """Return the tile that holds a node, the layer inside it, and the place in that layer."""
    tile_level, inner = divmod(level, HEIGHT)
    per_tile = HEIGHT - inner
    return (tile_level, index >> per_tile), inner, index & ((1 << per_tile) - 1)
