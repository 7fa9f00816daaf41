"""The tissue that wsisr finds on a slide, as a picture to lay over it: its outline and a tint."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from wsisr.imaging.geometry import Size
from wsisr.slides import Slide
from wsisr.tissue import find_tissue

MAX_SIDE_PX = 4096
"""Longest side of the picture."""

_OUTLINE_PARTS = 4
"""Pixels of the picture per pixel of the mask, at most: the outline is that much thinner."""

_PALETTE = (0, 0, 0, 0, 150, 136, 0, 105, 92)
"""Red, green and blue of the three kinds of pixels: glass, tissue, outline."""
_OPACITIES = bytes((0, 36, 220))


def draw_tissue_layer(slide: Slide) -> bytes:
    """Return a PNG stretched over the whole slide, transparent where a run takes the slide for glass.

    Raises `SlideError` where the slide cannot be read.
    """
    tissue = find_tissue(slide)
    height, width = tissue.mask.shape
    factor = min(_OUTLINE_PARTS, MAX_SIDE_PX / max(height, width))
    mask = tissue.mask_pixels(Size(max(1, round(width * factor)), max(1, round(height * factor)))).astype(np.uint8)
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    picture = Image.fromarray(np.where(mask > inner, np.uint8(2), mask))
    picture.putpalette(_PALETTE)
    file = BytesIO()
    picture.save(file, "PNG", transparency=_OPACITIES)
    return file.getvalue()
