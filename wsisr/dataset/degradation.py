"""How a scanner would have stored a patch at low resolution: blurred by optics, sharpened by software, as JPEG."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from wsisr.pixels import Rgb, shrink

BLUR_PX = 0.6
"""Largest standard deviation of the blur, in px of the low resolution."""

SHARPENING = 150
"""Largest strength of an unsharp mask of one low-resolution px, in percent."""

QUALITIES = (25, 95)
"""JPEG qualities at which slides are met: Aperio's own default of 30 among them."""


def scanned(high: Rgb, scale: int, random: np.random.Generator) -> Rgb:
    """(h*scale, w*scale, 3) to (h, w, 3): blurred a little, averaged, sharpened, stored as JPEG 4:2:0 of some quality.

    Each strength is drawn alike over its range; the ranges are this project's choice.
    """
    sigma, percent = random.uniform(0, BLUR_PX) * scale, round(random.uniform(0, SHARPENING))
    quality = int(random.integers(QUALITIES[0], QUALITIES[1] + 1))
    blurred = np.asarray(Image.fromarray(high).filter(ImageFilter.GaussianBlur(sigma)))
    low = Image.fromarray(shrink(blurred, scale, "area"))
    file = BytesIO()
    sharp = low.filter(ImageFilter.UnsharpMask(radius=1, percent=percent, threshold=0))
    sharp.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))
