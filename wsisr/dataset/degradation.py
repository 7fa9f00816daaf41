"""How a scanner would have seen a patch at low resolution: optics blur it, its file compresses it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from wsisr.pixels import Rgb, shrink

BLUR_PX = 0.6
"""Largest standard deviation of the blur, in px of the low resolution."""

QUALITIES = (30, 95)
"""JPEG qualities at which slides are met: Aperio's own default of 30 among them."""


def scanned(high: Rgb, scale: int, random: np.random.Generator) -> Rgb:
    """(h*scale, w*scale, 3) to (h, w, 3): blurred a little, averaged, stored as JPEG 4:2:0 of some quality.

    Strength of blur and quality are drawn alike over their ranges; both ranges are this project's choice.
    """
    sigma, quality = random.uniform(0, BLUR_PX) * scale, int(random.integers(QUALITIES[0], QUALITIES[1] + 1))
    blurred = np.asarray(Image.fromarray(high).filter(ImageFilter.GaussianBlur(sigma)))
    file = BytesIO()
    Image.fromarray(shrink(blurred, scale, "area")).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))
