"""The pixels that are enlarged: one level of a slide, or one level shrunk to an exact pixel pitch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wsisr.errors import SlideError
from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb, area_mean
from wsisr.slides import Slide

SAME_PITCH = 0.01
"""Pitches that differ by less, as a share, are the same."""

BAND_PX = 4_000_000
"""Level pixels that are shrunk at a time; bounds memory whatever the factor."""


@dataclass(frozen=True)
class Source:
    """A level seen at `factor` level pixels per pixel, along one axis."""

    slide: Slide
    level: int
    factor: float = 1.0

    @cached_property
    def size(self) -> Size:
        level = self.slide.info.level(self.level).size
        return Size(max(1, math.floor(level.width / self.factor)), max(1, math.floor(level.height / self.factor)))

    @property
    def mpp(self) -> float | None:
        """Pixel pitch in um/px; None where the slide does not say."""
        pitch = self.slide.info.level_mpp(self.level)
        return None if pitch is None else pitch * self.factor

    def read(self, box: Box) -> Rgb:
        """Pixels of a box, (h, w, 3) sRGB; shrunk by area mean where the factor is not 1.

        A pixel covers the same part of the level whichever box it is read in.
        """
        if self.factor == 1:
            return self.slide.read(box, self.level)
        band = max(1, int(BAND_PX / (box.width * self.factor**2)))
        tops = range(box.top, box.bottom, band)
        bands = (Box(box.left, top, box.right, min(top + band, box.bottom)) for top in tops)
        return np.concatenate([self._shrunk(part) for part in bands])

    def _shrunk(self, box: Box) -> Rgb:
        columns = np.arange(box.left, box.right + 1) * self.factor
        rows = np.arange(box.top, box.bottom + 1) * self.factor
        around = Box(int(columns[0]), int(rows[0]), math.ceil(columns[-1]), math.ceil(rows[-1]))
        around = around.intersection(Box.of(self.slide.info.level(self.level).size))
        return area_mean(self.slide.read(around, self.level), rows - around.top, columns - around.left)


def source_of(slide: Slide, level: int | None = None, mpp: float | None = None) -> Source:
    """A level by its number, or the coarsest level at least as fine as a pitch, shrunk to exactly that pitch.

    Without either, level 0. Raises `SlideError` if there is no such level or the slide has none that fine.
    """
    if mpp is None:
        slide.info.level(level or 0)
        return Source(slide, level or 0)
    if slide.info.mpp is None:
        raise SlideError(f"{slide.info.path}: pixel pitch is not recorded; give it (--mpp), or choose a level")
    pitches = [slide.info.mpp * each.downsample for each in slide.info.levels]
    fine = [number for number, pitch in enumerate(pitches) if pitch <= mpp * (1 + SAME_PITCH)]
    if not fine:
        raise SlideError(f"{slide.info.path}: its finest level has {pitches[0]:.4g} um/px, coarser than {mpp:g}")
    factor = mpp / pitches[fine[-1]]
    return Source(slide, fine[-1], 1.0 if abs(factor - 1) <= SAME_PITCH else factor)
