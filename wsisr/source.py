"""The pixels that are enlarged: one level of a slide, or one level shrunk to an exact pixel pitch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from wsisr.errors import SlideError
from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb, resize
from wsisr.slides import Slide

SAME_PITCH = 0.01
"""Pitches that differ by less, as a share, are the same."""


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
        left, top, right, bottom = (edge * self.factor for edge in (box.left, box.top, box.right, box.bottom))
        around = Box(math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
        part = (left - around.left, top - around.top, right - around.left, bottom - around.top)
        return resize(self.slide.read(around, self.level), box.width, box.height, "area", part)


def source_of(slide: Slide, level: int | None = None, mpp: float | None = None) -> Source:
    """A level by its number, or the coarsest level at least as fine as a pitch, shrunk to exactly that pitch.

    Without either, level 0. Raises `SlideError` if there is no such level or the slide has none that fine.
    """
    if mpp is None:
        slide.info.level(level or 0)
        return Source(slide, level or 0)
    if slide.info.mpp is None:
        raise SlideError(f"{slide.info.path}: pixel pitch is not recorded; give it with --mpp, or choose a --level")
    pitches = [slide.info.mpp * level.downsample for level in slide.info.levels]
    fine = [number for number, pitch in enumerate(pitches) if pitch <= mpp * (1 + SAME_PITCH)]
    if not fine:
        raise SlideError(f"{slide.info.path}: its finest level has {pitches[0]:.4g} um/px, coarser than {mpp:g}")
    factor = mpp / pitches[fine[-1]]
    return Source(slide, fine[-1], 1.0 if abs(factor - 1) <= SAME_PITCH else factor)
