"""Seams: whether a result is rougher across the borders of tiles than elsewhere.

The gradient across a border is compared with that across parallel lines 16 and 32 px of the input away, where the
phase of an enlargement and the grid of a JPEG are the same. 1 is no seam at all. Where one side of a border was made
white and the other was not, there is nothing to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb
from wsisr.imaging.tiling import Tile
from wsisr.tissue.map import BoolMask

REFERENCE_DISTANCES = (16, 32)
"""Px of the input between a border and the lines it is compared with, on both sides."""

GRADIENT_FLOOR = 0.25
"""Grey levels added to both gradients: on flat ground, a ratio of two gradients near 0 means nothing."""

MeanGradients: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class TileBorder:
    """One border of a block, cut into cells."""

    line: Rgb
    """(n, 3): the pixels along the border."""
    roughness: MeanGradients
    """(lines, cells): mean gradients across the reference lines within the block, in grey levels."""
    shows_source: BoolMask
    """(cells,): where the scanned specimen is shown, not white."""

    @classmethod
    def measure(cls, lines: Rgb, shows_source: BoolMask, cell_px: int, scale: int) -> TileBorder:
        """Measure a border on the lines of its block, (m, n, 3), ordered away from the border."""
        distances = [distance * scale for distance in REFERENCE_DISTANCES if distance * scale < len(lines)]
        cells = len(shows_source)
        roughness = [_cell_means(_mean_difference(lines[at], lines[at - 1]), cells, cell_px) for at in distances]
        return cls(lines[0].copy(), np.array(roughness).reshape(len(distances), cells), shows_source)


class TileBorders(NamedTuple):
    """All four borders of a block."""

    left: TileBorder
    top: TileBorder
    right: TileBorder
    bottom: TileBorder

    @classmethod
    def measure(cls, block: Rgb, shows_source: BoolMask, cell_px: int, scale: int) -> TileBorders:
        """Measure the borders of a finished block, (h, w, 3), with flags for its cells, (rows, columns)."""
        columns = block.swapaxes(0, 1)
        return cls(
            TileBorder.measure(columns, shows_source[:, 0], cell_px, scale),
            TileBorder.measure(block, shows_source[0], cell_px, scale),
            TileBorder.measure(columns[::-1], shows_source[:, -1], cell_px, scale),
            TileBorder.measure(block[::-1], shows_source[-1], cell_px, scale),
        )


class SeamStatistics:
    """Compares the borders of finished blocks, row by row. Memory: a line of pixels as wide as the result."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.borders = 0
        self.worst = 0.0
        """Ratio at the roughest border between two tiles; a structure of the specimen along a border is rough, too."""
        self.worst_at = (0, 0)
        """Where that border begins, x and y in px of the result."""
        self._across = self._elsewhere = 0.0
        self._left: tuple[Tile, TileBorder] | None = None
        self._above: dict[int, tuple[Tile, TileBorder]] = {}

    @property
    def mean(self) -> float:
        """Ratio over all borders; 1 where there is none."""
        return (self._across + GRADIENT_FLOOR) / (self._elsewhere + GRADIENT_FLOOR) if self.borders else 1.0

    def add(self, tile: Tile, borders: TileBorders, cell_px: int) -> None:
        """Add a tile's block, in cells of `cell_px` px of the result."""
        left, above = self._left, self._above.get(tile.column)
        corner = tile.core * self.scale
        if left and (left[0].row, left[0].column) == (tile.row, tile.column - 1):
            self._compare_borders(left[1], borders.left, cell_px, (corner.left, corner.top))
        if above and above[0].row == tile.row - 1:
            self._compare_borders(above[1], borders.top, cell_px, (corner.left, corner.top))
        self._left = tile, borders.right
        self._above[tile.column] = tile, borders.bottom

    def _compare_borders(self, one: TileBorder, other: TileBorder, cell_px: int, position: tuple[int, int]) -> None:
        comparable, roughness = one.shows_source == other.shows_source, np.concatenate([one.roughness, other.roughness])
        if not len(roughness) or not comparable.any():
            return
        cells = len(comparable)
        weights = comparable * np.minimum(cell_px, len(one.line) - cell_px * np.arange(cells))
        across = float(np.average(_cell_means(_mean_difference(one.line, other.line), cells, cell_px), weights=weights))
        elsewhere = float(np.average(roughness.mean(axis=0), weights=weights))
        self.borders += 1
        self._across += (across - self._across) / self.borders
        self._elsewhere += (elsewhere - self._elsewhere) / self.borders
        ratio = (across + GRADIENT_FLOOR) / (elsewhere + GRADIENT_FLOOR)
        if ratio > self.worst:
            self.worst, self.worst_at = ratio, position


def _mean_difference(one: Rgb, other: Rgb) -> MeanGradients:
    """(n, 3) and (n, 3) to (n,): mean difference of a pixel, in grey levels."""
    means: MeanGradients = np.abs(one.astype(np.int16) - other).mean(axis=1)
    return means


def _cell_means(values: MeanGradients, cells: int, cell_px: int) -> MeanGradients:
    """(n,) to (cells,): means over the pixels of each cell; the last may have fewer."""
    return np.array([values[cell * cell_px : (cell + 1) * cell_px].mean() for cell in range(cells)])
