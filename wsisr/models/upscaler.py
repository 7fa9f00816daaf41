"""The interface between pixels and networks: NumPy arrays on both sides. Also the upscalers without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.pixels import CUBIC_RADIUS, LANCZOS_RADIUS, PillowFilter, Rgb, RgbBatch, enlarge_image
from wsisr.models.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Blend:
    """The second set of weights that a network's own were blended with."""

    name: str
    share: float
    """Fraction of the way from the network's own weights, above 0 and up to 1."""
    sha256: str
    """Hexadecimal digest of their file."""

    def __str__(self) -> str:
        return f"{'all' if self.share == 1 else f'{self.share:g} of'} the way to {self.name}"


@dataclass(frozen=True, slots=True)
class Weights:
    """Identity of a network's weights: no two networks have the same."""

    spec: ModelSpec | None
    """None for a third-party network."""
    sha256: str
    """Hexadecimal digest of the weights file."""
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
    cell_px: int = 1
    """Side of the squares of input pixels that are computed together. Where tiles begin on multiples of it, counted
    from the image's corner, no pixel depends on the tiles."""
    is_guarded: bool = False
    """Whether bicubic is shown where the network contradicts its input; see `wsisr.models.guard`."""

    def __str__(self) -> str:
        """Return the name and, if weights were blended, with which and how far."""
        blend = self.weights.blend if self.weights else None
        return f"{self.name}, {blend}" if blend else self.name


class Upscaler(Protocol):
    """Anything that enlarges tiles."""

    @property
    def info(self) -> UpscalerInfo: ...

    @property
    def warnings(self) -> Sequence[str]:
        """Sentences about how the result was computed that its reader must know, none twice; grows with the tiles."""
        ...

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """Enlarge (n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Raises `ModelError` if the network returns no valid pixels, `DeviceError` if its device fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class Resampling:
    """Pillow's bicubic (a = -0.5) or Lanczos (3 lobes): baselines that take the same path as a network."""

    filter_name: PillowFilter
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
    """An upscaler that returns its input: for a slide that has the wanted pixel size already."""

    info: UpscalerInfo = UpscalerInfo("no network", scale=1, receptive_field=0, hardware="on the CPU")
    warnings: tuple[str, ...] = ()

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        return tiles
