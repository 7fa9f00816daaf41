"""The seam between pixels and networks: plain arrays on both sides, and the two networks that need no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.pixels import CUBIC_RADIUS, LANCZOS_RADIUS, FilterName, Rgb, RgbBatch, enlarge_image
from wsisr.models.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Blend:
    """Other weights that a network's were mixed with."""

    name: str
    share: float
    """Of the way to them, above 0 to 1."""
    sha256: str
    """Of their file, hexadecimal."""

    def __str__(self) -> str:
        return f"{'all' if self.share == 1 else f'{self.share:g} of'} the way to {self.name}"


@dataclass(frozen=True, slots=True)
class Weights:
    """What a network computes with: enough to tell it from any other."""

    spec: ModelSpec | None
    """None for a network from elsewhere."""
    sha256: str
    """Of the weights file, hexadecimal."""
    blend: Blend | None = None


@dataclass(frozen=True, slots=True)
class UpscalerInfo:
    """The facts about an upscaler that stay the same while it runs."""

    name: str
    scale: int
    """Output pixels per input pixel, along one axis."""
    receptive_field: int
    """Input pixels around a pixel that its output can depend on: the halo that makes tiling exact."""
    hardware: str
    """Device and precision of the computation, in words."""
    on_gpu: bool = False
    """Whether a GPU computes; tiles are larger there."""
    weights: Weights | None = None
    """None for a filter."""

    def __str__(self) -> str:
        """Return the name and, if weights were blended, with which and how far."""
        blend = self.weights.blend if self.weights else None
        return f"{self.name}, {blend}" if blend else self.name


class Upscaler(Protocol):
    """Anything that makes tiles larger."""

    @property
    def info(self) -> UpscalerInfo: ...

    @property
    def warnings(self) -> Sequence[str]:
        """Sentences about how the result was computed that its reader must know, none twice; grows with the tiles."""
        ...

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Raises `ModelError` where a network gives no pixels, `DeviceError` where its device fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class Resampling:
    """Pillow's bicubic (a = -0.5) or Lanczos (3 lobes): the honest baselines, through the same path as a network."""

    filter_name: FilterName
    scale: int

    @property
    def info(self) -> UpscalerInfo:
        radius = CUBIC_RADIUS if self.filter_name == "bicubic" else LANCZOS_RADIUS
        return UpscalerInfo(self.filter_name, self.scale, radius, "on the CPU in 8 bits")

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        return np.stack([self._enlarge_tile(tile) for tile in tiles])

    def _enlarge_tile(self, tile: Rgb) -> Rgb:
        if self.filter_name == "bicubic":
            return enlarge_bicubic(tile, self.scale)
        return enlarge_image(tile, self.scale, self.filter_name)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """No enlargement at all: for a slide that needs none."""

    info: UpscalerInfo = UpscalerInfo("no network", scale=1, receptive_field=0, hardware="on the CPU")
    warnings: tuple[str, ...] = ()

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        return tiles
