"""Pillow's bicubic at x2 and x4, to the last grey level, in a third of its time and with other threads free to work.

At these scales every weight is a multiple of 1/1024, so that sums of eight-bit pixels are exact in single precision;
OpenCV's filters do them. Pillow rounds half up, after the columns and again after the rows.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.pixels import CUBIC_REACH, Rgb, enlarge, resize, taps

EXACT = (2, 4)
"""Scales at which it is the same."""

_UP = 2.0**-12
"""Less than any two sums differ by; with it OpenCV, which rounds half to even, rounds half up."""


def bicubic(image: Rgb, scale: int) -> Rgb:
    """(h, w, 3) to (h*scale, w*scale, 3), as `wsisr.pixels.enlarge` does; other scales, and narrow images, by it."""
    if scale not in EXACT or min(image.shape[:2]) < 2 * CUBIC_REACH:
        return enlarge(image, scale, "bicubic")
    return _heightened(_turned(_heightened(_turned(image), scale)), scale)


def _heightened(image: Rgb, scale: int) -> Rgb:
    """(h, w, 3) to (h*scale, w, 3)."""
    tall = np.empty((image.shape[0] * scale, *image.shape[1:]), np.uint8)
    for phase, weights in enumerate(_phases(scale)):
        tall[phase::scale] = cv2.filter2D(image, -1, weights, delta=_UP)
    border = CUBIC_REACH * scale  # beyond it Pillow leaves weights out
    tall[:border] = _by_pillow(image[: 2 * CUBIC_REACH], scale)[:border]
    tall[-border:] = _by_pillow(image[-2 * CUBIC_REACH :], scale)[-border:]
    return tall


def _by_pillow(rows: Rgb, scale: int) -> Rgb:
    return resize(rows, rows.shape[1], rows.shape[0] * scale, "bicubic")


def _turned(image: Rgb) -> Rgb:
    return np.asarray(cv2.transpose(image))


@lru_cache
def _phases(scale: int) -> tuple[npt.NDArray[np.float32], ...]:
    """(5, 1) each: the weights of the rows around one, for each of the rows that it becomes."""
    return tuple(weights[:, None] for weights in taps(scale).astype(np.float32))
