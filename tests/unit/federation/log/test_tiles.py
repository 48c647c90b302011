import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.log.merkle import inclusion, root_at
from federation.log.tiles import WIDTH, TileHashes, TileName, name_of, parse_name, tile_widths, width_at
from registry.errors import MalformedError
from tests.support.log import ListHashes, entry_hashes, plain_root


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TileName(0), "000"),
        (TileName(67), "067"),
        (TileName(999), "999"),
        (TileName(1000), "x001/000"),
        (TileName(1234067), "x001/x234/067"),
        (TileName(1234067, 8), "x001/x234/067.p/8"),
        (TileName(0, 1), "000.p/1"),
        (TileName(0, 255), "000.p/255"),
    ],
)
def test_a_tile_has_the_name_of_the_specification(tile, path):
    assert name_of(tile) == path
    assert parse_name(path) == tile


@given(st.integers(0, 10**17), st.integers(1, WIDTH))
def test_each_tile_has_one_name(number, width):
    made = TileName(number, width)
    assert parse_name(name_of(made)) == made


@pytest.mark.parametrize(
    "path",
    [
        "", "0", "00", "0000", "x000/000", "x1/000", "x001", "001/000", "000.p/0", "000.p/256", "000.p/256/1",
        "000.p/01", "000.p/", "000.p", "000/", "/000", "x001//000", "-01", "٠٠٠", "000.p/٣", " 000", "000\n",
        "../000", "x001/x000", "x999/" * 20 + "000",
    ],
)  # fmt: skip
def test_whatever_is_not_the_one_name_of_a_tile_is_refused(path):
    with pytest.raises(MalformedError):
        parse_name(path)


@given(st.text(alphabet="0123456789x/.p", max_size=24))
def test_what_is_read_as_a_name_is_written_the_same(path):
    try:
        made = parse_name(path)
    except MalformedError:
        return
    assert name_of(made) == path


def _tiles(size):
    hashes = entry_hashes(size)
    tiles = {}
    for level, number, width in tile_widths(0, size):
        span = WIDTH**level
        first = number * WIDTH
        tiles[level, number] = b"".join(
            plain_root(hashes[i * span : (i + 1) * span]) for i in range(first, first + width)
        )
    return hashes, tiles


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700])
def test_tiles_give_every_root_and_proof(size):
    hashes, tiles = _tiles(size)
    asked = []

    def fetch(places):
        asked.extend(places)
        return [tiles.get(place, b"") for place in places]

    tree = TileHashes(fetch)
    assert root_at(tree, size) == plain_root(hashes)
    for index in {0, size // 2, size - 1}:
        assert inclusion(tree, index, size) == inclusion(ListHashes(hashes), index, size)
    assert len(asked) == len(set(asked)), "a tile is fetched once"


def test_a_hash_that_no_tile_holds_is_said_to_be_missing():
    _, tiles = _tiles(5)
    tree = TileHashes(lambda places: [tiles.get(place, b"") for place in places])
    with pytest.raises(KeyError):
        tree.read([(0, 5)])
    with pytest.raises(KeyError):
        tree.read([(8, 0)])


def test_widths_follow_the_size():
    assert [width_at(700, 0, n) for n in range(4)] == [256, 256, 188, 0]
    assert [width_at(700, 1, n) for n in range(2)] == [2, 0]
    assert list(tile_widths(0, 700)) == [(0, 0, 256), (0, 1, 256), (0, 2, 188), (1, 0, 2)]
    assert list(tile_widths(300, 700)) == [(0, 1, 256), (0, 2, 188), (1, 0, 2)]
    assert list(tile_widths(256, 257)) == [(0, 1, 1)]
    assert list(tile_widths(5, 5)) == []
