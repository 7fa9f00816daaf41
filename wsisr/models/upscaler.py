"""The seam between pixels and networks: plain arrays on both sides, and the two networks that need no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wsisr.imaging.bicubic import bicubic
from wsisr.imaging.pixels import CUBIC_REACH, LANCZOS_REACH, Kernel, Rgb, Tiles, enlarge
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


class Upscaler(Protocol):
    """Anything that makes tiles larger."""

    @property
    def name(self) -> str: ...

    @property
    def hardware(self) -> str:
        """Where and in which precision it computes, in words."""
        ...

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes, for which windows are larger."""
        ...

    @property
    def weights(self) -> Weights | None:
        """None for a filter."""
        ...

    @property
    def scale(self) -> int:
        """Output pixels per input pixel, along one axis."""
        ...

    @property
    def context(self) -> int:
        """Input pixels around a pixel that its output can depend on: the margin that makes tiling exact."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of the result must know of how it came about, each said once; grows as tiles go through."""
        ...

    def __call__(self, tiles: Tiles) -> Tiles:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Raises `ModelError` where a network gives no pixels, `DeviceError` where its device fails.
        """
        ...


def describe_upscaler(upscaler: Upscaler) -> str:
    """Its name, and how far it goes towards other weights."""
    blend = upscaler.weights.blend if upscaler.weights else None
    return f"{upscaler.name}, {blend}" if blend else upscaler.name


@dataclass(frozen=True, slots=True)
class Resampling:
    """Pillow's bicubic (a = -0.5) or Lanczos (3 lobes): the honest baselines, through the same path as a network."""

    name: Kernel
    scale: int

    @property
    def hardware(self) -> str:
        return "on the CPU in 8 bits"

    @property
    def on_gpu(self) -> bool:
        return False

    @property
    def weights(self) -> None:
        return None

    @property
    def context(self) -> int:
        return CUBIC_REACH if self.name == "bicubic" else LANCZOS_REACH

    @property
    def remarks(self) -> tuple[str, ...]:
        return ()

    def __call__(self, tiles: Tiles) -> Tiles:
        return np.stack([self._enlarged(tile) for tile in tiles])

    def _enlarged(self, tile: Rgb) -> Rgb:
        return bicubic(tile, self.scale) if self.name == "bicubic" else enlarge(tile, self.scale, self.name)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """No enlargement at all: for a slide that needs none."""

    name: str = "no network"
    hardware: str = "on the CPU"
    on_gpu: bool = False
    weights: None = None
    scale: int = 1
    context: int = 0
    remarks: tuple[str, ...] = ()

    def __call__(self, tiles: Tiles) -> Tiles:
        return tiles
