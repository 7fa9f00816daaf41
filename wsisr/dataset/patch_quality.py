"""Measures of a patch: contrast, focus, and a fingerprint for finding near-duplicates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from wsisr.imaging.pixels import Rgb

GreyImage = npt.NDArray[np.float32]

_NOISE_GREY_LEVELS = 1.0
"""Approximate noise and compression error in the finest detail of any patch; it must not count as focus."""


def to_grey(image: Rgb) -> GreyImage:
    """Convert (h, w, 3) to the mean of its channels, (h, w)."""
    return np.asarray(image.mean(axis=2, dtype=np.float32))


def measure_contrast(image: Rgb) -> float:
    """Return the standard deviation of grey, in grey levels."""
    return float(to_grey(image).std())


def measure_focus(image: Rgb) -> float:
    """Return the share of the contrast that is detail of 1 or 2 px: differences over 2 px, less noise, by contrast.

    A patch in focus has about 0.3 to 0.8, more at coarser pixel sizes; a blur of 2 px halves it.
    """
    grey = to_grey(image)
    differences_x, differences_y = grey[:, 2:] - grey[:, :-2], grey[2:] - grey[:-2]
    detail = float((differences_x**2).mean() + (differences_y**2).mean()) / 2
    # A difference of two px has twice the variance of their noise.
    variance = float(grey.var())
    return float(np.sqrt(max(detail - 2 * _NOISE_GREY_LEVELS**2, 0.0) / (2 * variance))) if variance > 0 else 0.0


def compute_fingerprint(image: Rgb) -> str:
    """Return 64 bits in hex: for each of 8 x 8 fields, whether its right neighbour is brighter (Krawetz' dHash)."""
    small = np.asarray(Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)).astype(int)
    return np.packbits(small[:, :-1] < small[:, 1:]).tobytes().hex()
