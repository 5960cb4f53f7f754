"""Pieces that a printed page is built of: lines of text, pictures, one below or beside another.

Each knows how high it is before it is drawn, so that a page can be laid out first. Lengths are
in points of 1/72 inch; ``y`` grows upwards, as PDF has it, and a piece hangs from its top.
Letters are Helvetica in the encoding WinAnsi, which every PDF reader brings.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from lesionlens.imaging import load_picture

#: A4, width and height.
PAGE = (595.28, 841.89)
#: Letter is 50 points less high: 25 are lost above and below.
MARGIN_X, MARGIN_Y = 44.0, 48.0
WIDTH, HEIGHT = PAGE[0] - 2 * MARGIN_X, PAGE[1] - 2 * MARGIN_Y
#: Black enough on white in grey, too: contrast 17:1 and 8:1.
INK, FAINT = "#1B1C1E", "#4B5157"
#: From line to line, in sizes of the letters.
LEADING = 1.25

_NAME_WIDTH = 118.0  # of the left column of facts
_PICTURE_PX = 900  # longer side of an embedded picture: 250 dpi in print


@dataclass(frozen=True)
class Block:
    """A piece of the page: how high it is, and how it is drawn at a left and a top."""

    height: float
    draw: Callable[[Any, float, float], None]


def beside(left: Block, right: Block, offset: float) -> Block:
    """Return two pieces with their tops in line, the second ``offset`` further right."""

    def draw(canvas: Any, x: float, y: float) -> None:
        left.draw(canvas, x, y)
        right.draw(canvas, x + offset, y)

    return Block(max(left.height, right.height), draw)


def stack(blocks: Sequence[Block], *, gap: float) -> Block:
    """Return pieces one below the other."""

    def draw(canvas: Any, x: float, y: float) -> None:
        for block in blocks:
            block.draw(canvas, x, y)
            y -= block.height + gap

    return Block(sum(block.height + gap for block in blocks) - gap, draw)


def facts(rows: Sequence[tuple[str, str]], *, size: float) -> Block:
    """Return rows of a faint name and what it is."""
    return stack(
        [
            beside(
                paragraph(name, size=size, colour=FAINT, width=_NAME_WIDTH - 6),
                paragraph(value, size=size, width=WIDTH - _NAME_WIDTH),
                _NAME_WIDTH,
            )
            for name, value in rows
        ],
        gap=2,
    )


def paragraph(
    words: str,
    *,
    size: float,
    lead: str = "",
    bold: bool = False,
    colour: str = INK,
    width: float = WIDTH,
    max_lines: int | None = None,
) -> Block:
    """Return text in lines that fit a width.

    Args:
        words: line breaks are kept, characters that cannot be shown are replaced.
        size: of the letters.
        lead: what comes first, in bold.
        bold: whether all of it is.
        colour: of the letters.
        width: of the lines.
        max_lines: what is beyond is left out.
    """
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    font = "Helvetica-Bold" if bold else "Helvetica"
    style = ParagraphStyle("words", fontName=font, fontSize=size, leading=size * LEADING)
    style.textColor = colour
    markup = escape(printable(words)).replace("\n", "<br/>")
    if lead:
        markup = f"<b>{escape(printable(lead))}</b> {markup}"
    lines = Paragraph(markup, style)
    _, height = lines.wrap(width, HEIGHT)
    if max_lines is not None and height > (most := max_lines * style.leading + 0.1):
        lines = lines.split(width, most)[0]
        _, height = lines.wrap(width, HEIGHT)
    return Block(height, lambda canvas, x, y: lines.drawOn(canvas, x, y - height))


def printable(words: str) -> str:
    """Return text in characters that WinAnsi has: bare letters or question marks."""
    kept = []
    for character in unicodedata.normalize("NFC", words.replace("\r\n", "\n")):
        if character in "\n\N{NO-BREAK SPACE}" or (character.isprintable() and _has(character)):
            kept.append(character)
        elif character.isspace():
            kept.append(" ")
        else:
            bare = unicodedata.normalize("NFKD", character)[0]
            kept.append(bare if bare.isprintable() and _has(bare) else "?")
    return "".join(kept)


def _has(character: str) -> bool:
    try:
        character.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def picture(content: bytes, width: float, height: float) -> Block:
    """Return a picture (JPEG or PNG) that fits into a width and a height.

    Raises:
        ImageError: it cannot be read; says why.
    """
    image, (columns, rows) = _embedded(content)
    scale = min(width / columns, height / rows)

    def draw(canvas: Any, x: float, y: float) -> None:
        canvas.drawImage(image, x, y - rows * scale, columns * scale, rows * scale)

    return Block(rows * scale, draw)


def _embedded(content: bytes) -> tuple[Any, tuple[int, int]]:
    """Return a picture for the page, with nothing of the photo's metadata, and its size."""
    from reportlab.lib.utils import ImageReader

    image = load_picture(content, max_side_px=_PICTURE_PX)
    image.info.clear()  # Pillow writes a comment that it read
    stream = BytesIO()
    image.save(stream, "JPEG", quality=88)
    stream.seek(0)
    return ImageReader(stream), image.size
