"""Residual: how far a result, averaged back to the pixels of its source, is from them. In grey levels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb
from wsisr.imaging.tiling import Tile

Counts = npt.NDArray[np.int64]
"""(256,): how many values are that many grey levels off."""

ROWS = 256
"""Of a tile that are counted at a time: OpenCV's counts are exact up to 2**24."""


class Residual:
    """Takes what was counted of finished blocks. Memory: 256 counts."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.worst = 0.0
        """Mean of the tile with the largest."""
        self.at = (0, 0)
        """Where that tile begins, x and y in px of the result."""
        self._counts: Counts = np.zeros(256, np.int64)

    @property
    def mean(self) -> float:
        return _mean(self._counts)

    @property
    def percentile(self) -> int:
        """99.9 % of the values are at most as far off."""
        return int(np.searchsorted(np.cumsum(self._counts), 0.999 * self._counts.sum()))

    def add(self, tile: Tile, counts: Counts) -> None:
        """What `apart` found of a tile."""
        if not counts.any():
            return
        self._counts += counts
        mean = _mean(counts)
        if mean > self.worst:
            self.worst = mean
            self.at = (tile.block.left * self.scale, tile.block.top * self.scale)


def apart(low: Rgb, block: Rgb, where: npt.NDArray[np.bool_]) -> Counts:
    """How many values are how many grey levels off, (256,): of a tile's input, (h, w, 3), and its finished block,
    (h*scale, w*scale, 3), where the input counts."""
    height, width = low.shape[:2]
    off = cv2.absdiff(cv2.resize(block, (width, height), interpolation=cv2.INTER_AREA), low).reshape(height, -1)
    marked = None if where.all() else where.repeat(3, axis=1).astype(np.uint8)
    counts = np.zeros(256, np.int64)
    for start in range(0, height, ROWS):
        rows = np.s_[start : start + ROWS]
        mask = None if marked is None else marked[rows]
        counts += cv2.calcHist([off[rows]], [0], mask, [256], (0, 256)).ravel().astype(np.int64)
    return counts


def _mean(counts: Counts) -> float:
    return float(np.arange(256) @ counts / max(1, counts.sum()))
