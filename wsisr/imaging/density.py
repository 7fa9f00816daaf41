"""Optical density: the natural logarithm of how often less light a pixel has than white. Stains add up in it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb

DensityMatrix: TypeAlias = npt.NDArray[np.float32]
"""(3, 3): old densities of red, green and blue, as a column, to the new ones."""

_DENSITY = -np.log((np.arange(256) + 1) / 256)
"""Density of each value: 0 for white, finite for black."""


def change_densities(image: Rgb, matrix: DensityMatrix) -> Rgb:
    """(h, w, 3) to (h, w, 3) with other optical densities, rounded to 8 bits."""
    if np.array_equal(matrix, np.diag(np.diag(matrix))):
        tables = np.rint(256 * np.exp(-_DENSITY * np.diag(matrix)[:, None]) - 1).clip(0, 255).astype(np.uint8)
        return np.stack([table[image[..., channel]] for channel, table in enumerate(tables)], axis=-1)
    import cv2  # noqa: PLC0415 - as in wsisr.imaging.pixels

    densities = cv2.transform(cv2.LUT(image, _DENSITY.astype(np.float32)[None]), matrix)
    light = np.asarray(cv2.exp(np.negative(densities)))
    return np.asarray(np.rint(light * 256 - 1).clip(0, 255), np.uint8)


def scale_density(image: Rgb, factor: float) -> Rgb:
    """(h, w, 3) to (h, w, 3) with all densities times a factor: below 1 faded, above 1 darker."""
    return image if factor == 1 else change_densities(image, factor * np.eye(3, dtype=np.float32))
