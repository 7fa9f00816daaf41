"""Orientation of one whole image against another of the same pixel size: mirroring, any rotation, any shift.

Masked correlation over all shifts at once counts only the common area (Padfield 2012, 10.1109/TIP.2011.2181402).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.dataset.registration.affine import Affine, corner_points
from wsisr.dataset.registration.refinement import FittedMap, RegistrationTarget, refine_similarity
from wsisr.dataset.registration.search import MapGuess
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb

SMALL_ANGLES = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0)
"""Angles tried about each quarter turn, in degrees."""

MIN_OVERLAP = 0.3
"""Smallest share of the smaller image that both must show."""

MAX_GUESSES = 5
"""Guesses that are refined."""

GreyPlane = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]


def find_orientations(source: Rgb, target: Rgb) -> list[FittedMap]:
    """Return candidate maps from the source to the target, best first; none if nothing correlates.

    Both images are small overviews of about the same pixel size: about 256 px are enough.
    """
    guesses = sorted(_guess_orientations(source, target), key=lambda guess: -guess.correlation)[:MAX_GUESSES]
    prepared = RegistrationTarget.prepare(target, 1)
    fitted = [refine_similarity(source, prepared, guess.map) for guess in guesses]
    return sorted((fit for fit in fitted if fit), key=lambda fit: -fit.correlation)


def _guess_orientations(source: Rgb, target: Rgb) -> Iterator[MapGuess]:
    """Yield the best shift for each rotation with and without mirroring; correlations are weighted by the overlap."""
    diagonal = int(np.hypot(*source.shape[:2])) + 2
    # Room for every shift without wrap-around, and a size that the DFT is fast for.
    height, width = (cv2.getOptimalDFTSize(side + diagonal) for side in target.shape[:2])
    spectra = _MaskedSpectra.from_plane(_centre_grey(target), np.ones(target.shape[:2], np.float32), (height, width))
    min_overlap_px = MIN_OVERLAP * min(target.shape[0] * target.shape[1], source.shape[0] * source.shape[1])
    for mirrored, quarter, angle in product((False, True), (0, 90, 180, 270), SMALL_ANGLES):
        turn = _move_to_origin(Affine.similarity(1, quarter + angle, mirrored), Size(source.shape[1], source.shape[0]))
        yield spectra.find_best_shift(*_rotate_source(source, turn, diagonal), turn, min_overlap_px)


@dataclass(frozen=True, slots=True)
class _MaskedSpectra:
    """Spectra of an image, its squares and its mask."""

    shape: tuple[int, int]
    light: Spectrum
    square: Spectrum
    mask: Spectrum

    @classmethod
    def from_plane(cls, light: GreyPlane, mask: GreyPlane, shape: tuple[int, int]) -> _MaskedSpectra:
        return cls(shape, *(_transform(plane, shape) for plane in (light * mask, light**2 * mask, mask)))

    def find_best_shift(self, light: GreyPlane, mask: GreyPlane, turn: Affine, min_overlap_px: float) -> MapGuess:
        """Return the shift of a turned source with the best correlation, of those that overlap enough."""
        source = _MaskedSpectra.from_plane(light, mask, self.shape)
        overlap = np.maximum(self._cross_correlate(self.mask, source.mask), 1)
        sum_target = self._cross_correlate(self.light, source.mask)
        sum_source = self._cross_correlate(self.mask, source.light)
        covariance = self._cross_correlate(self.light, source.light) - sum_target * sum_source / overlap
        variance_target = self._cross_correlate(self.square, source.mask) - sum_target**2 / overlap
        variance_source = self._cross_correlate(self.mask, source.square) - sum_source**2 / overlap
        floor = 4.0 * overlap  # glass on glass: a variance below 4 grey levels is noise
        correlation = covariance / np.sqrt(np.maximum(variance_target, floor) * np.maximum(variance_source, floor))
        score = np.where(overlap >= min_overlap_px, correlation * np.sqrt(overlap / overlap.max()), -1)
        row, column = (int(index) for index in np.unravel_index(int(np.argmax(score)), score.shape))
        # In the upper half, an index of the cyclic correlation stands for a negative shift.
        shift_y, shift_x = (
            index - side if index > side // 2 else index for index, side in zip((row, column), self.shape, strict=True)
        )
        return MapGuess(turn.translate(shift_x, shift_y), float(score[row, column]))

    def _cross_correlate(self, target: Spectrum, source: Spectrum) -> GreyPlane:
        return np.asarray(np.fft.irfft2(target * np.conj(source), self.shape), np.float32)


def _transform(plane: GreyPlane, shape: tuple[int, int]) -> Spectrum:
    return np.asarray(np.fft.rfft2(plane, shape), np.complex64)


def _centre_grey(image: Rgb) -> GreyPlane:
    """Convert to grey with mean zero, so that sums of squares keep their precision."""
    grey = image.mean(axis=2, dtype=np.float32)
    return np.asarray(grey - grey.mean(), np.float32)


def _move_to_origin(turn: Affine, size: Size) -> Affine:
    left, top = turn(corner_points(size)).min(axis=0)
    return turn.translate(-left, -top)


def _rotate_source(source: Rgb, turn: Affine, side: int) -> tuple[GreyPlane, GreyPlane]:
    """Return the grey of the turned source on a square of that side, and its mask."""
    light = np.stack([_centre_grey(source), np.ones(source.shape[:2], np.float32)], axis=-1)
    turned = np.asarray(cv2.warpAffine(light, turn.opencv_matrix, (side, side), flags=cv2.INTER_LINEAR), np.float32)
    mask = (turned[..., 1] > 0.99).astype(np.float32)
    return turned[..., 0] * mask, mask
