"""Pillow's bicubic at x2 and x4, to the last grey level, in a fifth of its time and with other threads free to work.

At these scales every weight is a multiple of 1/1024, so that sums of eight-bit pixels are exact in single precision;
OpenCV's filters do them. Pillow rounds half up, after the columns and again after the rows.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import CUBIC_REACH, Rgb, enlarge, resize, taps

EXACT = (2, 4)
"""Scales at which it is the same."""

_UP = 2.0**-12
"""Less than any two sums differ by; with it OpenCV, which rounds half to even, rounds half up."""


def bicubic(image: Rgb, scale: int) -> Rgb:
    """(h, w, 3) to (h*scale, w*scale, 3), as `enlarge` does; other scales, and narrow images, by it."""
    if scale not in EXACT or min(image.shape[:2]) < 2 * CUBIC_REACH:
        return enlarge(image, scale, "bicubic")
    return _heightened(_widened(image, scale), scale)


def _widened(image: Rgb, scale: int) -> Rgb:
    """(h, w, 3) to (h, w*scale, 3)."""
    height, width = image.shape[:2]
    phases = [cv2.filter2D(image, -1, weights, delta=_UP) for weights in _phases(scale)]
    wide: Rgb = np.asarray(cv2.merge(phases), np.uint8).reshape(height, width * scale, 3)
    _end(wide, image, scale)
    return wide


def _heightened(image: Rgb, scale: int) -> Rgb:
    """(h, w, 3) to (h*scale, w, 3)."""
    tall = np.empty((image.shape[0] * scale, *image.shape[1:]), np.uint8)
    for phase, weights in enumerate(_phases(scale)):
        cv2.filter2D(image, -1, weights.T, dst=tall[phase::scale], delta=_UP)
    _end(tall.swapaxes(0, 1), image.swapaxes(0, 1), scale)
    return tall


def _end(wide: Rgb, image: Rgb, scale: int) -> None:
    """Both ends of a widened image by Pillow, which leaves weights out beyond a border."""
    reach, border = 2 * CUBIC_REACH, CUBIC_REACH * scale
    for here, there in (np.s_[:, :border], np.s_[:, :reach]), (np.s_[:, -border:], np.s_[:, -reach:]):
        wide[here] = resize(image[there], reach * scale, len(image), "bicubic")[here]


@lru_cache
def _phases(scale: int) -> tuple[npt.NDArray[np.float32], ...]:
    """(1, 5) each: the weights of the pixels around one, for each of the pixels that it becomes."""
    return tuple(weights[None] for weights in taps(scale).astype(np.float32))
