"""Which registrations are believed. Limits are in px of the coarser image, so that they hold at every ratio."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.dataset.registration.refinement import FittedMap, RegistrationTarget
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb


class RegistrationFailure(StrEnum):
    """Why two fields make no pair."""

    GLASS = "glass: nothing to register by"
    OUTSIDE = "leads out of the finer image"
    UNLIKE = "does not correlate"
    LOOSE = "too little structure to place it"
    STRAINED = "its quarters disagree"
    COARSE_BLURRED = "coarser image out of focus"
    FINE_BLURRED = "finer image out of focus"


@dataclass(frozen=True, slots=True)
class AcceptanceLimits:
    """Limits; each is this project's choice, between what true and wrong partners were measured to give."""

    min_contrast: float = 3.0
    """Standard deviation of grey, 0 to 255, below which a field counts as glass."""
    min_correlation: float = 0.75
    max_expected_error_px: float = 0.1
    max_strain_px: float = 0.12
    min_blur_correlation: float = 0.5
    """Correlation from which one image may be called a blurred view of the other."""
    max_sharpness_ratio: float = 1.8
    """Factor by which one image may have less fine structure than the other, both seen at the coarser pitch."""

    def is_glass(self, source: Rgb) -> bool:
        return float(source.mean(axis=2).std()) < self.min_contrast

    def find_failure(self, source: Rgb, target: RegistrationTarget, fit: FittedMap) -> RegistrationFailure | None:
        """Why a registration is not believed; None if it is."""
        scale = fit.map.scale
        blurred = (
            self._find_blur(sharpness_ratio(source, target, fit))
            if fit.correlation >= self.min_blur_correlation
            else None
        )
        if blurred or fit.correlation < self.min_correlation:
            return blurred or RegistrationFailure.UNLIKE
        if fit.expected_error > self.max_expected_error_px * scale:
            return RegistrationFailure.LOOSE
        return RegistrationFailure.STRAINED if fit.strain > self.max_strain_px * scale else None

    def _find_blur(self, ratio: float) -> RegistrationFailure | None:
        if ratio * self.max_sharpness_ratio < 1:
            return RegistrationFailure.COARSE_BLURRED
        return RegistrationFailure.FINE_BLURRED if ratio > self.max_sharpness_ratio else None


def sharpness_ratio(source: Rgb, target: RegistrationTarget, fit: FittedMap) -> float:
    """How sharp the source is over how sharp the target is in its place, both in grey."""
    seen = target.resample(fit.map, Size(source.shape[1], source.shape[0]))
    return _measure_sharpness(source.astype(np.float32)) / max(_measure_sharpness(seen), 1e-3)


def _measure_sharpness(light: npt.NDArray[np.float32]) -> float:
    """Contrast of fine structure over all contrast; noise below a px is left out of the fine."""
    grey = light.mean(axis=2)
    fine = cv2.GaussianBlur(grey, (0, 0), 0.8) - cv2.GaussianBlur(grey, (0, 0), 1.6)
    return float(fine.std() / max(grey.std(), 1e-3))
