"""Picture: one head's map as an image, with axes, ticks and a legend."""

from __future__ import annotations

from PIL import Image, ImageDraw

from lookbehind.atlas import ink
from lookbehind.atlas.palette import INK, PAPER, RULE, SOFT_INK
from lookbehind.atlas.plate import Plate, position_ticks
from lookbehind.atlas.scale import Scale

_SIDE = 1024  # the longer side of the map, about
_TITLE, _TEXT, _TICK = 36, 22, 20
_MARGIN = 56


def draw(plate: Plate) -> Image.Image:
    """The plate as an RGB image, made to be read at half its size on a dense display or in print."""
    scale = Scale.of(plate.values)
    rows, columns = plate.values.shape
    cell = max(1, min(_SIDE // max(rows, columns), 88))
    tick = min(_TICK, max(13, cell - 4)) if plate.ticked else _TICK
    queries = _labels(plate, plate.spans.n_queries, plate.first_query)
    keys = _labels(plate, plate.spans.n_keys, plate.first_key)

    left = _MARGIN + 2 * _TEXT + max(ink.width(text, tick) for _, text in queries) + 20
    above = max(ink.width(text, tick) for _, text in keys) if plate.ticked else tick
    top = _MARGIN + _TITLE + 2 * _TEXT + 60 + _TEXT + 16 + above + 20
    wide, tall = columns * cell, rows * cell
    words = max(
        ink.width(plate.title, _TITLE),
        ink.width(plate.facts(), _TEXT),
        ink.width(plate.reading(), _TEXT),
        760,
    )
    legend = ink.legend_width(_TICK, 480)
    image = Image.new(
        "RGB",
        (
            max(left + wide, _MARGIN + words, left + legend) + _MARGIN,
            top + tall + 40 + 4 * _TEXT + 30 + _MARGIN,
        ),
        PAPER,
    )

    ink.write(image, (_MARGIN, _MARGIN), plate.title, _TITLE)
    line = _MARGIN + _TITLE + 20
    ink.write(image, (_MARGIN, line), plate.facts(), _TEXT, SOFT_INK)
    ink.write(image, (_MARGIN, line + _TEXT + 8), plate.reading(), _TEXT, SOFT_INK)

    image.paste(ink.cells(plate.values, scale, cell), (left, top))
    pen = ImageDraw.Draw(image)
    pen.rectangle([left - 1, top - 1, left + wide, top + tall], outline=RULE)
    _axis_across(image, pen, keys, plate, (left, top), wide, tick)
    _axis_down(image, pen, queries, plate, (left, top), tall, tick)
    ink.write(image, (left, top - above - 20 - _TEXT - 12), "key j (is read)", _TEXT, INK)
    ink.write_upright(
        image, (_MARGIN + _TEXT // 2, top + ink.width("query i (reads)", _TEXT)), "query i (reads)", _TEXT
    )

    foot = top + tall + 40
    ink.legend(image, (left, foot), scale, _TICK, 480)
    ink.write(image, (left, foot + 3 * _TICK + 10), "weight, log scale", _TICK, SOFT_INK)
    if plate.source:
        source = f"lookbehind  ·  {ink.visible(plate.source, 60)}"
        ink.write(image, (image.width - _MARGIN, image.height - _MARGIN), source, 18, SOFT_INK, "rd")
    return image


def _labels(plate: Plate, length: int, first: int) -> list[tuple[int, str]]:
    """What stands beside an axis: (place, text). Few tokens are all named, with their position."""
    if not plate.ticked:
        return [(place, f"{place + first:,}") for place in position_ticks(length, first)]
    named = [(place, plate.token(place + first)) for place in range(length)]
    return [
        (place, f"{place + first}" if text is None else f"{ink.visible(text)}  {place + first}")
        for place, text in named
    ]


def _centre(index: int, length: int, pixels: int) -> int:
    """The pixel in the middle of a position."""
    return round((index + 0.5) * pixels / length)


def _axis_across(
    image: Image.Image,
    pen: ImageDraw.ImageDraw,
    labels: list[tuple[int, str]],
    plate: Plate,
    corner: tuple[int, int],
    wide: int,
    tick: int,
) -> None:
    left, top = corner
    for index, text in labels:
        x = left + _centre(index, plate.spans.n_keys, wide)
        pen.line([(x, top - 8), (x, top - 2)], fill=SOFT_INK)
        if plate.ticked:
            # Upright words begin at the axis, so the position stands next to its column.
            shown = "  ".join(reversed(text.rsplit("  ", 1)))
            ink.write_upright(image, (x, top - 12), shown, tick)
        else:
            ink.write(image, (x, top - 12), text, tick, SOFT_INK, "md")


def _axis_down(
    image: Image.Image,
    pen: ImageDraw.ImageDraw,
    labels: list[tuple[int, str]],
    plate: Plate,
    corner: tuple[int, int],
    tall: int,
    tick: int,
) -> None:
    left, top = corner
    for index, text in labels:
        y = top + _centre(index, plate.spans.n_queries, tall)
        pen.line([(left - 8, y), (left - 2, y)], fill=SOFT_INK)
        ink.write(image, (left - 14, y), text, tick, INK if plate.ticked else SOFT_INK, "rm")
