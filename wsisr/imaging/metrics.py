"""Similarity of two images: PSNR and SSIM. Images are uint8 sRGB of one shape; the three channels weigh the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb

Float32Array = npt.NDArray[np.float32]

UNSCORED_BORDER_PX = 8
"""High-resolution px at the edges of a level that are left out of every score."""

SSIM_RADIUS_PX = 5
"""Pixels on each side of a pixel on which its structural similarity depends."""

_TAPS = np.exp(-0.5 * (np.arange(-SSIM_RADIUS_PX, SSIM_RADIUS_PX + 1) / 1.5) ** 2)
_GAUSS = (_TAPS / _TAPS.sum()).astype(np.float32)

_C1, _C2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)

_MID_GREY = np.float32(128)
"""Subtracted from every value before squaring: else a float32 variance is not exact to 1e-3 squared grey levels."""

_VALUES_PER_STRIP = 100_000
"""Values processed at a time: strips that fit the CPU cache are four times as fast as whole images."""


def square_differences(image: Rgb, truth: Rgb) -> Float32Array:
    """Return (h, w, 3) in squared grey levels: whole numbers, so that their float64 sum is exact in any order."""
    difference = image.astype(np.float32) - truth.astype(np.float32)
    return difference * difference


def mean_squared_error(image: Rgb, truth: Rgb) -> float:
    """Return the mean squared difference in squared grey levels."""
    return float(np.mean(square_differences(image, truth), dtype=np.float64))


def compute_psnr(image: Rgb, truth: Rgb) -> float:
    """Return the peak signal-to-noise ratio in dB for a peak of 255; infinite for equal images."""
    return psnr_from_error(mean_squared_error(image, truth))


def psnr_from_error(squared_error: float) -> float:
    """Convert a mean squared error in squared grey levels to dB."""
    return float("inf") if squared_error == 0 else float(10 * np.log10(255**2 / squared_error))


def compute_ssim(image: Rgb, truth: Rgb) -> float:
    """Return the structural similarity, averaged over channels and pixels, exact to 1e-6. Sides are at least 11 px.

    Source: Wang et al. 2004: Gaussian window of 11 px with sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, borders left out.
    """
    return sum_ssim([image], truth)[0] / count_ssim_windows(truth)


def count_ssim_windows(truth: Rgb) -> int:
    """Count the 11 px windows that lie inside an image, times three channels."""
    height, width = truth.shape[:2]
    windows: int = max(0, height - 2 * SSIM_RADIUS_PX) * max(0, width - 2 * SSIM_RADIUS_PX)
    return 3 * windows


def sum_ssim(images: Sequence[Rgb], truth: Rgb) -> list[float]:
    """Sum the structural similarity over windows and channels, for each of several images of one truth.

    A window's value does not depend on the rest of the image: sums over adjacent parts add up to that of the whole.
    """
    height, width = truth.shape[:2]
    totals = [0.0] * len(images)
    if count_ssim_windows(truth) == 0:
        return totals
    step = max(8, _VALUES_PER_STRIP // (3 * width))
    for top in range(0, height - 2 * SSIM_RADIUS_PX, step):
        rows = slice(top, top + step + 2 * SSIM_RADIUS_PX)
        for number, ssim_map in enumerate(_ssim_maps([image[rows] for image in images], truth[rows])):
            totals[number] += float(np.sum(ssim_map, dtype=np.float64))
    return totals


def _ssim_maps(images: Sequence[Rgb], truth: Rgb) -> list[Float32Array]:
    """Map each (h, w, 3) to (h-10, 3 (w-10)): one value for each window and channel."""
    y = _interleave_channels(truth)
    mean_y, var_y = _window_moments(y)
    maps = []
    for image in images:
        x = _interleave_channels(image)
        mean_x, var_x = _window_moments(x)
        difference = x - y
        var_difference = _average_windows(difference * difference) - (mean_x - mean_y) ** 2
        maps.append(_ssim_map((mean_x, mean_y), var_x + var_y, var_difference))
    return maps


def _window_moments(values: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return the mean and the variance in each window."""
    mean = _average_windows(values)
    return mean, _average_windows(values * values) - mean * mean


def _ssim_map(
    means: tuple[Float32Array, Float32Array], variances: Float32Array, var_difference: Float32Array
) -> Float32Array:
    """Return the structural similarity of each window from its moments.

    The identity 2ab = a^2 + b^2 - (a-b)^2 turns both factors of the paper into 1 minus a small term, so that float32
    rounds only the small term; with the paper's own form, rounding shows in the fifth digit.
    """
    x, y = means[0] + _MID_GREY, means[1] + _MID_GREY
    luminance_loss: Float32Array = np.divide((x - y) ** 2, x * x + y * y + _C1)
    structure_loss: Float32Array = np.divide(var_difference, variances + _C2)
    return (1 - luminance_loss) * (1 - structure_loss)


def _interleave_channels(image: Rgb) -> Float32Array:
    """Reshape (h, w, 3) to (h, 3w), centred on 0: the next pixel of the same channel is three values on."""
    return image.reshape(image.shape[0], -1).astype(np.float32) - _MID_GREY


def _average_windows(values: Float32Array) -> Float32Array:
    """Average under the Gaussian window, whose halves are symmetric: (h, 3w) to (h-10, 3 (w-10)).

    OpenCV 5.0's sepFilter2D is no better: in float32 1.5 times as fast, but the SSIM of tissue is off by up to 3e-7
    instead of 4e-8; in float64 exact, but the whole is 1.3 times as slow (88 patches of the demo slide, one thread).
    """
    height, width = values.shape[0] - 2 * SSIM_RADIUS_PX, values.shape[1] - 6 * SSIM_RADIUS_PX
    rows = values[SSIM_RADIUS_PX : SSIM_RADIUS_PX + height] * _GAUSS[SSIM_RADIUS_PX]
    for i in range(SSIM_RADIUS_PX):
        j = 2 * SSIM_RADIUS_PX - i
        rows += (values[i : i + height] + values[j : j + height]) * _GAUSS[i]
    both: Float32Array = rows[:, 3 * SSIM_RADIUS_PX : 3 * SSIM_RADIUS_PX + width] * _GAUSS[SSIM_RADIUS_PX]
    for i in range(SSIM_RADIUS_PX):
        j = 2 * SSIM_RADIUS_PX - i
        both += (rows[:, 3 * i : 3 * i + width] + rows[:, 3 * j : 3 * j + width]) * _GAUSS[i]
    return both
