"""Blends enlarged tiles without a seam, as a stream.

Along one axis, tile i has the weight ramp(i) - ramp(i+1), where ramp(i) rises from 0 to 1 across the feather at the
start of core i, and ramp(0) is 1 everywhere. Over all tiles the weights telescope to 1, so nothing is ever normalised;
and a core is complete as soon as its own tile has been blended, because only earlier tiles overlap it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.tiling import Tile, TileGrid


class Blender:
    """Takes enlarged tiles in the order of the grid and returns finished cores.

    If tiles are skipped, the cores to the right of them and below are not finished.
    Memory: one 8-bit strip as wide as the enlarged image and as high as the enlarged feather; nothing without feather.
    """

    def __init__(self, grid: TileGrid, scale: int) -> None:
        self.scale = scale
        self.feather_px = grid.tiling.feather_px * scale
        self._above = np.empty((self.feather_px, grid.image.width * scale, 3), np.uint8)
        self._left = np.empty((0, 0, 3), np.uint8)
        self._last = -1, -1
        self._ramp = ((np.arange(self.feather_px) + 0.5) / max(1, self.feather_px)).astype(np.float32)

    def blend_tile(self, tile: Tile, enlarged: Rgb) -> tuple[Box, Rgb]:
        """Blend one enlarged input box, (h*scale, w*scale, 3), with its neighbours.

        Returns the enlarged core, as a box in enlarged px, and its pixels.
        """
        part = tile.blend_box.relative_to(tile.input_box) * self.scale
        pixels, box = enlarged[part.rows, part.columns], tile.core * self.scale
        if not self.feather_px:
            return box, pixels
        pixels = pixels.copy()  # the tile belongs to the caller
        if self._last == (tile.column - 1, tile.row):
            _fade_into(self._left, pixels.swapaxes(0, 1), self._ramp)
        self._last = tile.column, tile.row
        self._left = pixels[:, box.width :].swapaxes(0, 1).copy()
        if tile.row:
            _fade_into(self._above[:, box.columns], pixels[:, : box.width], self._ramp)
        # This row has used its part of the strip, which from here on serves the next row.
        self._above[: pixels.shape[0] - box.height, box.columns] = pixels[box.height :, : box.width]
        return box, pixels[: box.height, : box.width]


def _fade_into(before: Rgb, after: Rgb, ramp: npt.NDArray[np.float32]) -> None:
    """Blend the first rows of `after`, in place: they are `before` where the ramp is 0 and `after` where it is 1."""
    rows = min(len(before), len(after))  # at the image's end there are fewer than the feather has
    weight = ramp[:rows, None, None]
    after[:rows] = np.round(before[:rows] * (1 - weight) + after[:rows] * weight).astype(np.uint8)
