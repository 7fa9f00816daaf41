"""Which registrations are believed. Limits are in px of the coarser image, so that they hold at every ratio."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.dataset.registration.refinement import Fit, Target
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb


class Reason(StrEnum):
    """Why two fields make no pair."""

    GLASS = "glass: nothing to register by"
    OUTSIDE = "leads out of the finer image"
    UNLIKE = "does not correlate"
    LOOSE = "too little structure to place it"
    STRAINED = "its quarters disagree"
    COARSE_BLURRED = "coarser image out of focus"
    FINE_BLURRED = "finer image out of focus"


@dataclass(frozen=True, slots=True)
class Gate:
    """Limits; each is this project's choice, between what true and wrong partners were measured to give."""

    contrast: float = 3.0
    """Standard deviation of grey, 0 to 255, below which a field counts as glass."""
    correlation: float = 0.75
    expected_error_px: float = 0.1
    strain_px: float = 0.12
    alike: float = 0.5
    """Correlation from which one image may be called a blurred view of the other."""
    softness: float = 1.8
    """Factor by which one image may have less fine structure than the other, both seen at the coarser pitch."""

    def glass(self, source: Rgb) -> bool:
        return float(source.mean(axis=2).std()) < self.contrast

    def refusal(self, source: Rgb, target: Target, fit: Fit) -> Reason | None:
        """Why a registration is not believed; None if it is."""
        scale = fit.map.scale
        blurred = self._blurred(sharpness_ratio(source, target, fit)) if fit.correlation >= self.alike else None
        if blurred or fit.correlation < self.correlation:
            return blurred or Reason.UNLIKE
        if fit.expected_error > self.expected_error_px * scale:
            return Reason.LOOSE
        return Reason.STRAINED if fit.strain > self.strain_px * scale else None

    def _blurred(self, ratio: float) -> Reason | None:
        if ratio * self.softness < 1:
            return Reason.COARSE_BLURRED
        return Reason.FINE_BLURRED if ratio > self.softness else None


def sharpness_ratio(source: Rgb, target: Target, fit: Fit) -> float:
    """How sharp the source is over how sharp the target is in its place, both in grey."""
    seen = target.view(fit.map, Size(source.shape[1], source.shape[0]))
    return _sharpness(source.astype(np.float32)) / max(_sharpness(seen), 1e-3)


def _sharpness(light: npt.NDArray[np.float32]) -> float:
    """Contrast of fine structure over all contrast; noise below a px is left out of the fine."""
    grey = light.mean(axis=2)
    fine = cv2.GaussianBlur(grey, (0, 0), 0.8) - cv2.GaussianBlur(grey, (0, 0), 1.6)
    return float(fine.std() / max(grey.std(), 1e-3))
