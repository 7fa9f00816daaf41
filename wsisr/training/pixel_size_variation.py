"""Pixel sizes between those of a dataset's levels: a patch is shrunk by a drawn factor before a pair is made of it.

A dataset holds the levels of its slides, mostly each twice as coarse as the one before, and networks that have seen no
other pixel sizes are weaker between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wsisr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PixelSizeVariation:
    """The factors by which patches are shrunk by area mean, drawn uniformly as a logarithm."""

    largest_factor: float = 2.0
    """Largest factor. A crop must still fit, and no input becomes coarser than the coarsest of the dataset."""
    share: float = 0.5
    """Share of the samples whose patch is shrunk."""

    def __post_init__(self) -> None:
        if not (1 <= self.largest_factor <= 8 and 0 <= self.share <= 1):
            raise ConfigError("largest_factor must be from 1 to 8, share from 0 to 1")

    def draw_side(self, side: int, least: int, coarsest_factor: float, random: np.random.Generator) -> int:
        """Return the side to which a square patch is shrunk: from `least` px, both sides in the same unit, to `side`.

        `coarsest_factor` is that by which the patch would be as coarse as the coarsest one of the dataset.
        """
        most = min(self.largest_factor, side / least, coarsest_factor)
        if random.random() >= self.share or most <= 1:
            return side
        return max(least, round(side / math.exp(random.uniform(0, math.log(most)))))
