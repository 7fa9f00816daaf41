"""Pixel arrays and their resampling.

Images are sRGB uint8, channels last. Pixel centres are at halves: x_fine + 1/2 = s (x_coarse + 1/2).

The rule of every area mean, in runs, stored levels, datasets and evaluation alike: the exact mean of pixels, rounded
once, ties to even. So no image gets lighter or darker by being shrunk. Rounding ties up would add an eighth of a grey
level at each halving, and Pillow's box filter, which also rounds between rows and columns, half a grey level.
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
"""Filters that shrink."""

PillowFilter: TypeAlias = Literal["bicubic", "lanczos"]
"""Filters that enlarge, too, computed by Pillow."""

_PILLOW = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


AxisPositions: TypeAlias = npt.NDArray[np.floating[Any]]
"""Ascending positions along one axis: edges or centres of one image's pixels, in px of another image."""

FloatLines: TypeAlias = npt.NDArray[np.float64]
"""(n, ...) unrounded grey levels: the rows or the columns of an image."""

WHITE = 255
"""Value of all channels that readers return for parts of a slide without pixels."""

CUBIC_RADIUS, LANCZOS_RADIUS = 2, 3
"""Support in input px on each side, of the cubic kernel and of Lanczos with three lobes: a crop with that much around
it is enlarged exactly as the whole image is."""


MAX_UINT16_FACTOR = 16
"""Largest factor whose square times 255 a 16-bit sum can hold."""

TIE_GRID = 2.0**20
"""Steps of a grey level to which sums are rounded before ties are looked for."""


def resize_image(image: Rgb, width: int, height: int, filter_name: PillowFilter) -> Rgb:
    """Resample (h, w, 3) to (height, width, 3) with Pillow's filters.

    They are antialiased when shrinking, and bicubic has a = -0.5. Rows are resampled first, in a call of their own:
    Pillow 13 starts with the columns if an image is more than twice as high as wide, and rounds in between, so that a
    narrow crop of an image would differ from the image by a grey level.
    """
    rows = Image.fromarray(image).resize((width, image.shape[0]), _PILLOW[filter_name])
    return np.asarray(rows.resize((width, height), _PILLOW[filter_name]))


def enlarge_image(image: Rgb, scale: int, filter_name: PillowFilter) -> Rgb:
    """Enlarge (h, w, 3) to (h*scale, w*scale, 3)."""
    return resize_image(image, image.shape[1] * scale, image.shape[0] * scale, filter_name)


def shrink_image(image: Rgb, scale: int, filter_name: FilterName) -> Rgb:
    """Shrink (h*scale, w*scale, 3) to (h, w, 3). Both sides must be multiples of the scale."""
    if scale == 1:
        return image
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"{width} x {height} px is not a multiple of {scale}")
    if filter_name == "area":
        return average_blocks(image, scale)
    return resize_image(image, width // scale, height // scale, filter_name)


def average_blocks(image: Rgb, factor: int) -> Rgb:
    """Average blocks of factor x factor px by the rule of area means: (h*factor, w*factor, 3) to (h, w, 3)."""
    if factor == 2:
        return _average_quads(image)
    height, width = image.shape[0] // factor, image.shape[1] // factor
    is_small = factor <= MAX_UINT16_FACTOR
    rows = image[::factor].astype(np.uint16 if is_small else np.uint32)
    for row in range(1, factor):
        np.add(rows, image[row::factor], out=rows)
    columns = rows.reshape(height, width, factor, 3)
    sums = columns[:, :, 0].copy()
    for column in range(1, factor):
        np.add(sums, columns[:, :, column], out=sums)
    # A quotient that ends in one half is exact in any precision, and no other one comes near enough to be taken for it.
    return np.asarray(np.rint(np.divide(sums, factor**2, dtype=np.float32 if is_small else np.float64)), np.uint8)


def _average_quads(image: Rgb) -> Rgb:
    """Average 2 x 2 px, ties to even: (2h, 2w, 3) to (h, w, 3).

    OpenCV rounds ties up, and so down on the negative. Where both differ there is a tie, and one of them is even.
    """
    import cv2  # noqa: PLC0415 - most commands need none

    size = image.shape[1] // 2, image.shape[0] // 2
    up = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    down = np.asarray(cv2.bitwise_not(cv2.resize(cv2.bitwise_not(image), size, interpolation=cv2.INTER_AREA)), np.uint8)
    return np.asarray(up - (up & (up - down)), np.uint8)


def shrink_to_size(image: Rgb, width: int, height: int) -> Rgb:
    """Shrink (h, w, 3) to (height, width, 3) by the rule of area means; the factors need not be whole numbers.

    OpenCV's weights are single precision, so that a tie may go to odd where a factor is a fraction;
    `wsisr.imaging.resampling` is exact there, too, and takes fifteen times as long.
    """
    import cv2  # noqa: PLC0415

    factor = image.shape[0] // height
    if image.shape[:2] == (height * factor, width * factor):
        return average_blocks(image, factor)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def round_to_uint8(image: FloatLines) -> Rgb:
    """Round grey levels to whole numbers; ties go to even, independent of the last bits of a sum."""
    return np.rint(np.rint(np.clip(image, 0, 255) * TIE_GRID) / TIE_GRID).astype(np.uint8)


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
    """Average 2x2 px: (h, w, 3) to (ceil(h/2), ceil(w/2), 3); odd last rows and columns are repeated."""
    return average_blocks(pad_by_repetition(image, image.shape[0] % 2, image.shape[1] % 2), 2)


def pad_by_repetition(image: Rgb, below: int, right: int) -> Rgb:
    """Repeat the last row and column: (h, w, 3) to (h+below, w+right, 3). `np.pad` takes several times as long."""
    import cv2  # noqa: PLC0415

    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)) if below or right else image
