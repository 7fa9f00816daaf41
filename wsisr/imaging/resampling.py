"""An image seen at another pixel pitch: area mean along an axis that gets coarser, bicubic along one that gets finer.

A pixel is the same whichever box it is read in: its edges are counted from the corner of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Edges, Lines, Rgb, cubic_along, mean_along, rounded

BAND_PX = 4_000_000
"""Pixels of the image that are resampled at a time; bounds memory whatever the factor."""

Fetch: TypeAlias = Callable[[Box], Rgb]
"""A box within the image to its pixels."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """A grid of pixels laid over an image, corner on corner."""

    image: Size
    factors: tuple[float, float]
    """Pixels of the image per pixel, along x and along y; below 1 the grid is the finer one."""

    @property
    def size(self) -> Size:
        """Whole pixels within the image, at least one."""
        across, down = self.factors
        return Size(max(1, math.floor(self.image.width / across)), max(1, math.floor(self.image.height / down)))

    def read(self, box: Box, fetch: Fetch) -> Rgb:
        """Pixels of a box within the grid, (h, w, 3) sRGB."""
        if self.factors == (1, 1):
            return fetch(box)
        across, down = (max(1.0, factor) for factor in self.factors)
        band = max(1, int(BAND_PX / (box.width * across * down)))
        tops = range(box.top, box.bottom, band)
        bands = (Box(box.left, top, box.right, min(top + band, box.bottom)) for top in tops)
        return np.concatenate([self._band(part, fetch) for part in bands])

    def reading_bytes(self, pixels: int) -> int:
        """Memory that `read` takes for so many pixels, besides theirs: four copies of a band in float64."""
        if self.factors == (1, 1):
            return 0
        across, down = (max(1.0, factor) for factor in self.factors)
        return round(min(BAND_PX, pixels * across * down)) * 3 * 8 * 4

    def _band(self, box: Box, fetch: Fetch) -> Rgb:
        columns = _axis(box.left, box.right, self.factors[0], self.image.width)
        rows = _axis(box.top, box.bottom, self.factors[1], self.image.height)
        pixels = fetch(Box(columns.first, rows.first, columns.last, rows.last))
        lines = rows.applied(pixels.astype(np.float64))
        return rounded(columns.applied(lines.swapaxes(0, 1)).swapaxes(0, 1))


class _Axis(Protocol):
    """Pixels of the grid along one axis, made from those of the image with `first` <= x < `last`."""

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...

    def applied(self, lines: Lines) -> Lines: ...


@dataclass(frozen=True, slots=True)
class _Means:
    edges: Edges
    first: int
    last: int

    def applied(self, lines: Lines) -> Lines:
        return mean_along(lines, self.edges - self.first)


@dataclass(frozen=True, slots=True)
class _Cubic:
    centres: Edges
    first: int
    last: int

    def applied(self, lines: Lines) -> Lines:
        return cubic_along(lines, self.centres, self.first)


def _axis(start: int, stop: int, factor: float, length: int) -> _Axis:
    if factor >= 1:
        edges = np.arange(start, stop + 1, dtype=np.float64) * factor
        return _Means(edges, math.floor(edges[0]), min(math.ceil(edges[-1]), length))
    centres = (np.arange(start, stop, dtype=np.float64) + 0.5) * factor - 0.5
    return _Cubic(centres, max(math.floor(centres[0]) - 1, 0), min(math.floor(centres[-1]) + 3, length))
