"""Arrays of pixels and the resampling of them.

Images are sRGB uint8, channels last. Pixel centres are at halves: x_fine + 1/2 = s (x_coarse + 1/2).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

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


Edges: TypeAlias = npt.NDArray[np.floating[Any]]
"""Where pixels of a coarser image begin and end along one axis, in px of the finer one; ascending."""


def resize(image: Rgb, width: int, height: int, kernel: Kernel) -> Rgb:
    """(h, w, 3) to (height, width, 3) by Pillow's filters.

    They are antialiased when shrinking, and bicubic has a = -0.5. Rows come first, in a call of their own: Pillow 13
    begins with the columns where an image is more than twice as high as wide, and rounds in between, so that a narrow
    piece of an image would differ from the image by a grey level.
    """
    rows = Image.fromarray(image).resize((width, image.shape[0]), _PILLOW[kernel])
    return np.asarray(rows.resize((width, height), _PILLOW[kernel]))


def enlarge(image: Rgb, scale: int, kernel: Kernel) -> Rgb:
    """(h, w, 3) to (h*scale, w*scale, 3)."""
    return resize(image, image.shape[1] * scale, image.shape[0] * scale, kernel)


def shrink(image: Rgb, scale: int, kernel: Kernel) -> Rgb:
    """(h*scale, w*scale, 3) to (h, w, 3). Both sides must be multiples of the scale."""
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"{width} x {height} px is not a multiple of {scale}")
    return resize(image, width // scale, height // scale, kernel)


def area_mean(image: Rgb, rows: Edges, columns: Edges) -> Rgb:
    """(h, w, 3) to (len(rows)-1, len(columns)-1, 3): each the mean of what lies between two edges, in px, not rounded.

    A pixel that an edge cuts counts by its share, which Pillow's box filter does not do.
    """
    means = _means(_means(image.astype(np.float64), rows).swapaxes(0, 1), columns).swapaxes(0, 1)
    return np.floor(means + (0.5 + 1e-6)).astype(np.uint8)  # a tie rounds up, whatever the sums' last bit says


def _means(lines: npt.NDArray[np.float64], edges: Edges) -> npt.NDArray[np.float64]:
    """(n, ...) to (len(edges)-1, ...) along the first axis."""
    whole = np.minimum(np.floor(edges).astype(int), len(lines) - 1)
    sums = np.concatenate([np.zeros_like(lines[:1]), np.cumsum(lines, axis=0)])
    shares = (edges - whole).reshape(-1, *[1] * (lines.ndim - 1))
    upto = sums[whole] + shares * lines[whole]
    widths = np.diff(edges).reshape(-1, *[1] * (lines.ndim - 1))
    return np.asarray(np.diff(upto, axis=0) / widths)


def halve(image: Rgb) -> Rgb:
    """(h, w, 3) to (ceil(h/2), ceil(w/2), 3): the 2x2 mean, rounded half up; an odd last row or column stands twice."""
    return np.asarray(Image.fromarray(image).reduce(2))
