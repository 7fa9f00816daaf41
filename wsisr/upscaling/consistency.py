"""Consistency error: how far a result, averaged back to the pixels of its input, is from them. In grey levels."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb, average_blocks
from wsisr.imaging.tiling import Tile
from wsisr.tissue.map import BoolMask

ErrorCounts: TypeAlias = npt.NDArray[np.int64]
"""(256,): how many values are that many grey levels off."""

ROWS_PER_HISTOGRAM = 256
"""Rows of a tile that are counted at a time: OpenCV's counts are float32, exact up to 2**24."""


WORST_TILES = 3
"""Tiles of the largest error that are kept, for people to look at."""


class TileError(NamedTuple):
    """The mean consistency error of a tile, and where it begins: x and y in px of the result."""

    error: float
    at: tuple[int, int]


class ConsistencyStatistics:
    """Sums up the consistency errors of finished blocks. Memory: 256 counts."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.worst_tiles: list[TileError] = []
        """The tiles of the largest mean error, the worst first, without those that agree wholly with their input."""
        self._counts: ErrorCounts = np.zeros(256, np.int64)

    @property
    def worst(self) -> float:
        """Mean error of the tile where it is largest."""
        return self.worst_tiles[0].error if self.worst_tiles else 0.0

    @property
    def worst_at(self) -> tuple[int, int]:
        """Where that tile begins, x and y in px of the result."""
        return self.worst_tiles[0].at if self.worst_tiles else (0, 0)

    @property
    def mean(self) -> float:
        return _mean_error(self._counts)

    @property
    def percentile_99_9(self) -> int:
        """The error that 99.9 % of the values do not exceed."""
        return int(np.searchsorted(np.cumsum(self._counts), 0.999 * self._counts.sum()))

    def add(self, tile: Tile, counts: ErrorCounts) -> None:
        """Add the errors of a tile, as `count_consistency_errors` returns them."""
        if not counts.any():
            return
        self._counts += counts
        mean = _mean_error(counts)
        if mean > 0:
            tiles = [*self.worst_tiles, TileError(mean, (tile.core.left * self.scale, tile.core.top * self.scale))]
            self.worst_tiles = sorted(tiles, key=lambda each: -each.error)[:WORST_TILES]


def count_consistency_errors(low: Rgb, block: Rgb, comparable: BoolMask) -> ErrorCounts:
    """Count input values by how many grey levels, 0 to 255, the area mean of the finished block differs from them.

    The input is (h, w, 3), the block (h*scale, w*scale, 3); only pixels where `comparable`, (h, w), is true count.
    """
    height = low.shape[0]
    errors = cv2.absdiff(average_blocks(block, block.shape[0] // height), low).reshape(height, -1)
    mask = None if comparable.all() else comparable.repeat(3, axis=1).astype(np.uint8)
    counts = np.zeros(256, np.int64)
    for start in range(0, height, ROWS_PER_HISTOGRAM):
        rows = np.s_[start : start + ROWS_PER_HISTOGRAM]
        histogram = cv2.calcHist([errors[rows]], [0], None if mask is None else mask[rows], [256], (0, 256))
        counts += histogram.ravel().astype(np.int64)
    return counts


def _mean_error(counts: ErrorCounts) -> float:
    return float(np.arange(256) @ counts / max(1, counts.sum()))
