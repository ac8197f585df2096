"""Ink: type, hatching and the ramp, put on a Pillow image.

Pillow's own scalable font draws the words, so a picture looks the same on every machine. It knows ASCII and
little more: other characters are written as their escape, never as an empty box.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lookbehind.atlas.palette import HATCH, INK, PAPER, SOFT_INK, Rgb, ramp
from lookbehind.atlas.scale import Scale, tick_text

_NEVER = "never computed"
_KNOWN = frozenset("·…“”’")


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The one typeface, at a size in pixels."""
    found = ImageFont.load_default(size=size)
    assert isinstance(
        found, ImageFont.FreeTypeFont
    )  # Pillow gives a bitmap font only when built without FreeType
    return found


def visible(token: str, most: int = 14) -> str:
    """A token as text that shows its blanks and has no character that the font lacks."""
    shown = token.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r").replace(" ", "·")
    shown = "".join(c if " " <= c <= "~" or c in _KNOWN else f"\\u{ord(c):04x}" for c in shown)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def width(text: str, size: int) -> int:
    """How wide a line of text is, in pixels."""
    return int(font(size).getlength(text) + 0.999)


def write(
    image: Image.Image, at: tuple[int, int], text: str, size: int, fill: Rgb = INK, anchor: str = "la"
) -> None:
    """A line of text; `anchor` as in Pillow ("la": left, ascender)."""
    ImageDraw.Draw(image).text(at, text, font=font(size), fill=fill, anchor=anchor)


def write_upright(image: Image.Image, at: tuple[int, int], text: str, size: int, fill: Rgb = INK) -> None:
    """A line that reads from bottom to top; `at` is the middle of its foot (where it begins)."""
    room = Image.new("L", (width(text, size) + 2, size + size // 2), 0)
    ImageDraw.Draw(room).text((0, room.height // 2), text, font=font(size), fill=255, anchor="lm")
    turned = room.rotate(90, expand=True)
    image.paste(
        Image.new("RGB", turned.size, fill), (at[0] - turned.width // 2, at[1] - turned.height), turned
    )


def hatch(width: int, height: int, gap: int = 8) -> Image.Image:
    """Paper with fine diagonal lines: what was never computed."""
    y, x = np.mgrid[0:height, 0:width]
    lines = (x + y) % gap < max(1, gap // 6)
    return Image.fromarray(np.array([PAPER, HATCH], dtype=np.uint8)[lines.astype(np.intp)])


def cells(values: NDArray[np.float32], scale: Scale, cell: int, gap: int = 8) -> Image.Image:
    """A map with square cells of `cell` pixels; NaN is hatched."""
    place = scale.place(values)
    void = np.isnan(place)
    colours = ramp()[np.where(void, 0, place * 255).round().astype(np.intp)]
    tall, wide = values.shape[0] * cell, values.shape[1] * cell
    picture = Image.fromarray(colours).resize((wide, tall), Image.Resampling.NEAREST)
    if void.any():
        mask = Image.fromarray(void.astype(np.uint8) * 255).resize((wide, tall), Image.Resampling.NEAREST)
        picture.paste(hatch(wide, tall, gap), (0, 0), mask)
    return picture


def legend(image: Image.Image, at: tuple[int, int], scale: Scale, size: int, length: int) -> None:
    """The ramp with its ticks, `length` pixels wide, and beside it a hatched swatch: `3 * size` high."""
    x, y = at
    swatch = size + size // 4
    bar = Image.fromarray(ramp(256)[None].repeat(swatch, axis=0)).resize(
        (length, swatch), Image.Resampling.BILINEAR
    )
    image.paste(bar, (x, y))
    ink = ImageDraw.Draw(image)
    ticks = scale.ticks()
    places = scale.place(np.array(ticks, dtype=np.float32))
    free = x  # where the next number may begin
    for value, place in zip(ticks, places, strict=True):
        tick = x + round(float(place) * (length - 1))
        ink.line(
            [(tick, y + swatch), (tick, y + swatch + size // 4)], fill=SOFT_INK, width=max(1, size // 12)
        )
        text = f"<= {tick_text(value)}" if value == scale.low else tick_text(value)
        if value == scale.low:
            anchor, begin = "la", tick
        elif value == scale.high:
            anchor, begin = "ra", tick - width(text, size)
        else:
            anchor, begin = "ma", tick - width(text, size) // 2
        if begin < free:
            continue
        free = begin + width(text, size) + size // 2
        write(image, (tick, y + swatch + size // 3), text, size, SOFT_INK, anchor)
    right = x + length + 2 * size
    image.paste(hatch(2 * swatch, swatch, max(6, size // 3)), (right, y))
    ink.rectangle([right, y, right + 2 * swatch - 1, y + swatch - 1], outline=HATCH)
    write(image, (right + 2 * swatch + size // 2, y + swatch // 2), _NEVER, size, INK, "lm")


def legend_width(size: int, length: int) -> int:
    """How wide a legend is, its swatch included."""
    return length + 2 * size + 2 * (size + size // 4) + size // 2 + width(_NEVER, size)
