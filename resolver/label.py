"""Labels: the QR code of an identifier, leading to its page, with the identifier in letters below it.

The code holds the resolving URL and nothing else, so that any telephone can read it. Error correction is Q (a quarter
of the symbol may be dirty or torn), the quiet zone four modules as ISO/IEC 18004 asks. PNG carries the code alone,
SVG also the text, because a drawing program can set text and a bitmap of ours could not in Chinese.
"""

from html import escape
from io import BytesIO
from typing import Final

import segno

from registry.errors import MalformedError
from registry.identifier import Identifier, to_url_path

__all__ = ["FORMATS", "draw_label", "label_url"]

FORMATS: Final = ("png", "svg")
_QUIET = 4
_SCALE = 10
_TEXT_SIZE = 22
_LINE = 28
#: About two thirds of the type size, for a line that fits.
_LETTER = 13
_WIDE_LETTER = 22


def label_url(identifier: Identifier, base_url: str) -> str:
    """Return the URL a label leads to."""
    return f"{base_url.rstrip('/')}/id/{to_url_path(identifier.text)}"


def draw_label(identifier: Identifier, base_url: str, file_format: str = "png") -> bytes:
    """Return the label as a PNG or SVG file.

    Args:
        identifier: what the label is for.
        base_url: where scans are answered, for example `https://id.park.example`.
        file_format: `png` or `svg`.

    Raises:
        MalformedError: another format.
    """
    code = segno.make(label_url(identifier, base_url), error="q", micro=False, boost_error=False)
    if file_format == "png":
        out = BytesIO()
        code.save(out, kind="png", scale=_SCALE, border=_QUIET)
        return out.getvalue()
    if file_format == "svg":
        return _svg(code, identifier.text)
    raise MalformedError("resolver.scan.label_format", field="format", value=file_format)


def _svg(code: segno.QRCode, words: str) -> bytes:
    side = int(code.symbol_size(scale=_SCALE, border=_QUIET)[0])
    lines = _broken(words, side - 2 * _SCALE)
    height = side + _LINE * len(lines)
    dark = "".join(
        f"M{(x + _QUIET) * _SCALE} {(y + _QUIET) * _SCALE}h{_SCALE}v{_SCALE}h-{_SCALE}z"
        for y, row in enumerate(code.matrix)
        for x, module in enumerate(row)
        if module
    )
    written = "".join(
        f'<text x="{side // 2}" y="{side + _LINE * number}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{height}" '
        f'viewBox="0 0 {side} {height}"><title>{escape(words)}</title>'
        f'<rect width="{side}" height="{height}" fill="#fff"/><path d="{dark}"/>'
        f'<g font-family="monospace" font-size="{_TEXT_SIZE}" text-anchor="middle">{written}</g></svg>'
    ).encode()


def _broken(words: str, width: int) -> list[str]:
    """Break a text into lines that fit."""
    lines, room = [""], width
    for character in words:
        size = _LETTER if character.isascii() else _WIDE_LETTER
        if room < size:
            lines.append("")
            room = width
        lines[-1] += character
        room -= size
    return lines
