"""Acceptance of registrations. Limits are in px of the coarser image, so that they hold at every ratio."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from wsisr.dataset.registration.refinement import FittedMap, PixelValues, RegistrationTarget
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb


class RegistrationFailure(StrEnum):
    """Why two fields make no pair. The values are stored in datasets."""

    GLASS = "glass: nothing to register by"
    OUTSIDE = "leads out of the finer image"
    UNLIKE = "does not correlate"
    LOOSE = "too little structure to place it"
    STRAINED = "its quarters disagree"
    COARSE_BLURRED = "coarser image out of focus"
    FINE_BLURRED = "finer image out of focus"


@dataclass(frozen=True, slots=True)
class AcceptanceLimits:
    """Limits of accepted registrations, chosen between the measured values of true and of wrong partners."""

    min_contrast: float = 3.0
    """Standard deviation of grey, 0 to 255, below which a field counts as glass."""
    min_correlation: float = 0.75
    max_expected_error_px: float = 0.1
    max_strain_px: float = 0.12
    min_blur_correlation: float = 0.5
    """Correlation above which one image may be a blurred view of the other."""
    max_sharpness_ratio: float = 1.8
    """Largest ratio of fine structure between the images, both at the coarser pixel size."""

    def is_glass(self, source: Rgb) -> bool:
        return float(source.mean(axis=2).std()) < self.min_contrast

    def find_failure(self, source: Rgb, target: RegistrationTarget, fitted: FittedMap) -> RegistrationFailure | None:
        """Return why a registration is not accepted; None if it is."""
        scale = fitted.map.scale
        blur = self._find_blur(source, target, fitted) if fitted.correlation >= self.min_blur_correlation else None
        if blur or fitted.correlation < self.min_correlation:
            return blur or RegistrationFailure.UNLIKE
        if fitted.expected_error > self.max_expected_error_px * scale:
            return RegistrationFailure.LOOSE
        return RegistrationFailure.STRAINED if fitted.strain > self.max_strain_px * scale else None

    def _find_blur(self, source: Rgb, target: RegistrationTarget, fitted: FittedMap) -> RegistrationFailure | None:
        ratio = sharpness_ratio(source, target, fitted)
        if ratio * self.max_sharpness_ratio < 1:
            return RegistrationFailure.COARSE_BLURRED
        return RegistrationFailure.FINE_BLURRED if ratio > self.max_sharpness_ratio else None


def sharpness_ratio(source: Rgb, target: RegistrationTarget, fitted: FittedMap) -> float:
    """Return the sharpness of the source by that of the registered target, both in grey."""
    registered = target.resample(fitted.map, Size(source.shape[1], source.shape[0]))
    return _measure_sharpness(source.astype(np.float32)) / max(_measure_sharpness(registered), 1e-3)


def _measure_sharpness(light: PixelValues) -> float:
    """Return the contrast of fine structure by all contrast; the finest scale is left out, as it is mostly noise."""
    grey = light.mean(axis=2)
    fine = cv2.GaussianBlur(grey, (0, 0), 0.8) - cv2.GaussianBlur(grey, (0, 0), 1.6)
    return float(fine.std() / max(grey.std(), 1e-3))
