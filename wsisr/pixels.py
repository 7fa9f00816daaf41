"""Arrays of pixels and the resampling of them.

Images are sRGB uint8, channels last. Pixel centres are at halves: x_fine + 1/2 = s (x_coarse + 1/2).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Rgb: TypeAlias = npt.NDArray[np.uint8]
"""(h, w, 3) sRGB, 0 to 255."""

Tiles: TypeAlias = npt.NDArray[np.uint8]
"""(n, h, w, 3) sRGB, 0 to 255."""

Kernel: TypeAlias = Literal["area", "bicubic", "lanczos"]

_PILLOW = {
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


Part: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom in px of an image, not rounded."""


def resize(image: Rgb, width: int, height: int, kernel: Kernel, part: Part | None = None) -> Rgb:
    """(h, w, 3), or a part of it, to (height, width, 3) by Pillow's filters.

    They are antialiased when shrinking, and bicubic has a = -0.5. Rows come first, in a call of their own: Pillow 13
    begins with the columns where an image is more than twice as high as wide, and rounds in between, so that a narrow
    piece of an image would differ from the image by a grey level.
    """
    left, top, right, bottom = part or (0, 0, image.shape[1], image.shape[0])
    rows = Image.fromarray(image).resize((width, image.shape[0]), _PILLOW[kernel], (left, 0, right, image.shape[0]))
    return np.asarray(rows.resize((width, height), _PILLOW[kernel], (0, top, width, bottom)))


def enlarge(image: Rgb, scale: int, kernel: Kernel) -> Rgb:
    """(h, w, 3) to (h*scale, w*scale, 3)."""
    return resize(image, image.shape[1] * scale, image.shape[0] * scale, kernel)


def shrink(image: Rgb, scale: int, kernel: Kernel) -> Rgb:
    """(h*scale, w*scale, 3) to (h, w, 3). Both sides must be multiples of the scale."""
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"{width} x {height} px is not a multiple of {scale}")
    return resize(image, width // scale, height // scale, kernel)


def halve(image: Rgb) -> Rgb:
    """(h, w, 3) to (ceil(h/2), ceil(w/2), 3): the 2x2 mean, rounded half up; an odd last row or column stands twice."""
    return np.asarray(Image.fromarray(image).reduce(2))
