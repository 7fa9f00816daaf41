"""Units of digital pathology: pixel size in um/px and the magnification that corresponds to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

UM_AT_1X = 10.0
"""Pixel size in um/px at a magnification of 1, by convention: 20x is 0.5 um/px."""


def index_of_nearest_magnification(mpp: float, magnifications: Sequence[float]) -> int | None:
    """Return the index of the magnification nearest to a pixel size; None if the size is 0 (unknown) or none is near.

    Near means within a factor of the square root of 2.
    """
    distances = [abs(math.log2(mpp * magnification / UM_AT_1X)) for magnification in magnifications] if mpp > 0 else []
    closest = min(distances, default=math.inf)
    return distances.index(closest) if closest <= 0.5 else None
