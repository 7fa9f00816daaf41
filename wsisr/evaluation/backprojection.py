"""Back-projection: what can be had without a network, and so what a network has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from wsisr.consistency import ROUNDS, Plane, back_projected, quantised, resized
from wsisr.pixels import CUBIC_REACH, Rgb, Tiles


@dataclass(frozen=True, slots=True)
class BackProjection:
    """Bicubic enlargement, made to agree with its input before it is rounded to 8 bits."""

    scale: int
    iterations: int = ROUNDS

    @property
    def name(self) -> str:
        return "back-projection"

    @property
    def hardware(self) -> str:
        return "on the CPU in fp32"

    @property
    def on_gpu(self) -> bool:
        return False

    @property
    def weights(self) -> None:
        return None

    @property
    def context(self) -> int:
        return CUBIC_REACH * (1 + self.iterations)

    @property
    def remarks(self) -> tuple[str, ...]:
        return ()

    def __call__(self, tiles: Tiles) -> Tiles:
        return np.stack([self._enlarged(tile) for tile in tiles])

    def _enlarged(self, tile: Rgb) -> Rgb:
        return quantised([self._enlarged_plane(tile[..., colour].astype(np.float32)) for colour in range(3)])

    def _enlarged_plane(self, low: Plane) -> Plane:
        """(h, w) to (h*scale, w*scale), not clipped."""
        height, width = low.shape
        high = resized(low, (height * self.scale, width * self.scale), Image.Resampling.BICUBIC)
        return back_projected(low, high, self.iterations)
