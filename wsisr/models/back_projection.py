"""Consistency: a result made to agree with what it was made from, whoever made it.

A few times, what the area mean of the result misses of its input is enlarged and added. How often is fixed, so how far
it reaches is known, and no pixel depends on how the input is cut.
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
"""(h, w) of one colour in grey levels, beyond black and white where a sum goes there."""

BACK_PROJECTION_ITERATIONS = 3

PIECE_PX = 256
"""Side of a piece that one thread works on, in input px: 30 MB at x4, whatever the size of tiles."""


class ConsistentUpscaler:
    """The pixels of an upscaler, corrected so that their area mean is the input, but for rounding and clipping."""

    def __init__(self, upscaler: Upscaler, iterations: int = BACK_PROJECTION_ITERATIONS) -> None:
        self.upscaler = upscaler
        self.iterations = iterations
        self._crew = ThreadTeam(16, "wsisr-consistent")

    @property
    def info(self) -> UpscalerInfo:
        """The upscaler's, under a name of both: a resumed run tells by it whether its result was corrected."""
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
        """(h, w, 3) and (h*scale, w*scale, 3) to the latter, piece by piece, each with what it reaches for."""
        result, scale = np.empty_like(high), self.upscaler.info.scale

        def correct(piece: Tile) -> None:
            high_box, core_inside = piece.input_box * scale, piece.core.relative_to(piece.input_box) * scale
            core = piece.core * scale
            pair = low[piece.input_box.rows, piece.input_box.columns], high[high_box.rows, high_box.columns]
            result[core.rows, core.columns] = back_project_image(*pair, self.iterations)[
                core_inside.rows, core_inside.columns
            ]

        height, width = low.shape[:2]
        self._crew.for_each(correct, TileGrid(Size(width, height), Tiling(PIECE_PX, halo_px=self._radius)))
        return result


@dataclass(frozen=True, slots=True)
class BackProjection:
    """Bicubic enlargement, made to agree with its input before it is rounded to 8 bits."""

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
        """(h, w) to (h*scale, w*scale), not clipped."""
        height, width = low.shape
        high = resize_plane(low, (height * self.scale, width * self.scale), Image.Resampling.BICUBIC)
        return back_project_plane(low, high, self.iterations)


def back_project_image(low: Rgb, high: Rgb, rounds: int) -> Rgb:
    """(h, w, 3) and (h*scale, w*scale, 3) to (h*scale, w*scale, 3)."""
    colours = [(low[..., colour].astype(np.float32), high[..., colour].astype(np.float32)) for colour in range(3)]
    return round_planes([back_project_plane(*planes, rounds) for planes in colours])


def back_project_plane(low: Plane, high: Plane, rounds: int) -> Plane:
    """(h, w) and (h*scale, w*scale) to (h*scale, w*scale), not clipped."""
    for _ in range(rounds):
        missing = low - resize_plane(high, low.shape, Image.Resampling.BOX)
        high = high + resize_plane(missing, high.shape, Image.Resampling.BICUBIC)
    return high


def round_planes(planes: Sequence[Plane]) -> Rgb:
    """Three of (h, w) to (h, w, 3)."""
    return np.stack(planes, axis=2).round().clip(0, 255).astype(np.uint8)


def resize_plane(plane: Plane, shape: tuple[int, ...], kernel: Image.Resampling) -> Plane:
    """(h, w) to (height, width), in float32 throughout, rows before columns (see `wsisr.imaging.pixels.resize`)."""
    height, width = shape
    rows = Image.fromarray(plane).resize((width, plane.shape[0]), kernel)
    return np.asarray(rows.resize((width, height), kernel))
