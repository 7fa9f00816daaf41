"""Seams: whether a result is rougher across the borders of tiles than elsewhere.

The gradient across a border is compared with that across parallel lines 16 and 32 px of the source away, where the
phase of an enlargement and the grid of a JPEG are the same. 1 is no seam at all. Where one side of a border was painted
white and the other was not, there is nothing to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb
from wsisr.imaging.tiling import Tile

REFERENCES = (16, 32)
"""Px of the source between a border and the lines it is compared with, on both sides."""

FLOOR = 0.25
"""Grey levels added to both gradients: on flat ground, a ratio of next to nothing says nothing."""

Means = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Side:
    """What a block shows of one of its borders, which is cut into cells."""

    line: Rgb
    """(n, 3): the pixels along the border."""
    rough: Means
    """(lines, cells): mean gradients across the parallel lines within the block, in grey levels."""
    kept: Flags
    """(cells,): where nothing was painted."""

    @classmethod
    def of(cls, lines: Rgb, kept: Flags, cell_px: int, scale: int) -> Side:
        """Of a block's lines, (m, n, 3), in their order away from the border."""
        places = [distance * scale for distance in REFERENCES if distance * scale < len(lines)]
        rough = [_per_cell(_apart(lines[at], lines[at - 1]), len(kept), cell_px) for at in places]
        return cls(lines[0].copy(), np.array(rough).reshape(len(places), len(kept)), kept)


class Sides(NamedTuple):
    """All four borders of a block."""

    left: Side
    top: Side
    right: Side
    bottom: Side

    @classmethod
    def of(cls, block: Rgb, kept: Flags, cell_px: int, scale: int) -> Sides:
        """Of a finished block, (h, w, 3), in cells, (rows, columns), of which some were kept."""
        turned = block.swapaxes(0, 1)
        return cls(
            Side.of(turned, kept[:, 0], cell_px, scale),
            Side.of(block, kept[0], cell_px, scale),
            Side.of(turned[::-1], kept[:, -1], cell_px, scale),
            Side.of(block[::-1], kept[-1], cell_px, scale),
        )


class Seams:
    """Takes the sides of finished blocks row by row. Memory: a line of pixels as wide as the result."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.borders = 0
        self.worst = 0.0
        """Ratio at the roughest piece of border between two tiles; a structure along a border is rough, too."""
        self.at = (0, 0)
        """Where that piece begins, x and y in px of the result."""
        self._across = self._elsewhere = 0.0
        self._left: tuple[Tile, Side] | None = None
        self._above: dict[int, tuple[Tile, Side]] = {}

    @property
    def mean(self) -> float:
        """Ratio over all borders; 1 where there is none."""
        return (self._across + FLOOR) / (self._elsewhere + FLOOR) if self.borders else 1.0

    def add(self, tile: Tile, sides: Sides, cell_px: int) -> None:
        """A tile's block, in cells of so many px of the result."""
        before, above = self._left, self._above.get(tile.column)
        corner = tile.block * self.scale
        if before and (before[0].row, before[0].column) == (tile.row, tile.column - 1):
            self._compare(before[1], sides.left, cell_px, (corner.left, corner.top))
        if above and above[0].row == tile.row - 1:
            self._compare(above[1], sides.top, cell_px, (corner.left, corner.top))
        self._left = tile, sides.right
        self._above[tile.column] = tile, sides.bottom

    def _compare(self, one: Side, other: Side, cell_px: int, place: tuple[int, int]) -> None:
        alike, references = one.kept == other.kept, np.concatenate([one.rough, other.rough])
        if not len(references) or not alike.any():
            return
        cells = len(alike)
        weights = alike * np.minimum(cell_px, len(one.line) - cell_px * np.arange(cells))
        across = float(np.average(_per_cell(_apart(one.line, other.line), cells, cell_px), weights=weights))
        elsewhere = float(np.average(references.mean(axis=0), weights=weights))
        self.borders += 1
        self._across += (across - self._across) / self.borders
        self._elsewhere += (elsewhere - self._elsewhere) / self.borders
        ratio = (across + FLOOR) / (elsewhere + FLOOR)
        if ratio > self.worst:
            self.worst, self.at = ratio, place


def _apart(one: Rgb, other: Rgb) -> Means:
    """(n, 3) and (n, 3) to (n,): mean difference of a pixel, in grey levels."""
    means: Means = np.abs(one.astype(np.int16) - other).mean(axis=1)
    return means


def _per_cell(values: Means, cells: int, cell_px: int) -> Means:
    """(n,) to (cells,): means over the pixels of each cell; the last may have fewer."""
    return np.array([values[cell * cell_px : (cell + 1) * cell_px].mean() for cell in range(cells)])
