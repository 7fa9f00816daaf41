"""What a patch is worth: contrast, focus, and a fingerprint by which patches that look alike are found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from wsisr.imaging.pixels import Rgb

GreyImage = npt.NDArray[np.float32]

_NOISE_GREY_LEVELS = 1.0
"""Grey levels that noise and compression add to the finest detail of any patch, about; they are no focus."""


def to_grey(image: Rgb) -> GreyImage:
    """(h, w, 3) to (h, w)."""
    return np.asarray(image.mean(axis=2, dtype=np.float32))


def measure_contrast(image: Rgb) -> float:
    """Standard deviation of grey, in grey levels."""
    return float(to_grey(image).std())


def measure_focus(image: Rgb) -> float:
    """Share of the contrast that is detail of one or two px: the change over 2 px above its noise, by the contrast.

    A patch in focus has some 0.3 to 0.8, the more the coarser its pitch; a blur of 2 px leaves half of it.
    """
    grey = to_grey(image)
    across, down = grey[:, 2:] - grey[:, :-2], grey[2:] - grey[:-2]
    change = float((across**2).mean() + (down**2).mean()) / 2
    spread = float(grey.var())
    return float(np.sqrt(max(change - 2 * _NOISE_GREY_LEVELS**2, 0.0) / (2 * spread))) if spread > 0 else 0.0


def compute_fingerprint(image: Rgb) -> str:
    """64 bits in hex: whether each of 8 x 8 fields is darker than its right neighbour (Krawetz' dHash)."""
    small = np.asarray(Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)).astype(int)
    return np.packbits(small[:, :-1] < small[:, 1:]).tobytes().hex()
