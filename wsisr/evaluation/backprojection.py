"""Back-projection: what can be had without a network, and so what a network has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from wsisr.metrics import Floats
from wsisr.pixels import Rgb, Tiles

_BICUBIC_REACH = 2
"""Input pixels on each side that Pillow's bicubic enlargement of a pixel depends on."""


@dataclass(frozen=True, slots=True)
class BackProjection:
    """Bicubic enlargement, made to agree with its input: a few times, what the area mean misses is enlarged and added.

    Source: Irani and Peleg 1991, "Improving resolution by image registration", with Pillow's bicubic as the kernel.
    """

    scale: int
    iterations: int = 3

    @property
    def name(self) -> str:
        return "back-projection"

    @property
    def hardware(self) -> str:
        return "on the CPU in fp32"

    @property
    def weights(self) -> None:
        return None

    @property
    def context(self) -> int:
        return _BICUBIC_REACH * (1 + self.iterations)

    @property
    def remarks(self) -> tuple[str, ...]:
        return ()

    def __call__(self, tiles: Tiles) -> Tiles:
        return np.stack([self._enlarged(tile) for tile in tiles])

    def _enlarged(self, tile: Rgb) -> Rgb:
        planes = [self._enlarged_plane(tile[..., colour].astype(np.float32)) for colour in range(3)]
        return np.stack(planes, axis=2).round().clip(0, 255).astype(np.uint8)

    def _enlarged_plane(self, low: Floats) -> Floats:
        """(h, w) to (h*scale, w*scale), not clipped."""
        height, width = low.shape
        large = (width * self.scale, height * self.scale)
        high = _resized(low, large, Image.Resampling.BICUBIC)
        for _ in range(self.iterations):
            missing = low - _resized(high, (width, height), Image.Resampling.BOX)
            high = high + _resized(missing, large, Image.Resampling.BICUBIC)
        return high


def _resized(plane: Floats, size: tuple[int, int], kernel: Image.Resampling) -> Floats:
    """(h, w) to (height, width) for a size of (width, height), in float32 throughout, rows before columns."""
    width, height = size
    rows = Image.fromarray(plane).resize((width, plane.shape[0]), kernel)
    return np.asarray(rows.resize((width, height), kernel))
