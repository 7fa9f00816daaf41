"""Seams: whether a result is rougher across the borders of tiles than elsewhere.

The gradient across a border is compared with that across parallel lines 16 and 32 px of the source away, where the
phase of an enlargement and the grid of a JPEG are the same. 1 is no seam at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsisr.pixels import Rgb
from wsisr.tiling import Tile

REFERENCES = (16, 32)
"""Px of the source between a border and the lines it is compared with, on both sides."""

FLOOR = 0.25
"""Grey levels added to both gradients: on flat ground, a ratio of next to nothing says nothing."""


@dataclass(frozen=True, slots=True)
class Side:
    """What a block shows of one of its borders."""

    row: int
    column: int
    line: Rgb
    """(n, 3): the pixels along the border."""
    references: tuple[float, ...]
    """Mean gradients across the parallel lines within the block, in grey levels."""


class Seams:
    """Takes finished blocks row by row. Memory: a line of pixels as wide as the result."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.borders = 0
        self.worst = 0.0
        """Ratio at the roughest piece of border between two tiles; a structure along a border is rough, too."""
        self.at = (0, 0)
        """Where that piece begins, x and y in px of the result."""
        self._across = self._elsewhere = 0.0
        self._left: Side | None = None
        self._above: dict[int, Side] = {}

    @property
    def mean(self) -> float:
        """Ratio over all borders; 1 where there is none."""
        return (self._across + FLOOR) / (self._elsewhere + FLOOR) if self.borders else 1.0

    def add(self, tile: Tile, block: Rgb) -> None:
        """A tile's finished block, (h, w, 3)."""
        turned = block.swapaxes(0, 1)
        before, above = self._left, self._above.get(tile.column)
        corner = tile.block * self.scale
        if before and (before.row, before.column) == (tile.row, tile.column - 1):
            self._compare(before, self._side(tile, turned), (corner.left, corner.top))
        if above and above.row == tile.row - 1:
            self._compare(above, self._side(tile, block), (corner.left, corner.top))
        self._left = self._side(tile, turned[::-1])
        self._above[tile.column] = self._side(tile, block[::-1])

    def _side(self, tile: Tile, lines: Rgb) -> Side:
        """Lines in their order away from the border."""
        places = [distance * self.scale for distance in REFERENCES if distance * self.scale < len(lines)]
        return Side(tile.row, tile.column, lines[0].copy(), tuple(_apart(lines[at], lines[at - 1]) for at in places))

    def _compare(self, one: Side, other: Side, place: tuple[int, int]) -> None:
        references = one.references + other.references
        if not references:
            return
        across, elsewhere = _apart(one.line, other.line), float(np.mean(references))
        self.borders += 1
        self._across += (across - self._across) / self.borders
        self._elsewhere += (elsewhere - self._elsewhere) / self.borders
        ratio = (across + FLOOR) / (elsewhere + FLOOR)
        if ratio > self.worst:
            self.worst, self.at = ratio, place


def _apart(one: Rgb, other: Rgb) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())
