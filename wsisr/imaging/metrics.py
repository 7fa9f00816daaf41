"""How alike two images are. Images are uint8 sRGB of the same shape; all three colours count alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb

Floats = npt.NDArray[np.float32]

BORDER_PX = 8
"""High-resolution px at the edges of a level that no score counts."""

SSIM_REACH = 5
"""Pixels on each side of a pixel that its structural similarity depends on."""

_TAPS = np.exp(-0.5 * (np.arange(-SSIM_REACH, SSIM_REACH + 1) / 1.5) ** 2)
_GAUSS = (_TAPS / _TAPS.sum()).astype(np.float32)

_C1, _C2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)

_MIDDLE = np.float32(128)
"""Taken off every value before squaring: in float32 a variance is exact to 1e-3 of a squared grey level only so."""

_STRIP_VALUES = 100_000
"""Values that are worked on at a time: what fits the cache is four times as fast as whole images."""


def squared_differences(image: Rgb, truth: Rgb) -> Floats:
    """(h, w, 3) in squared grey levels. Whole numbers: a float64 sum of them is exact in any order."""
    difference = image.astype(np.float32) - truth.astype(np.float32)
    return difference * difference


def squared_error(image: Rgb, truth: Rgb) -> float:
    """Mean squared difference in squared grey levels."""
    return float(np.mean(squared_differences(image, truth), dtype=np.float64))


def psnr(image: Rgb, truth: Rgb) -> float:
    """Peak signal-to-noise ratio in dB, peak 255; infinite for equal images."""
    return psnr_of(squared_error(image, truth))


def psnr_of(error: float) -> float:
    """Mean squared error in squared grey levels to dB."""
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(image: Rgb, truth: Rgb) -> float:
    """Structural similarity, mean over colours and pixels, exact to 1e-6. Sides are at least 11 px.

    Source: Wang et al. 2004: Gaussian window of 11 px with sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, borders left out.
    """
    return ssim_sums([image], truth)[0] / ssim_count(truth)


def ssim_count(truth: Rgb) -> int:
    """Windows that lie inside an image, times three colours."""
    height, width = truth.shape[:2]
    windows: int = max(0, height - 2 * SSIM_REACH) * max(0, width - 2 * SSIM_REACH)
    return 3 * windows


def ssim_sums(images: Sequence[Rgb], truth: Rgb) -> list[float]:
    """Sum of the structural similarity over windows and colours, for each of several images of one truth.

    What one window contributes does not depend on the rest of the image: sums over abutting parts add up to the whole.
    """
    height, width = truth.shape[:2]
    totals = [0.0] * len(images)
    if ssim_count(truth) == 0:
        return totals
    step = max(8, _STRIP_VALUES // (3 * width))
    for top in range(0, height - 2 * SSIM_REACH, step):
        rows = slice(top, top + step + 2 * SSIM_REACH)
        for number, likeness in enumerate(_likenesses([image[rows] for image in images], truth[rows])):
            totals[number] += float(np.sum(likeness, dtype=np.float64))
    return totals


def _likenesses(images: Sequence[Rgb], truth: Rgb) -> list[Floats]:
    """(h, w, 3) each to (h-10, 3 (w-10)), one value for each window and colour."""
    y = _interleaved(truth)
    mean_y, var_y = _moments(y)
    found = []
    for image in images:
        x = _interleaved(image)
        mean_x, var_x = _moments(x)
        difference = x - y
        var_difference = _blur(difference * difference) - (mean_x - mean_y) ** 2
        found.append(_likeness((mean_x, mean_y), var_x + var_y, var_difference))
    return found


def _moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and variance in each window."""
    mean = _blur(values)
    return mean, _blur(values * values) - mean * mean


def _likeness(means: tuple[Floats, Floats], variances: Floats, var_difference: Floats) -> Floats:
    """2ab = a^2 + b^2 - (a-b)^2 turns both factors of the paper into 1 minus something small.

    So the rounding of float32 weighs only on what is small; with the paper's own form it shows in the fifth digit.
    """
    x, y = means[0] + _MIDDLE, means[1] + _MIDDLE
    light: Floats = np.divide((x - y) ** 2, x * x + y * y + _C1)
    structure: Floats = np.divide(var_difference, variances + _C2)
    return (1 - light) * (1 - structure)


def _interleaved(image: Rgb) -> Floats:
    """(h, w, 3) to (h, 3w): the next pixel of the same colour is three values on."""
    return image.reshape(image.shape[0], -1).astype(np.float32) - _MIDDLE


def _blur(values: Floats) -> Floats:
    """(h, 3w) to (h-10, 3 (w-10)): the mean under the Gaussian window, whose two halves mirror each other."""
    height, width = values.shape[0] - 2 * SSIM_REACH, values.shape[1] - 6 * SSIM_REACH
    rows = values[SSIM_REACH : SSIM_REACH + height] * _GAUSS[SSIM_REACH]
    for i in range(SSIM_REACH):
        j = 2 * SSIM_REACH - i
        rows += (values[i : i + height] + values[j : j + height]) * _GAUSS[i]
    both: Floats = rows[:, 3 * SSIM_REACH : 3 * SSIM_REACH + width] * _GAUSS[SSIM_REACH]
    for i in range(SSIM_REACH):
        j = 2 * SSIM_REACH - i
        both += (rows[:, 3 * i : 3 * i + width] + rows[:, 3 * j : 3 * j + width]) * _GAUSS[i]
    return both
