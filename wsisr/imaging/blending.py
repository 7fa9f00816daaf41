"""Joining enlarged tiles without a seam, as a stream.

Along one axis, tile i weighs ramp(i) - ramp(i+1), where ramp(i) rises from 0 to 1 across the feather at the start of
block i, and ramp(0) is 1 everywhere. Over all tiles the sum telescopes to 1, so nothing is ever normalised; and a
block is complete as soon as its own tile is there, because only tiles before it reach into it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.tiling import Tile, TileGrid


class Blender:
    """Takes enlarged windows in the grid's order and gives finished blocks.

    Where tiles are left out, blocks to the right of them and below are not finished.
    Memory: one strip as wide as the enlarged image and as high as the enlarged feather, kept in 8 bits; none of it
    where the tiling does not feather.
    """

    def __init__(self, grid: TileGrid, scale: int) -> None:
        self.scale = scale
        self.feather = grid.tiling.feather * scale
        self._above = np.empty((self.feather, grid.image.width * scale, 3), np.uint8)
        self._left = np.empty((0, 0, 3), np.uint8)
        self._last = -1, -1
        self._ramp = ((np.arange(self.feather) + 0.5) / max(1, self.feather)).astype(np.float32)

    def add(self, tile: Tile, enlarged: Rgb) -> tuple[Box, Rgb]:
        """An enlarged window, (h*scale, w*scale, 3), to the box in enlarged px that it completes and its pixels."""
        part = tile.reach.seen_from(tile.window) * self.scale
        pixels, box = enlarged[part.rows, part.columns], tile.block * self.scale
        if not self.feather:
            return box, pixels
        pixels = pixels.copy()
        if self._last == (tile.column - 1, tile.row):
            _fade(self._left, pixels.swapaxes(0, 1), self._ramp)
        self._last = tile.column, tile.row
        self._left = pixels[:, box.width :].swapaxes(0, 1).copy()
        if tile.row:
            _fade(self._above[:, box.columns], pixels[:, : box.width], self._ramp)
        self._above[: pixels.shape[0] - box.height, box.columns] = pixels[box.height :, : box.width]
        return box, pixels[: box.height, : box.width]


def _fade(before: Rgb, after: Rgb, ramp: npt.NDArray[np.float32]) -> None:
    """Blends the first rows of `after`, in place, from `before` at ramp 0 to `after` at ramp 1."""
    rows = min(len(before), len(after))  # fewer than the feather where the image ends
    weight = ramp[:rows, None, None]
    after[:rows] = np.round(before[:rows] * (1 - weight) + after[:rows] * weight).astype(np.uint8)
