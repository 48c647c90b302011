import re
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
import zxingcpp

from registry.errors import MalformedError
from registry.identifier import Identifier
from resolver.label import draw_label, label_url

BASE = "https://id.park.example/"
NAMES = ["88.107.1001/BATCH-1", "88.107.1001/桶 7/左&右", "88.107.1001/" + "L" * 200]


def _pixels(png):
    """Read a grey or palette PNG of one bit a pixel into an array; an independent reader of the label's file."""
    at, header, data, palette = 8, None, b"", None
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        at += size + 12
        if kind == b"IHDR":
            header = struct.unpack(">IIBB", body[:10])
        elif kind == b"IDAT":
            data += body
        elif kind == b"PLTE":
            palette = body[::3]
    width, height, depth, _ = header
    assert depth == 1
    raw, line = zlib.decompress(data), (width + 7) // 8
    rows, above = [], np.zeros(line, np.uint8)
    for y in range(height):
        row = np.frombuffer(raw[y * (line + 1) + 1 : (y + 1) * (line + 1)], np.uint8)
        how = raw[y * (line + 1)]
        assert how in {0, 2}, "no filter, or the difference to the line above"
        above = row + above if how else row
        rows.append(np.unpackbits(above)[:width])
    bits = np.array(rows, np.uint8)
    shades = np.array(list(palette) if palette else [0, 255], np.uint8)
    return shades[bits]


def _drawn(svg):
    """Paint the squares of the SVG's path."""
    root = ET.fromstring(svg)
    width, height = int(root.get("width")), int(root.get("height"))
    path = root.find("{http://www.w3.org/2000/svg}path").get("d")
    picture = np.full((height, width), 255, np.uint8)
    for x, y, side in re.findall(r"M(\d+) (\d+)h(\d+)", path):
        picture[int(y) : int(y) + int(side), int(x) : int(x) + int(side)] = 0
    return picture, "".join(t.text for t in root.iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("name", NAMES)
def test_a_label_is_read_back_by_an_independent_decoder(name):
    identifier = Identifier.parse(name)
    (from_png,) = zxingcpp.read_barcodes(_pixels(draw_label(identifier, BASE, "png")))
    picture, words = _drawn(draw_label(identifier, BASE, "svg"))
    (from_svg,) = zxingcpp.read_barcodes(picture)
    assert from_png.text == from_svg.text == label_url(identifier, BASE)
    assert words == name


def test_a_label_leads_to_the_escaped_page():
    assert label_url(Identifier.parse(NAMES[1]), BASE).endswith(
        "/id/88.107.1001/%E6%A1%B6%207/%E5%B7%A6%26%E5%8F%B3"
    )


def test_a_dirty_label_still_reads():
    identifier = Identifier.parse(NAMES[0])
    picture = _pixels(draw_label(identifier, BASE, "png")).copy()
    side = len(picture)
    picture[side // 2 : side // 2 + side // 6, side // 2 : side // 2 + side // 6] = 0
    (read,) = zxingcpp.read_barcodes(picture)
    assert read.text == label_url(identifier, BASE)


def test_another_format_is_refused():
    with pytest.raises(MalformedError, match="'gif'"):
        draw_label(Identifier.parse(NAMES[0]), BASE, "gif")
