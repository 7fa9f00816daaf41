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

from wsisr.dataset.registration.affine import Affine, corners
from wsisr.dataset.registration.refinement import Fit, Target, refine
from wsisr.dataset.registration.search import Guess
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb

SMALL_ANGLES = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0)
"""Tried about each quarter turn, in degrees."""

LEAST_OVERLAP = 0.3
"""Of the smaller image, that both must show."""

MOST_GUESSES = 5

Plane = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]


def orientations(source: Rgb, target: Rgb) -> list[Fit]:
    """Maps of the source to the target that may be the one, best first; none where nothing correlates.

    Both images are small and of about the same pitch: some 256 px are enough.
    """
    guesses = sorted(_guesses(source, target), key=lambda guess: -guess.correlation)[:MOST_GUESSES]
    prepared = Target.seen_at(target, 1)
    fits = [refine(source, prepared, guess.map) for guess in guesses]
    return sorted((fit for fit in fits if fit), key=lambda fit: -fit.correlation)


def _guesses(source: Rgb, target: Rgb) -> Iterator[Guess]:
    """One for each turn and side; their correlation is weighed by what overlaps."""
    reach = int(np.hypot(*source.shape[:2])) + 2
    shape = tuple(cv2.getOptimalDFTSize(side + reach) for side in target.shape[:2])
    field = _Field.of(_grey(target), np.ones(target.shape[:2], np.float32), (shape[0], shape[1]))
    least = LEAST_OVERLAP * min(target.shape[0] * target.shape[1], source.shape[0] * source.shape[1])
    for flip, quarter, angle in product((False, True), (0, 90, 180, 270), SMALL_ANGLES):
        turn = _onto_origin(Affine.similarity(1, quarter + angle, flip), Size(source.shape[1], source.shape[0]))
        yield field.best(*_turned(source, turn, reach), turn, least)


@dataclass(frozen=True, slots=True)
class _Field:
    """Spectra of the target, its squares and its mask."""

    shape: tuple[int, int]
    light: Spectrum
    square: Spectrum
    mask: Spectrum

    @classmethod
    def of(cls, light: Plane, mask: Plane, shape: tuple[int, int]) -> _Field:
        return cls(shape, *(_spectrum(plane, shape) for plane in (light * mask, light**2 * mask, mask)))

    def best(self, light: Plane, mask: Plane, turn: Affine, least: float) -> Guess:
        """Of all shifts of a turned source, the one that correlates best where at least so many px overlap."""
        own = _Field.of(light, mask, self.shape)
        both = np.maximum(self._sum(self.mask, own.mask), 1)
        here, there = self._sum(self.light, own.mask), self._sum(self.mask, own.light)
        joint = self._sum(self.light, own.light) - here * there / both
        spread_here = self._sum(self.square, own.mask) - here**2 / both
        spread_there = self._sum(self.mask, own.square) - there**2 / both
        floor = 4.0 * both  # glass on glass: a variance below 4 grey levels is noise
        found = joint / np.sqrt(np.maximum(spread_here, floor) * np.maximum(spread_there, floor))
        found = np.where(both >= least, found * np.sqrt(both / both.max()), -1)
        row, column = (int(at) for at in np.unravel_index(int(np.argmax(found)), found.shape))
        down, across = (at - side if at > side // 2 else at for at, side in zip((row, column), self.shape, strict=True))
        return Guess(turn.moved(across, down), float(found[row, column]))

    def _sum(self, target: Spectrum, source: Spectrum) -> Plane:
        return np.asarray(np.fft.irfft2(target * np.conj(source), self.shape), np.float32)


def _spectrum(plane: Plane, shape: tuple[int, int]) -> Spectrum:
    return np.asarray(np.fft.rfft2(plane, shape), np.complex64)


def _grey(image: Rgb) -> Plane:
    """About zero, so that sums of squares keep their precision."""
    grey = image.mean(axis=2, dtype=np.float32)
    return np.asarray(grey - grey.mean(), np.float32)


def _onto_origin(turn: Affine, size: Size) -> Affine:
    left, top = turn(corners(size)).min(axis=0)
    return turn.moved(-left, -top)


def _turned(source: Rgb, turn: Affine, side: int) -> tuple[Plane, Plane]:
    """Grey of the turned source on a square of that side, and where it is."""
    light = np.stack([_grey(source), np.ones(source.shape[:2], np.float32)], axis=-1)
    matrix = np.column_stack([turn.matrix[:, :2], turn(np.array([[0.5, 0.5]]))[0] - 0.5])
    turned = np.asarray(cv2.warpAffine(light, matrix, (side, side), flags=cv2.INTER_LINEAR), np.float32)
    mask = (turned[..., 1] > 0.99).astype(np.float32)
    return turned[..., 0] * mask, mask
