"""The bound of a result's error, predicted from what slide and result show, and calibrated by split conformal.

The logarithm of a cell's error is a linear function of the logarithms of its features and of the slide's pixel size,
fitted to cases of the training. How far errors lie above it was then measured on cases that trained nothing
(Papadopoulos et al. 2002; Lei et al. 2018): the bound is the prediction times the factor that 90 of 100 new cells stay
below, if the slide is like those.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from wsisr.errors import ModelError
from wsisr.upscaling.trust.features import FEATURE_NAMES, FLOOR, CellFeatures, CellPlane
from wsisr.upscaling.trust.summary import LARGEST_BOUND, NOT_CALIBRATED

COVERAGE_TENTHS = 9
"""Tenths of new cells that stay below the bound."""

_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Calibration:
    """Facts of a file `NAME.trust.json`; its keys are the fields."""

    model: str
    weights_sha256: str
    scale: int
    coefficients: tuple[float, ...]
    """A constant, those of the features' logarithms in the order of `FEATURE_NAMES`, and that of the pixel size's."""
    factor_logarithm: float
    """Logarithm of the factor on the predicted error."""
    cells: int
    """Cells on which the factor was measured."""
    cases: tuple[str, ...]
    """Cases that these are of."""
    scanners: tuple[str, ...]
    """Models of scanners among them, as `wsisr.slides.scanner` names them."""
    mpp: tuple[float, float]
    """Least and largest pixel size of the slide on which it was measured, in um/px."""
    least: tuple[float, ...]
    """Of each feature, the 0.5th percentile in the calibration, beyond half of which nothing is known."""
    largest: tuple[float, ...]
    """Of each feature, the 99.5th percentile, beyond twice of which nothing is known."""

    def __post_init__(self) -> None:
        if len(self.coefficients) != len(FEATURE_NAMES) + 2 or not len(self.least) == len(self.largest) == len(
            FEATURE_NAMES
        ):
            raise ValueError(f"needs numbers for the features {', '.join(FEATURE_NAMES)}")


@dataclass(frozen=True, slots=True)
class TrustPredictor:
    """A calibration, the digest of its file, and the pixel size of the slide for which it predicts."""

    calibration: Calibration
    sha256: str
    mpp: float
    """um/px of what is upscaled."""

    @classmethod
    def from_file(cls, path: Path, mpp: float) -> Self:
        """Raises `ModelError` if the file is no calibration."""
        try:
            with path.open("rb") as file:
                data = file.read(_LIMIT_BYTES)
            calibration = msgspec.json.decode(data, type=Calibration)
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            raise ModelError(f"{path}: cannot be read as a calibration ({error})") from error
        return cls(calibration, hashlib.sha256(data).hexdigest(), mpp)

    def predict_errors(self, features: CellFeatures) -> CellPlane:
        """Return the expected error of each cell in grey levels."""
        return np.asarray(np.exp(self._predict_logarithms(features)) - FLOOR, np.float32)

    def bound_errors(self, features: CellFeatures) -> npt.NDArray[np.uint8]:
        """Return the bound of each cell's error in grey levels, rounded up; 255 where it is not calibrated."""
        logarithms = self._predict_logarithms(features) + self.calibration.factor_logarithm
        bounds = np.ceil(np.exp(logarithms) - FLOOR).clip(0, LARGEST_BOUND)
        return np.where(self.find_known_cells(features), bounds, NOT_CALIBRATED).astype(np.uint8)

    def find_known_cells(self, features: CellFeatures) -> npt.NDArray[np.bool_]:
        """Return which cells are like those of the calibration, (rows, columns)."""
        least, largest = (np.array(each, np.float32) for each in (self.calibration.least, self.calibration.largest))
        return np.asarray(((features >= least / 2 - FLOOR) & (features <= 2 * largest + FLOOR)).all(axis=-1))

    @property
    def knows_pixel_size(self) -> bool:
        """Whether the slide's pixel size is among those of the calibration, give or take a tenth."""
        return self.calibration.mpp[0] / 1.1 <= self.mpp <= self.calibration.mpp[1] * 1.1

    def _predict_logarithms(self, features: CellFeatures) -> CellPlane:
        return predict_logarithms(features, self.mpp, self.calibration.coefficients)


def predict_logarithms(features: CellFeatures, mpp: float, coefficients: Sequence[float]) -> CellPlane:
    """Return the logarithm of each cell's expected error on a slide of a pixel size in um/px."""
    constant, *of_features, of_pixel_size = coefficients
    logarithms = np.log(features + FLOOR) @ np.array(of_features, np.float32)
    return np.asarray(logarithms + (constant + of_pixel_size * math.log(mpp)), np.float32)


def fit_coefficients(features: CellFeatures, mpp: CellPlane, errors: CellPlane) -> tuple[float, ...]:
    """Return the constant and the factors of the least squares fit: (n, features), (n,) in um/px, and (n,)."""
    columns = np.column_stack([np.ones(len(errors)), np.log(features.astype(np.float64) + FLOOR), np.log(mpp)])
    solution, *_ = np.linalg.lstsq(columns, np.log(errors.astype(np.float64) + FLOOR), rcond=None)
    return tuple(map(float, solution))


def find_conformal_rank(count: int, tenths: int = COVERAGE_TENTHS) -> int | None:
    """Return which of `count` sorted values, from 1, a further one stays below so often; None for too few values.

    It is the smallest rank of at least (count + 1) * tenths / 10, in whole numbers: no rounding can lower it.
    """
    rank = -(-(count + 1) * tenths // 10)
    return rank if rank <= count else None
