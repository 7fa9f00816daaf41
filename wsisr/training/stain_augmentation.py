"""Stains a little stronger or weaker, colour by colour: optical densities times factors near 1.

Optical density is what a stain adds up in, so glass stays glass. Per colour rather than per stain, because which stains
a slide has is not known here: this project's choice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb

Table = npt.NDArray[np.uint8]
"""(256, 3): for each value of each colour, what it becomes."""


def jitter(strength: float, random: np.random.Generator) -> Table:
    """Each colour's density times a factor of its own, from exp(-strength) to exp(strength)."""
    factors = np.exp(random.uniform(-strength, strength, 3))
    density = -np.log((np.arange(256)[:, None] + 1) / 256)  # 0 for white, finite for black
    table: Table = np.rint(256 * np.exp(-density * factors) - 1).clip(0, 255).astype(np.uint8)
    return table


def stained(image: Rgb, table: Table | None) -> Rgb:
    """(h, w, 3) to (h, w, 3), through a table; as it is without one."""
    return image if table is None else np.stack([table[image[..., c], c] for c in range(3)], axis=-1)
