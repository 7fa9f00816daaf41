"""Stain augmentation: the optical density of each colour channel times a random factor near 1.

Stains add up in optical density, so glass stays glass. Per channel rather than per stain, because the stains of a slide
are not known here: this project's choice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb

StainTable = npt.NDArray[np.uint8]
"""(256, 3): lookup table from each value of each channel to its new value."""


def draw_stain_table(strength: float, random: np.random.Generator) -> StainTable:
    """Return a table that multiplies each channel's density by a random factor from exp(-strength) to exp(strength)."""
    factors = np.exp(random.uniform(-strength, strength, 3))
    density = -np.log((np.arange(256)[:, None] + 1) / 256)  # 0 for white, finite for black
    table: StainTable = np.rint(256 * np.exp(-density * factors) - 1).clip(0, 255).astype(np.uint8)
    return table


def apply_stain_table(image: Rgb, table: StainTable | None) -> Rgb:
    """(h, w, 3) to (h, w, 3) through the table; unchanged without one."""
    return image if table is None else np.stack([table[image[..., c], c] for c in range(3)], axis=-1)
