"""JPEG recompression, as slides are stored, and to hide their own compression from the magnification classifier.

Levels of one slide are often stored at different JPEG qualities, which a classifier recognises more easily than tissue.
So its input is always recompressed: in training at a random quality drawn from one range for all magnifications, in use
at the middle of that range. The new 8 px grid must not lie on the slide's own, or the artefacts of both remain visible.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from wsisr.imaging.pixels import Rgb

JPEG_QUALITIES = (40, 75)
"""Lowest and highest: below the qualities at which slides are usually stored, above those that destroy texture."""

SLIDE_QUALITY = 75
"""JPEG quality of input that stands for a slide as it is stored: the default of libjpeg."""

_GRID_SHIFT_PX = 4
"""Half a JPEG block: as far from the old grid as possible."""


def recompress_jpeg(image: Rgb, quality: int, subsampling: str = "4:2:0") -> Rgb:
    """Encode (h, w, 3) as JPEG and return it decoded, in the same shape."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def store_as_slide(image: Rgb) -> Rgb:
    """Return (h, w, 3) as a slide in an archive shows it: after JPEG of quality 75 with 4:2:0."""
    return recompress_jpeg(image, SLIDE_QUALITY)


def recompress_at_random_quality(crop: Rgb, random: np.random.Generator) -> Rgb:
    """Recompress (h, w, 3) at a random quality within `JPEG_QUALITIES`.

    A training crop starts anywhere, so its JPEG grid already differs from the scanner's.
    """
    return recompress_jpeg(crop, int(random.integers(JPEG_QUALITIES[0], JPEG_QUALITIES[1] + 1)))


def recompress_for_classifier(image: Rgb) -> Rgb:
    """Recompress (h, w, 3) at the middle quality, as (h-4, w-4, 3); an image of 8 px or less keeps its size."""
    shift = _GRID_SHIFT_PX if min(image.shape[:2]) > 2 * _GRID_SHIFT_PX else 0
    return recompress_jpeg(image[shift:, shift:], sum(JPEG_QUALITIES) // 2)
