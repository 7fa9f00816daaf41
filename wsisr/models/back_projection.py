"""Back-projection: correct an enlarged image until its area mean is the input, whatever enlarged it.

In each iteration, the difference between the input and the area mean of the result is enlarged and added. The number of
iterations is fixed, so the receptive field is known and no pixel depends on how the input is cut into tiles.
Source: Irani and Peleg 1991, "Improving resolution by image registration", with Pillow's bicubic as the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import CUBIC_RADIUS, Rgb, RgbBatch
from wsisr.imaging.tiling import Tile, TileGrid, Tiling
from wsisr.models.upscaler import Upscaler, UpscalerInfo
from wsisr.parallel.threads import ThreadTeam

Plane: TypeAlias = npt.NDArray[np.float32]
"""(h, w) of one channel in grey levels, not clipped to 0 to 255."""

BACK_PROJECTION_ITERATIONS = 3

PIECE_PX = 256
"""Side of the piece that one thread corrects, in input px. It bounds memory: 30 MB at x4, whatever the tile size."""


class ConsistentUpscaler:
    """Another upscaler's pixels, corrected until their area mean is the input, apart from rounding and clipping."""

    def __init__(self, upscaler: Upscaler, iterations: int = BACK_PROJECTION_ITERATIONS) -> None:
        self.upscaler = upscaler
        self.iterations = iterations
        self._threads = ThreadTeam(16, "wsisr-consistent")

    @property
    def info(self) -> UpscalerInfo:
        """The wrapped upscaler's facts. The name says that results are corrected: no run is resumed without it."""
        info = self.upscaler.info
        return replace(info, name=f"{info.name} + back-projection", receptive_field=info.receptive_field + self._radius)

    @property
    def warnings(self) -> Sequence[str]:
        return self.upscaler.warnings

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB."""
        enlarged = self.upscaler(tiles)
        return np.stack([self._correct_image(low, high) for low, high in zip(tiles, enlarged, strict=True)])

    @property
    def _radius(self) -> int:
        return CUBIC_RADIUS * self.iterations

    def _correct_image(self, low: Rgb, high: Rgb) -> Rgb:
        """Correct a result (h*scale, w*scale, 3) of the input (h, w, 3), in pieces with their halo, on all threads."""
        result, scale = np.empty_like(high), self.upscaler.info.scale

        def correct(piece: Tile) -> None:
            low_box, high_box, core = piece.input_box, piece.input_box * scale, piece.core * scale
            corrected = back_project_image(
                low[low_box.rows, low_box.columns], high[high_box.rows, high_box.columns], self.iterations
            )
            core_inside = core.relative_to(high_box)
            result[core.rows, core.columns] = corrected[core_inside.rows, core_inside.columns]

        height, width = low.shape[:2]
        self._threads.for_each(correct, TileGrid(Size(width, height), Tiling(PIECE_PX, halo_px=self._radius)))
        return result


@dataclass(frozen=True, slots=True)
class BackProjection:
    """Bicubic enlargement with back-projection, rounded to 8 bits at the end only: a baseline without a network."""

    scale: int
    iterations: int = BACK_PROJECTION_ITERATIONS

    @property
    def info(self) -> UpscalerInfo:
        return UpscalerInfo("back-projection", self.scale, CUBIC_RADIUS * (1 + self.iterations), "on the CPU in fp32")

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        return np.stack([self._enlarge_tile(tile) for tile in tiles])

    def _enlarge_tile(self, tile: Rgb) -> Rgb:
        return round_planes([self._enlarge_plane(tile[..., colour].astype(np.float32)) for colour in range(3)])

    def _enlarge_plane(self, low: Plane) -> Plane:
        """Enlarge (h, w) to (h*scale, w*scale), not clipped."""
        height, width = low.shape
        high = resize_plane(low, (height * self.scale, width * self.scale), Image.Resampling.BICUBIC)
        return back_project_plane(low, high, self.iterations)


def back_project_image(low: Rgb, high: Rgb, iterations: int) -> Rgb:
    """Correct an enlarged image (h*scale, w*scale, 3) until its area mean is the input (h, w, 3)."""
    planes = [(low[..., channel].astype(np.float32), high[..., channel].astype(np.float32)) for channel in range(3)]
    return round_planes([back_project_plane(*pair, iterations) for pair in planes])


def back_project_plane(low: Plane, high: Plane, iterations: int) -> Plane:
    """Correct an enlarged plane (h*scale, w*scale) until its area mean is the input (h, w); it is not clipped."""
    for _ in range(iterations):
        missing = low - resize_plane(high, low.shape, Image.Resampling.BOX)
        high = high + resize_plane(missing, high.shape, Image.Resampling.BICUBIC)
    return high


def round_planes(planes: Sequence[Plane]) -> Rgb:
    """Round three planes (h, w) to an image (h, w, 3)."""
    return np.stack(planes, axis=2).round().clip(0, 255).astype(np.uint8)


def resize_plane(plane: Plane, shape: tuple[int, ...], kernel: Image.Resampling) -> Plane:
    """Resize (h, w) to `shape` in float32, rows before columns (see `wsisr.imaging.pixels.resize_image`)."""
    height, width = shape
    widened = Image.fromarray(plane).resize((width, plane.shape[0]), kernel)
    return np.asarray(widened.resize((width, height), kernel))
