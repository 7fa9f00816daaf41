"""Fourier ring correlation of an image with a truth: up to which frequency the two show the same structure.

Source: Saxton and Baumeister, J. Microscopy 127 (1982), 127. The grey levels (mean of the colours) of windows of 128
px, less their mean, are multiplied by a Hann window along both axes and transformed; cross and auto powers are summed
over all windows before they are divided, ring by ring. The threshold is 0.5, which suits a reference without noise of
its own: that of 1/7 is for two halves of the same noisy data, of which each corresponds to 0.5 against the truth
(Rosenthal and Henderson, J. Mol. Biol. 333 (2003), 721).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb

RING_WINDOW_PX = 128
"""Side of a window; rings are 1/128 cycles per px wide."""

RING_COUNT = RING_WINDOW_PX // 2
"""Rings from 1/128 cycles per px to 1/2, the Nyquist frequency."""

CORRELATION_THRESHOLD = 0.5
"""Correlation below which structure counts as not resolved."""

FIRST_RING = 2
"""Ring from which on the threshold is looked for; the window mixes the first one with the mean."""

SMOOTHED_RINGS = 3
"""Neighbouring rings that are averaged before they are compared with the threshold."""

Float64Array = npt.NDArray[np.float64]

Spectra = npt.NDArray[np.complexfloating[Any, Any]]
"""(n, 128, 65): half of the Fourier transform of each window."""


@dataclass(frozen=True, slots=True)
class RingCorrelation:
    """Correlation of an image with its truth, by ring."""

    values: tuple[float, ...]
    """-1 to 1, of frequencies of 1/128, 2/128, ... 64/128 cycles per px."""

    @property
    def cutoff(self) -> float:
        """Frequency in cycles per px at which the correlation first falls below the threshold; 1/2 if it never does."""
        smooth = np.convolve(np.pad(self.values, SMOOTHED_RINGS // 2, "edge"), np.ones(SMOOTHED_RINGS), "valid")
        smooth /= SMOOTHED_RINGS
        start = FIRST_RING - 1
        below = np.flatnonzero(smooth[start:] < CORRELATION_THRESHOLD)
        if not below.size:
            return 0.5
        ring = start + int(below[0])
        if ring == start:
            return (ring + 1) / RING_WINDOW_PX
        step = (smooth[ring - 1] - CORRELATION_THRESHOLD) / (smooth[ring - 1] - smooth[ring])
        return float((ring + step) / RING_WINDOW_PX)

    def resolution_um(self, mpp: float) -> float:
        """Return the period of the cutoff, in um, for pixels of `mpp` um; 2 px is the finest that pixels can show."""
        return mpp / self.cutoff


class RingAccumulator:
    """Sums up the powers of several images and their truth over windows. Memory: one number for each ring."""

    def __init__(self, images: int) -> None:
        self._cross = np.zeros((images, RING_COUNT + 1))
        self._power = np.zeros((images, RING_COUNT + 1))
        self._truth_power = np.zeros(RING_COUNT + 1)

    def add(self, images: Sequence[Rgb], truth: Rgb) -> None:
        """Add images and their truth, each (h, w, 3), in whole windows; what is left at the right and below is not."""
        if min(truth.shape[:2]) < RING_WINDOW_PX:
            return
        spectra = _transform_windows(truth)
        self._truth_power += _sum_rings(spectra, spectra)
        for number, image in enumerate(images):
            own = _transform_windows(image)
            self._cross[number] += _sum_rings(own, spectra)
            self._power[number] += _sum_rings(own, own)

    def correlate(self) -> list[RingCorrelation] | None:
        """Return the correlation of each image; None if there was no window."""
        if not self._truth_power.any():
            return None
        scale = np.sqrt(self._power * self._truth_power)
        values = np.divide(self._cross, scale, out=np.zeros_like(scale), where=scale > 0)
        return [RingCorrelation(tuple(of_image[1:].tolist())) for of_image in values]


def _transform_windows(image: Rgb) -> Spectra:
    """Return the half spectra of an image's windows: (h, w, 3) to (n, 128, 65)."""
    side = RING_WINDOW_PX
    rows, columns = image.shape[0] // side, image.shape[1] // side
    inside = image[: rows * side, : columns * side]
    grey = inside[..., 0].astype(np.float32) + inside[..., 1] + inside[..., 2]
    windows = grey.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
    taper, _ = _make_taper_and_rings()
    return np.fft.rfft2((windows - windows.mean(axis=(1, 2), keepdims=True)) * taper)


def _sum_rings(first: Spectra, second: Spectra) -> Float64Array:
    """Sum products of half spectra over windows and rings: (n, 128, 65) to (65,), the mean first."""
    _, rings = _make_taper_and_rings()
    products = first.real * second.real + first.imag * second.imag
    total = products.sum(axis=0, dtype=np.float64)
    total[:, 1:-1] *= 2  # the half that is not stored is the same
    return np.asarray(np.bincount(rings.ravel(), weights=total.ravel())[: RING_COUNT + 1], np.float64)


@lru_cache(1)
def _make_taper_and_rings() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the Hann window, (128, 128), and the ring of each frequency of a half spectrum, (128, 65)."""
    line = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(RING_WINDOW_PX) + 0.5) / RING_WINDOW_PX)
    down = np.fft.fftfreq(RING_WINDOW_PX) * RING_WINDOW_PX
    across = np.fft.rfftfreq(RING_WINDOW_PX) * RING_WINDOW_PX
    rings = np.rint(np.hypot(down[:, None], across[None])).astype(np.int64)
    return np.outer(line, line).astype(np.float32), rings
