"""An image resampled to another pixel size: area mean along a coarser axis, bicubic along a finer one.

A pixel has the same value in whichever box it is read, because positions are counted from the corner of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import (
    AxisPositions,
    FloatLines,
    Rgb,
    average_between_edges,
    interpolate_cubic,
    round_to_uint8,
)

RESAMPLING_BAND_PX = 4_000_000
"""Pixels of the image that are resampled at a time; bounds memory for any factor."""

BoxReader: TypeAlias = Callable[[Box], Rgb]
"""Reads the pixels of a box within the image."""


@dataclass(frozen=True, slots=True)
class ResampledGrid:
    """A coarser or finer pixel grid over an image, with the same top left corner."""

    image: Size
    factors: tuple[float, float]
    """Image pixels per grid pixel along x and along y; below 1, the grid is finer than the image."""

    @property
    def size(self) -> Size:
        """Whole grid pixels within the image, at least one."""
        across, down = self.factors
        return Size(max(1, math.floor(self.image.width / across)), max(1, math.floor(self.image.height / down)))

    def read(self, box: Box, fetch: BoxReader) -> Rgb:
        """Read a box of the grid as (h, w, 3) sRGB; `fetch` reads the image beneath."""
        if self.factors == (1, 1):
            return fetch(box)
        across, down = (max(1.0, factor) for factor in self.factors)
        band = max(1, int(RESAMPLING_BAND_PX / (box.width * across * down)))
        tops = range(box.top, box.bottom, band)
        bands = (Box(box.left, top, box.right, min(top + band, box.bottom)) for top in tops)
        return np.concatenate([self._read_band(part, fetch) for part in bands])

    def working_bytes(self, pixels: int) -> int:
        """Return the bytes that `read` needs besides its result of so many pixels: four float64 copies of a band."""
        if self.factors == (1, 1):
            return 0
        across, down = (max(1.0, factor) for factor in self.factors)
        return round(min(RESAMPLING_BAND_PX, pixels * across * down)) * 3 * 8 * 4

    def _read_band(self, box: Box, fetch: BoxReader) -> Rgb:
        columns = _make_axis(box.left, box.right, self.factors[0], self.image.width)
        rows = _make_axis(box.top, box.bottom, self.factors[1], self.image.height)
        pixels = fetch(Box(columns.first, rows.first, columns.last, rows.last))
        lines = rows.apply(pixels.astype(np.float64))
        return round_to_uint8(columns.apply(lines.swapaxes(0, 1)).swapaxes(0, 1))


class _AxisResampler(Protocol):
    """Resampling along one axis, which needs the image pixels with `first` <= x < `last`."""

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...

    def apply(self, lines: FloatLines) -> FloatLines: ...


@dataclass(frozen=True, slots=True)
class _AreaMean:
    edges: AxisPositions
    first: int
    last: int

    def apply(self, lines: FloatLines) -> FloatLines:
        return average_between_edges(lines, self.edges - self.first)


@dataclass(frozen=True, slots=True)
class _CubicInterpolation:
    centres: AxisPositions
    first: int
    last: int

    def apply(self, lines: FloatLines) -> FloatLines:
        return interpolate_cubic(lines, self.centres, self.first)


def _make_axis(start: int, stop: int, factor: float, length: int) -> _AxisResampler:
    if factor >= 1:
        edges = np.arange(start, stop + 1, dtype=np.float64) * factor
        return _AreaMean(edges, math.floor(edges[0]), min(math.ceil(edges[-1]), length))
    # Bicubic interpolation needs one pixel before a position and two after it.
    centres = (np.arange(start, stop, dtype=np.float64) + 0.5) * factor - 0.5
    return _CubicInterpolation(centres, max(math.floor(centres[0]) - 1, 0), min(math.floor(centres[-1]) + 3, length))
