"""Sheet: every head of a model as a small map, on one page and one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from lookbehind.atlas import ink
from lookbehind.atlas.palette import INK, PAPER, RULE, SOFT_INK
from lookbehind.atlas.plate import Plate, lengths
from lookbehind.atlas.scale import Scale
from lookbehind.errors import InputError

_SIDE = 200
_TITLE, _TEXT, _SMALL = 36, 22, 17
_MARGIN, _GAP = 56, 26
_MOST_PIXELS = 120_000_000
_ACROSS = 16  # maps side by side on a page that would be wider than twice its height


def draw(
    rows: Sequence[Sequence[Plate]],
    title: str,
    captions: Mapping[tuple[int, int], str] | None = None,
) -> Image.Image:
    """A contact sheet: a row per layer, a column per head; many heads of few layers take several lines.

    Args:
        rows: plates, by layer and head.
        title: the first line.
        captions: a word under a head, by (layer, head).
    """
    scale = Scale(1e-4, 1.0)  # of all maps, so that they can be compared
    captions = captions or {}
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise InputError(
            "contact sheet: there is no head to draw; the tape has no layer with softmax attention"
        )
    names = [_layer_words(index, row[0].spans.describe()) for index, row in enumerate(rows)]
    across = _across(len(rows), columns)
    lines = -(-columns // across)  # of maps, a layer
    left = _MARGIN + max(ink.width(line, _SMALL + 3) for name in names for line in name) + _GAP
    top = _MARGIN + _TITLE + _TEXT + 20 + 2 * _TEXT + 20
    # Heads are numbered once, above their columns; where a layer has several lines, above each map.
    above = 0 if lines == 1 else _TEXT + 8
    step_x, step_y = _SIDE + _GAP, above + _SIDE + _SMALL + 8 + _GAP
    first = rows[0][0]
    reading = f"{lengths(first.spans)}; {first.reading()}"
    wide = max(
        left + across * step_x - _GAP,
        _MARGIN + ink.width(title, _TITLE),
        _MARGIN + ink.width(reading, _TEXT),
        left + ink.legend_width(_TEXT - 2, 480),
        900,
    )
    foot = top + len(rows) * lines * step_y + 10
    size = (wide + _MARGIN, foot + 5 * _TEXT + 20 + _MARGIN)
    if size[0] * size[1] > _MOST_PIXELS:
        raise InputError(
            f"contact sheet: {len(rows)} layers of {columns} heads would be {size[0]:,} x {size[1]:,} "
            "pixels; export single heads with --layer and --head"
        )
    image = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(image)
    ink.write(image, (_MARGIN, _MARGIN), title, _TITLE)
    ink.write(image, (_MARGIN, _MARGIN + _TITLE + 20), reading, _TEXT, SOFT_INK)

    def heading(head: int, x: int, y: int) -> None:
        ink.write(image, (x + _SIDE // 2, y - 12), f"head {head}", _TEXT, INK, "md")

    for head in range(columns if lines == 1 else 0):
        heading(head, left + head * step_x, top)
    for layer, row in enumerate(rows):
        first_line = top + layer * lines * step_y
        for number, line in enumerate(names[layer]):
            size_here, colour = (_TEXT, INK) if number == 0 else (_SMALL + 3, SOFT_INK)
            ink.write(image, (_MARGIN, first_line + above + number * (_TEXT + 6)), line, size_here, colour)
        for head, plate in enumerate(row):
            x, y = left + head % across * step_x, first_line + above + head // across * step_y
            if lines > 1:
                heading(head, x, y)
            small = _small(plate, scale)
            image.paste(small, (x, y))
            pen.rectangle([x - 1, y - 1, x + small.width, y + small.height], outline=RULE)
            caption = captions.get((layer, head))
            if caption:
                ink.write(image, (x, y + _SIDE + 6), caption, _SMALL, INK)
    ink.legend(image, (left, foot), scale, _TEXT - 2, 480)
    ink.write(
        image, (left, foot + 3 * _TEXT + 4), "weight, log scale, the same for all maps", _TEXT - 2, SOFT_INK
    )
    if first.source:
        source = f"lookbehind  ·  {ink.visible(first.source, 60)}"
        ink.write(image, (image.width - _MARGIN, image.height - _MARGIN), source, 18, SOFT_INK, "rd")
    return image


def _across(layers: int, heads: int) -> int:
    """How many of a layer's maps are side by side, in lines as even as can be."""
    lines = 1
    while -(-heads // lines) > max(_ACROSS, 2 * layers * lines):
        lines += 1
    return -(-heads // lines)


def _layer_words(layer: int, pattern: str) -> tuple[str, ...]:
    """ "layer 3" and its pattern, broken before each operator so that the margin stays narrow."""
    return (f"layer {layer}", *pattern.replace(" & ", "\n& ").replace(" | ", "\n| ").split("\n"))


def _small(plate: Plate, scale: Scale) -> Image.Image:
    """A head's map, its longer side `_SIDE`."""
    cells = ink.cells(plate.values, scale, max(1, _SIDE // max(plate.values.shape)), gap=6)
    longest = max(cells.size)
    size = max(1, cells.width * _SIDE // longest), max(1, cells.height * _SIDE // longest)
    # Small maps are brought to one size by whole factors first: enlarging must not blur cells.
    return cells.resize(size, Image.Resampling.NEAREST if cells.width < _SIDE else Image.Resampling.BOX)
