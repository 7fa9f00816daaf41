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

Lines: TypeAlias = npt.NDArray[np.float64]
"""(n, ...) of grey levels not yet rounded: rows, or columns, of an image."""

WHITE = 255
"""What readers give where a slide has no pixels at all."""

CUBIC_REACH, LANCZOS_REACH = 2, 3
"""Input px on each side that a cubic kernel sees, and Lanczos with its three lobes: a piece with so many around it is
enlarged as the whole is."""


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
    if scale == 1:
        return image
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"{width} x {height} px is not a multiple of {scale}")
    return resize(image, width // scale, height // scale, kernel)


def rounded(image: Lines) -> Rgb:
    """Grey levels as whole numbers; a tie goes up, whatever the last bit of a sum says."""
    return np.floor(np.clip(image, 0, 255) + (0.5 + 1e-6)).astype(np.uint8)


def mean_along(lines: Lines, edges: Edges) -> Lines:
    """(n, ...) to (len(edges)-1, ...): along the first axis, the mean of what lies between two edges.

    A pixel that an edge cuts counts by its share, which Pillow's box filter does not do.
    """
    whole = np.minimum(np.floor(edges).astype(int), len(lines) - 1)
    sums = np.concatenate([np.zeros_like(lines[:1]), np.cumsum(lines, axis=0)])
    shares = (edges - whole).reshape(-1, *[1] * (lines.ndim - 1))
    upto = sums[whole] + shares * lines[whole]
    widths = np.diff(edges).reshape(-1, *[1] * (lines.ndim - 1))
    return np.asarray(np.diff(upto, axis=0) / widths)


def cubic_along(lines: Lines, centres: Edges, first: int = 0) -> Lines:
    """(n, ...) to (len(centres), ...): along the first axis, bicubic (a = -0.5) at places between pixel centres.

    Places are counted from an origin that lies `first` px before the first line, so that the same place has the same
    weights to the last bit wherever the lines begin. Beyond the ends the last line stands.
    """
    whole = np.floor(centres).astype(int)
    share = (centres - whole).reshape(-1, *[1] * (lines.ndim - 1))
    taps = (lines[np.clip(whole + tap - first, 0, len(lines) - 1)] for tap in (-1, 0, 1, 2))
    weights = (_far(1 + share), _near(share), _near(1 - share), _far(2 - share))
    return np.asarray(sum(weight * tap for weight, tap in zip(weights, taps, strict=True)))


def _cubic(distances: Lines) -> Lines:
    """Keys' cubic kernel (a = -0.5) at distances in px, none of them negative."""
    return np.where(distances < 1, _near(distances), np.where(distances < 2, _far(distances), 0.0))


def taps(scale: int) -> Lines:
    """(scale, 5): for each pixel within an enlarged one, the weights of the five input pixels around it."""
    places = (np.arange(scale) + 0.5) / scale - 0.5
    return _cubic(np.abs(places[:, None] - np.arange(-CUBIC_REACH, CUBIC_REACH + 1)))


def _near(distance: Lines) -> Lines:
    """Keys' cubic kernel up to 1 px away."""
    return (1.5 * distance - 2.5) * distance**2 + 1


def _far(distance: Lines) -> Lines:
    """Keys' cubic kernel from 1 to 2 px away."""
    return ((-0.5 * distance + 2.5) * distance - 4) * distance + 2


def halve(image: Rgb) -> Rgb:
    """(h, w, 3) to (ceil(h/2), ceil(w/2), 3): the 2x2 mean, rounded half up; an odd last row or column stands twice."""
    import cv2  # noqa: PLC0415 - training goes without it

    even = extended(image, image.shape[0] % 2, image.shape[1] % 2)
    return np.asarray(cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA))


def extended(image: Rgb, below: int, right: int) -> Rgb:
    """(h, w, 3) to (h+below, w+right, 3): the last row and column repeated; `np.pad` takes several times as long."""
    import cv2  # noqa: PLC0415

    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)) if below or right else image
