"""How alike two images are. Images are uint8 sRGB of the same shape; all three colours count alike."""

from __future__ import annotations

import numpy as np

from wsisr.pixels import Rgb


def squared_error(image: Rgb, truth: Rgb) -> float:
    """Mean squared difference in squared grey levels."""
    difference = image.astype(np.float32) - truth.astype(np.float32)
    return float(np.mean(difference * difference, dtype=np.float64))


def psnr(image: Rgb, truth: Rgb) -> float:
    """Peak signal-to-noise ratio in dB, peak 255; infinite for equal images."""
    return psnr_of(squared_error(image, truth))


def psnr_of(error: float) -> float:
    """Mean squared error in squared grey levels to dB."""
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(image: Rgb, truth: Rgb) -> float:
    """Structural similarity, mean over colours and pixels.

    Source: Wang et al. 2004: Gaussian window of 11 px with sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, borders left out.
    """
    return float(np.mean([_ssim_plane(image[..., c], truth[..., c]) for c in range(3)]))


def _ssim_plane(image: Rgb, truth: Rgb) -> float:
    x, y = image.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def _blur(plane: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(h, w) to (h-10, w-10)."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()
    height, width = plane.shape
    rows = sum(tap * plane[i : height - 10 + i] for i, tap in enumerate(taps))
    return np.asarray(sum(tap * rows[:, i : width - 10 + i] for i, tap in enumerate(taps)))  # type: ignore[index]
