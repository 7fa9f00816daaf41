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

CELL_FEATURE_NAMES = ("contrast", "detail", "distance", "consistency", "sharpness", "density")
"""Names of the features of a cell alone.

Root mean squares in grey levels over a cell and its colours: of the slide's pixels from their mean; of the slide's
pixels from the mean of their 3 x 3; of the result from bicubic; of the result, averaged back, from the slide; of the
result's pixels from the mean of their 3 x 3. Last, how much darker than white the slide is.
"""

SMOOTHED_NAMES = ("contrast", "distance", "consistency", "sharpness")
"""Features that are also averaged, geometrically, over 3 x 3 cells: one cell alone tells its error less surely."""

FEATURE_NAMES = (*CELL_FEATURE_NAMES, *(f"{name} around" for name in SMOOTHED_NAMES))
"""Names of all features, in their order; calibrations hold numbers for each."""

FEATURE_RADIUS_PX = CELL_PX + CUBIC_RADIUS
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
    """Return the features of a part of a slide (h, w, 3) and of its result (h*scale, w*scale, 3): (h/8, w/8, 10).

    Both sides must be multiples of 8. Cells at the edge see `FEATURE_RADIUS_PX` less than those inside.
    """
    scale = high.shape[0] // low.shape[0]
    means = _average_cells(low.astype(np.float32), CELL_PX)
    of_cells = [
        _measure_distance(low, np.repeat(np.repeat(means, CELL_PX, 0), CELL_PX, 1), CELL_PX),
        _measure_distance(low, _average_around(low), CELL_PX),
        _measure_distance(high, enlarge_bicubic(low, scale), CELL_PX * scale),
        _measure_distance(low, average_blocks(high, scale), CELL_PX),
        _measure_distance(high, _average_around(high), CELL_PX * scale),
        255 - means.mean(axis=2),
    ]
    features = np.stack(of_cells, axis=-1).astype(np.float32)
    smoothed = [CELL_FEATURE_NAMES.index(name) for name in SMOOTHED_NAMES]
    around = np.exp(_average_around(np.log(features[..., smoothed] + FLOOR))) - np.float32(FLOOR)
    return np.concatenate([features, around], axis=-1)


def find_light_cells(features: CellFeatures) -> npt.NDArray[np.bool_]:
    """Return which cells are lighter than any tissue, (rows, columns)."""
    return np.asarray(features[..., FEATURE_NAMES.index("density")] < LIGHTEST_TISSUE)


def measure_cell_errors(high: Rgb, truth: Rgb, scale: int) -> CellPlane:
    """Return the root mean square error of each cell in grey levels: (h*scale, w*scale, 3) to (h/8, w/8)."""
    return _measure_distance(high, truth, CELL_PX * scale)


def _average_around(planes: Rgb | _Planes) -> _Planes:
    return np.asarray(cv2.boxFilter(planes, cv2.CV_32F, (3, 3), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _average_cells(planes: _Planes, side: int) -> _Planes:
    """Average over cells: (h, w, 3) to (h/side, w/side, 3)."""
    size = planes.shape[1] // side, planes.shape[0] // side
    return np.asarray(cv2.resize(planes, size, interpolation=cv2.INTER_AREA), np.float32)


def _measure_distance(image: Rgb, other: Rgb | _Planes, side: int) -> CellPlane:
    """Return the root mean square over cells and colours of what two images differ by."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    parts = cv2.subtract(image, other, dtype=cv2.CV_32F).reshape(rows, side, columns * side * 3)
    sums = np.einsum("rsx,rsx->rx", parts, parts).reshape(rows, columns, side * 3).sum(axis=2)
    return np.asarray(np.sqrt(sums / (side * side * 3)), np.float32)
