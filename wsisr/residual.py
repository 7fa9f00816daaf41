"""Residual: how far a result, averaged back to the pixels of its source, is from them. In grey levels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from wsisr.pixels import Rgb
from wsisr.tiling import Tile

Counts = npt.NDArray[np.int64]
"""(256,): how many values are that many grey levels off."""


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
    back = Image.fromarray(np.ascontiguousarray(block)).reduce(block.shape[0] // low.shape[0])
    off = ImageChops.difference(back, Image.fromarray(np.ascontiguousarray(low)))
    by_colour = off.histogram(Image.fromarray(where.astype(np.uint8)))
    counts: Counts = np.array(by_colour, np.int64).reshape(3, 256).sum(axis=0)
    return counts


def _mean(counts: Counts) -> float:
    return float(np.arange(256) @ counts / max(1, counts.sum()))
