"""Residual: how far a result, averaged back to the pixels of its source, is from them. In grey levels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from wsisr.pixels import Rgb
from wsisr.tiling import Tile


class Residual:
    """Takes finished blocks, each with its input. Memory: 256 counts."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.worst = 0.0
        """Mean of the tile with the largest."""
        self.at = (0, 0)
        """Where that tile begins, x and y in px of the result."""
        self._counts = np.zeros(256, np.int64)

    @property
    def mean(self) -> float:
        return float(np.arange(256) @ self._counts / max(1, self._counts.sum()))

    @property
    def percentile(self) -> int:
        """99.9 % of the values are at most as far off."""
        return int(np.searchsorted(np.cumsum(self._counts), 0.999 * self._counts.sum()))

    def add(self, tile: Tile, low: Rgb, block: Rgb, where: npt.NDArray[np.bool_]) -> None:
        """A tile's input, (h, w, 3), its finished block, (h*scale, w*scale, 3), and which of the input counts."""
        back = np.asarray(Image.fromarray(np.ascontiguousarray(block)).reduce(self.scale))
        apart = np.abs(back.astype(np.int16) - low)[where]
        if apart.size:
            self._counts += np.bincount(apart.ravel(), minlength=256)
            if apart.mean() > self.worst:
                self.worst = float(apart.mean())
                self.at = (tile.block.left * self.scale, tile.block.top * self.scale)
