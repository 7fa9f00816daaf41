"""Compression made alike, so that nobody tells a magnification by it.

Levels of one slide are often stored at different JPEG qualities, and a classifier finds that easier to see than tissue.
So whatever is to be told apart by magnification is first stored as JPEG anew: in training at qualities drawn alike for
all, in use at the middle one. The grid of its blocks must not be that of the slide's own, or both leave their marks.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from wsisr.imaging.pixels import Rgb

QUALITIES = (40, 75)
"""Least and most: below those at which slides are usually stored, above what leaves no texture."""

_OFF_PX = 4
"""Half a block: as far off the old grid as can be."""


def through_jpeg(image: Rgb, quality: int, subsampling: str = "4:2:0") -> Rgb:
    """(h, w, 3) to the same, through a JPEG."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def through_any_jpeg(crop: Rgb, random: np.random.Generator) -> Rgb:
    """(h, w, 3) to the same, through a JPEG of random quality. The crop begins anywhere, so its blocks lie elsewhere
    than the scanner's already."""
    return through_jpeg(crop, int(random.integers(QUALITIES[0], QUALITIES[1] + 1)))


def for_branch(window: Rgb) -> Rgb:
    """(h, w, 3) to (h-4, w-4, 3) of the middle quality; what has no more than 8 px keeps its size."""
    off = _OFF_PX if min(window.shape[:2]) > 2 * _OFF_PX else 0
    return through_jpeg(window[off:, off:], sum(QUALITIES) // 2)
