"""How one whole image lies to another of the same pitch: mirrored or not, turned by a quarter or more, shifted by any.

Correlation under masks, for all shifts at once: only what both show counts (Padfield 2012, 10.1109/TIP.2011.2181402).
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
"""Tried about each quarter turn, in degrees."""

MIN_OVERLAP = 0.3
"""Of the smaller image, that both must show."""

MAX_GUESSES = 5

GreyPlane = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]


def find_orientations(source: Rgb, target: Rgb) -> list[FittedMap]:
    """Maps of the source to the target that may be the one, best first; none where nothing correlates.

    Both images are small and of about the same pitch: some 256 px are enough.
    """
    guesses = sorted(_guess_orientations(source, target), key=lambda guess: -guess.correlation)[:MAX_GUESSES]
    prepared = RegistrationTarget.prepare(target, 1)
    fits = [refine_similarity(source, prepared, guess.map) for guess in guesses]
    return sorted((fit for fit in fits if fit), key=lambda fit: -fit.correlation)


def _guess_orientations(source: Rgb, target: Rgb) -> Iterator[MapGuess]:
    """One for each turn and side; their correlation is weighed by what overlaps."""
    reach = int(np.hypot(*source.shape[:2])) + 2
    shape = tuple(cv2.getOptimalDFTSize(side + reach) for side in target.shape[:2])
    field = _MaskedSpectra.from_plane(
        _centred_grey(target), np.ones(target.shape[:2], np.float32), (shape[0], shape[1])
    )
    least = MIN_OVERLAP * min(target.shape[0] * target.shape[1], source.shape[0] * source.shape[1])
    for flip, quarter, angle in product((False, True), (0, 90, 180, 270), SMALL_ANGLES):
        turn = _move_to_origin(Affine.similarity(1, quarter + angle, flip), Size(source.shape[1], source.shape[0]))
        yield field.find_best_shift(*_rotate_source(source, turn, reach), turn, least)


@dataclass(frozen=True, slots=True)
class _MaskedSpectra:
    """Spectra of the target, its squares and its mask."""

    shape: tuple[int, int]
    light: Spectrum
    square: Spectrum
    mask: Spectrum

    @classmethod
    def from_plane(cls, light: GreyPlane, mask: GreyPlane, shape: tuple[int, int]) -> _MaskedSpectra:
        return cls(shape, *(_transform(plane, shape) for plane in (light * mask, light**2 * mask, mask)))

    def find_best_shift(self, light: GreyPlane, mask: GreyPlane, turn: Affine, least: float) -> MapGuess:
        """Of all shifts of a turned source, the one that correlates best where at least so many px overlap."""
        own = _MaskedSpectra.from_plane(light, mask, self.shape)
        both = np.maximum(self._cross_correlate(self.mask, own.mask), 1)
        here, there = self._cross_correlate(self.light, own.mask), self._cross_correlate(self.mask, own.light)
        joint = self._cross_correlate(self.light, own.light) - here * there / both
        spread_here = self._cross_correlate(self.square, own.mask) - here**2 / both
        spread_there = self._cross_correlate(self.mask, own.square) - there**2 / both
        floor = 4.0 * both  # glass on glass: a variance below 4 grey levels is noise
        found = joint / np.sqrt(np.maximum(spread_here, floor) * np.maximum(spread_there, floor))
        found = np.where(both >= least, found * np.sqrt(both / both.max()), -1)
        row, column = (int(at) for at in np.unravel_index(int(np.argmax(found)), found.shape))
        down, across = (at - side if at > side // 2 else at for at, side in zip((row, column), self.shape, strict=True))
        return MapGuess(turn.translate(across, down), float(found[row, column]))

    def _cross_correlate(self, target: Spectrum, source: Spectrum) -> GreyPlane:
        return np.asarray(np.fft.irfft2(target * np.conj(source), self.shape), np.float32)


def _transform(plane: GreyPlane, shape: tuple[int, int]) -> Spectrum:
    return np.asarray(np.fft.rfft2(plane, shape), np.complex64)


def _centred_grey(image: Rgb) -> GreyPlane:
    """About zero, so that sums of squares keep their precision."""
    grey = image.mean(axis=2, dtype=np.float32)
    return np.asarray(grey - grey.mean(), np.float32)


def _move_to_origin(turn: Affine, size: Size) -> Affine:
    left, top = turn(corner_points(size)).min(axis=0)
    return turn.translate(-left, -top)


def _rotate_source(source: Rgb, turn: Affine, side: int) -> tuple[GreyPlane, GreyPlane]:
    """Grey of the turned source on a square of that side, and where it is."""
    light = np.stack([_centred_grey(source), np.ones(source.shape[:2], np.float32)], axis=-1)
    matrix = np.column_stack([turn.matrix[:, :2], turn(np.array([[0.5, 0.5]]))[0] - 0.5])
    turned = np.asarray(cv2.warpAffine(light, matrix, (side, side), flags=cv2.INTER_LINEAR), np.float32)
    mask = (turned[..., 1] > 0.99).astype(np.float32)
    return turned[..., 0] * mask, mask
