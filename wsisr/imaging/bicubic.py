"""Pillow's bicubic at x2 and x4, equal in every pixel, in a fifth of Pillow's time and without holding the GIL.

At these scales every weight is a multiple of 1/1024, so sums of 8-bit pixels are exact in single precision and OpenCV's
filters can compute them. Pillow rounds half up, once after the rows and again after the columns.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import CUBIC_RADIUS, Rgb, cubic_weights, enlarge_image, resize_image

EXACT_SCALES = (2, 4)
"""Scales at which the result equals Pillow's in every pixel."""

_TIE_OFFSET = 2.0**-12
"""Smaller than the difference of any two sums: with it OpenCV, which rounds half to even, rounds half up."""


def enlarge_bicubic(image: Rgb, scale: int) -> Rgb:
    """Enlarge (h, w, 3) to (h*scale, w*scale, 3); other scales and narrow images go to `enlarge_image`."""
    if scale not in EXACT_SCALES or min(image.shape[:2]) < 2 * CUBIC_RADIUS:
        return enlarge_image(image, scale, "bicubic")
    return _heighten(_widen(image, scale), scale)


def _widen(image: Rgb, scale: int) -> Rgb:
    """Enlarge the width: (h, w, 3) to (h, w*scale, 3)."""
    height, width = image.shape[:2]
    phases = [cv2.filter2D(image, -1, weights, delta=_TIE_OFFSET) for weights in _phase_weights(scale)]
    wide: Rgb = np.asarray(cv2.merge(phases), np.uint8).reshape(height, width * scale, 3)
    _recompute_ends(wide, image, scale)
    return wide


def _heighten(image: Rgb, scale: int) -> Rgb:
    """Enlarge the height: (h, w, 3) to (h*scale, w, 3)."""
    tall = np.empty((image.shape[0] * scale, *image.shape[1:]), np.uint8)
    for phase, weights in enumerate(_phase_weights(scale)):
        cv2.filter2D(image, -1, weights.T, dst=tall[phase::scale], delta=_TIE_OFFSET)
    _recompute_ends(tall.swapaxes(0, 1), image.swapaxes(0, 1), scale)
    return tall


def _recompute_ends(wide: Rgb, image: Rgb, scale: int) -> None:
    """Compute both ends of a widened image anew with Pillow, in place."""
    # Beyond a border Pillow drops weights and renormalises the rest; OpenCV knows no such border mode.
    source_px, border_px = 2 * CUBIC_RADIUS, CUBIC_RADIUS * scale
    left, right = (np.s_[:, :border_px], np.s_[:, :source_px]), (np.s_[:, -border_px:], np.s_[:, -source_px:])
    for border, source in (left, right):
        wide[border] = resize_image(image[source], source_px * scale, len(image), "bicubic")[border]


@lru_cache
def _phase_weights(scale: int) -> tuple[npt.NDArray[np.float32], ...]:
    """Return for each enlarged pixel within an input pixel the weights (1, 5) of the five input pixels around."""
    return tuple(weights[None] for weights in cubic_weights(scale).astype(np.float32))
