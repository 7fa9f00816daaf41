"""What slide and result show of the error to expect, in cells of 8 x 8 px of the slide.

Nothing here is learned. The bound is a regression on the logarithms of these features, see
`wsisr.upscaling.trust.predictor`.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.pixels import CUBIC_RADIUS, Rgb, average_blocks

CELL_PX = 8
"""Side of a cell in px of the slide."""

FEATURE_NAMES = ("contrast", "detail", "distance", "consistency", "sharpness", "density")
"""Names of the features, in their order; calibrations hold them.

Root mean squares in grey levels over a cell and its colours: of the slide's pixels from their mean; of the slide's
pixels from the mean of their 3 x 3; of the result from bicubic; of the result, averaged back, from the slide; of the
result's pixels from the mean of their 3 x 3. Last, how much darker than white the slide is.
"""

FEATURE_RADIUS_PX = CUBIC_RADIUS
"""Px of the slide around a cell on which its features depend."""

LIGHTEST_TISSUE = 36.0
"""Grey levels darker than white from which a cell counts as tissue: an optical density of 0.15."""

FLOOR = 0.5
"""Grey levels added before a logarithm is taken, of features and of errors alike: half of what 8 bits can tell."""

CellPlane: TypeAlias = npt.NDArray[np.float32]
"""(rows, columns): one number a cell."""

CellFeatures: TypeAlias = npt.NDArray[np.float32]
"""(rows, columns, features)"""

_Planes: TypeAlias = npt.NDArray[np.float32]


def measure_cell_features(low: Rgb, high: Rgb) -> CellFeatures:
    """Return the features of a part of a slide (h, w, 3) and of its result (h*scale, w*scale, 3): (h/8, w/8, 6).

    Both sides must be multiples of 8. Cells at the edge see `FEATURE_RADIUS_PX` less than those inside.
    """
    shown, result, scale = low.astype(np.float32), high.astype(np.float32), high.shape[0] // low.shape[0]
    spread = np.sqrt(_average_cells(shown**2, CELL_PX) - _average_cells(shown, CELL_PX) ** 2 + np.float32(1e-3))
    features = [
        np.sqrt((spread**2).mean(axis=2)),
        _root_mean_square(shown - _average_around(shown), CELL_PX),
        _root_mean_square(result - enlarge_bicubic(low, scale), CELL_PX * scale),
        _root_mean_square(shown - average_blocks(high, scale), CELL_PX),
        _root_mean_square(result - _average_around(result), CELL_PX * scale),
        255 - _average_cells(shown, CELL_PX).mean(axis=2),
    ]
    return np.stack(features, axis=-1).astype(np.float32)


def find_light_cells(features: CellFeatures) -> npt.NDArray[np.bool_]:
    """Return which cells are lighter than any tissue, (rows, columns)."""
    return np.asarray(features[..., FEATURE_NAMES.index("density")] < LIGHTEST_TISSUE)


def measure_cell_errors(high: Rgb, truth: Rgb, scale: int) -> CellPlane:
    """Return the root mean square error of each cell in grey levels: (h*scale, w*scale, 3) to (h/8, w/8)."""
    return _root_mean_square(high.astype(np.float32) - truth, CELL_PX * scale)


def _average_around(planes: _Planes) -> _Planes:
    return np.asarray(cv2.blur(planes, (3, 3), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _average_cells(planes: _Planes, side: int) -> _Planes:
    """Average over cells: (h, w, 3) to (h/side, w/side, 3)."""
    size = planes.shape[1] // side, planes.shape[0] // side
    return np.asarray(cv2.resize(planes, size, interpolation=cv2.INTER_AREA), np.float32)


def _root_mean_square(planes: _Planes, side: int) -> CellPlane:
    squares = np.asarray(cv2.multiply(planes, planes), np.float32)
    return np.asarray(np.sqrt(_average_cells(squares, side).mean(axis=2)), np.float32)
