"""Geometry: levels, pixels and tiles of a map too large to hold, and their names.

At level z one pixel pools 2**z x 2**z cells, aligned to multiples of 2**z; a tile is 256 x 256 pixels. Tile
(z, y, x) lies under (z + 1, y // 2, x // 2). The top level is the least at which one tile covers everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lookbehind.errors import InputError

TILE = 256
THUMB = 128
_NAME = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,3})\.(\d{1,9})\.(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class TileName:
    """Which tile of which head: `layer.head.z.y.x` in an address."""

    layer: int
    head: int
    z: int
    y: int
    x: int

    @classmethod
    def parse(cls, text: str) -> TileName:
        """The tile of an address.

        Raises:
            InputError: the text is no name of a tile.
        """
        found = _NAME.fullmatch(text)
        if found is None:
            raise InputError(f"tile {text[:40]!r}: a name is layer.head.level.row.column, as in 0.3.2.1.1")
        return cls(*map(int, found.groups()))


@dataclass(frozen=True)
class Geometry:
    """The levels of an n_queries x n_keys map."""

    n_queries: int
    n_keys: int

    @property
    def top(self) -> int:
        """The least level at which one tile covers the map."""
        return self.level_of(TILE)

    def level_of(self, pixels: int) -> int:
        """The least level at which the map is at most so many pixels a side."""
        return (max(-(-max(self.n_queries, self.n_keys) // pixels), 1) - 1).bit_length()

    def shape(self, z: int) -> tuple[int, int]:
        """(rows, columns) of pixels at a level."""
        return -(-self.n_queries // (1 << z)), -(-self.n_keys // (1 << z))

    def tiles(self, z: int) -> tuple[int, int]:
        """(rows, columns) of tiles at a level."""
        rows, columns = self.shape(z)
        return -(-rows // TILE), -(-columns // TILE)

    def place(self, z: int, y: int, x: int) -> tuple[slice, slice]:
        """The query rows and keys of a tile, cut at the edge.

        Raises:
            InputError: there is no such tile.
        """
        rows, columns = self.tiles(z) if z <= self.top else (0, 0)
        if not (0 <= y < rows and 0 <= x < columns):
            raise InputError(
                f"tile {z}.{y}.{x}: level {z} has {rows} x {columns} tiles; the top level is {self.top}"
            )
        side = TILE << z
        return (
            slice(y * side, min((y + 1) * side, self.n_queries)),
            slice(x * side, min((x + 1) * side, self.n_keys)),
        )
