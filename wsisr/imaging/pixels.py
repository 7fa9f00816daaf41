"""Pixel arrays and their resampling.

Images are sRGB uint8, channels last. Pixel centres are at halves: x_fine + 1/2 = s (x_coarse + 1/2).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Rgb: TypeAlias = npt.NDArray[np.uint8]
"""(h, w, 3) sRGB, 0 to 255."""

RgbBatch: TypeAlias = npt.NDArray[np.uint8]
"""(n, h, w, 3) sRGB, 0 to 255."""

FilterName: TypeAlias = Literal["area", "bicubic", "lanczos"]

_PILLOW = {
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


AxisPositions: TypeAlias = npt.NDArray[np.floating[Any]]
"""Ascending positions along one axis: edges or centres of one image's pixels, in px of another image."""

FloatLines: TypeAlias = npt.NDArray[np.float64]
"""(n, ...) unrounded grey levels: the rows or the columns of an image."""

WHITE = 255
"""Value of all channels that readers return for parts of a slide without pixels."""

CUBIC_RADIUS, LANCZOS_RADIUS = 2, 3
"""Support in input px on each side, of the cubic kernel and of Lanczos with three lobes: a crop with that much around
it is enlarged exactly as the whole image is."""


def resize_image(image: Rgb, width: int, height: int, filter_name: FilterName) -> Rgb:
    """Resample (h, w, 3) to (height, width, 3) with Pillow's filters.

    They are antialiased when shrinking, and bicubic has a = -0.5. Rows are resampled first, in a call of their own:
    Pillow 13 starts with the columns if an image is more than twice as high as wide, and rounds in between, so that a
    narrow crop of an image would differ from the image by a grey level.
    """
    rows = Image.fromarray(image).resize((width, image.shape[0]), _PILLOW[filter_name])
    return np.asarray(rows.resize((width, height), _PILLOW[filter_name]))


def enlarge_image(image: Rgb, scale: int, filter_name: FilterName) -> Rgb:
    """Enlarge (h, w, 3) to (h*scale, w*scale, 3)."""
    return resize_image(image, image.shape[1] * scale, image.shape[0] * scale, filter_name)


def shrink_image(image: Rgb, scale: int, filter_name: FilterName) -> Rgb:
    """Shrink (h*scale, w*scale, 3) to (h, w, 3). Both sides must be multiples of the scale."""
    if scale == 1:
        return image
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"{width} x {height} px is not a multiple of {scale}")
    return resize_image(image, width // scale, height // scale, filter_name)


def round_to_uint8(image: FloatLines) -> Rgb:
    """Round grey levels to whole numbers; ties go up, independent of the last bit of a sum."""
    return np.floor(np.clip(image, 0, 255) + (0.5 + 1e-6)).astype(np.uint8)


def average_between_edges(lines: FloatLines, edges: AxisPositions) -> FloatLines:
    """Average along the first axis between consecutive edges: (n, ...) to (len(edges)-1, ...).

    A pixel cut by an edge is weighted by the part inside; Pillow's box filter counts it whole or not at all.
    """
    # The last edge may lie at the end of the image, where no pixel begins.
    whole = np.minimum(np.floor(edges).astype(int), len(lines) - 1)
    sums = np.concatenate([np.zeros_like(lines[:1]), np.cumsum(lines, axis=0)])
    fractions = (edges - whole).reshape(-1, *[1] * (lines.ndim - 1))
    cumulative = sums[whole] + fractions * lines[whole]
    widths = np.diff(edges).reshape(-1, *[1] * (lines.ndim - 1))
    return np.asarray(np.diff(cumulative, axis=0) / widths)


def interpolate_cubic(lines: FloatLines, centres: AxisPositions, first: int = 0) -> FloatLines:
    """Interpolate along the first axis at positions between pixel centres, bicubic (a = -0.5): (n, ...) to
    (len(centres), ...).

    Positions are counted from an origin `first` px before the first line, so that a position has the same weights to
    the last bit wherever the lines begin. Beyond the ends, the last line is repeated.
    """
    whole = np.floor(centres).astype(int)
    fraction = (centres - whole).reshape(-1, *[1] * (lines.ndim - 1))
    taps = (lines[np.clip(whole + tap - first, 0, len(lines) - 1)] for tap in (-1, 0, 1, 2))
    weights = (_far(1 + fraction), _near(fraction), _near(1 - fraction), _far(2 - fraction))
    return np.asarray(sum(weight * tap for weight, tap in zip(weights, taps, strict=True)))


def _cubic(distances: FloatLines) -> FloatLines:
    """Return Keys' cubic kernel (a = -0.5) at distances in px of at least 0."""
    return np.where(distances < 1, _near(distances), np.where(distances < 2, _far(distances), 0.0))


def cubic_weights(scale: int) -> FloatLines:
    """Return (scale, 5): for each enlarged pixel within an input pixel, the weights of the 5 inputs around it."""
    positions = (np.arange(scale) + 0.5) / scale - 0.5
    return _cubic(np.abs(positions[:, None] - np.arange(-CUBIC_RADIUS, CUBIC_RADIUS + 1)))


def _near(distance: FloatLines) -> FloatLines:
    """Return Keys' cubic kernel at distances of up to 1 px."""
    return (1.5 * distance - 2.5) * distance**2 + 1


def _far(distance: FloatLines) -> FloatLines:
    """Return Keys' cubic kernel at distances of 1 to 2 px."""
    return ((-0.5 * distance + 2.5) * distance - 4) * distance + 2


def halve_image(image: Rgb) -> Rgb:
    """Average 2x2 px, rounding half up: (h, w, 3) to (ceil(h/2), ceil(w/2), 3); odd last rows are repeated."""
    import cv2  # noqa: PLC0415 - training has to run without OpenCV

    even = pad_by_repetition(image, image.shape[0] % 2, image.shape[1] % 2)
    return np.asarray(cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA))


def pad_by_repetition(image: Rgb, below: int, right: int) -> Rgb:
    """Repeat the last row and column: (h, w, 3) to (h+below, w+right, 3). `np.pad` takes several times as long."""
    import cv2  # noqa: PLC0415

    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)) if below or right else image
