"""Texture score: compares the local contrast of two images by octave, direction and place.

It needs neither network nor data, and no network here was trained for it. Pixels need not agree, only what the eye
perceives as texture: in each square of an image, the contrast of second differences in four directions, of the grey
level and of red minus blue (which separates haematoxylin from eosin), at full, half and quarter size. Images are uint8
sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from wsisr.imaging.metrics import Float32Array
from wsisr.imaging.pixels import Rgb

OCTAVES = 3

TEXTURE_SQUARE_PX = 64
"""Side of the smallest area that has a score. In each octave, contrast is measured in places of 8 px."""

TEXTURE_MARGIN_PX = 2 ** (OCTAVES - 1)
"""Pixels around the squares that their second differences need."""

CONTRAST_FLOOR = 1.0
"""Contrast in grey levels that counts as none: a scan's noise is no texture."""

_PLACE_PX = 8
_PLACES_PER_SQUARE = (TEXTURE_SQUARE_PX >> OCTAVES - 1) ** 2 // _PLACE_PX**2
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))

OctaveContrasts: TypeAlias = list[Float32Array]
"""For each octave, finest first: (planes, directions, rows, columns) = (2, 4, ...), in grey levels."""


@dataclass(frozen=True, slots=True)
class TextureComparison:
    """Texture of an image relative to that of the truth."""

    distance: float
    """Mean absolute difference of log2 contrast: 0 is the truth's, 1 is half or twice the contrast everywhere."""
    detail: tuple[float, ...]
    """Grey-level contrast divided by the truth's in each octave, finest first: 1 is the truth's, below 1 is softer."""


@dataclass(slots=True)
class TextureAccumulator:
    """Sums up the parts of an image and compares the textures of the whole."""

    squares: int = 0
    distance: float = 0.0
    energies: Float32Array = field(default_factory=lambda: np.zeros((2, OCTAVES), np.float32))
    """Grey-level contrast of the image and of the truth in each octave, in squared grey levels."""

    def add(self, image: OctaveContrasts, truth: OctaveContrasts) -> None:
        """Add a part of both images, as `measure_contrasts` returns it."""
        squares = truth[-1].shape[2] * truth[-1].shape[3] // _PLACES_PER_SQUARE
        if squares:
            differences = [_log_contrast_difference(own, true) for own, true in zip(image, truth, strict=True)]
            self.squares += squares
            self.distance += squares * float(np.mean(differences))
            self.energies += squares * np.array([list(map(_grey_energy, octaves)) for octaves in (image, truth)])

    def compare(self) -> TextureComparison | None:
        """Return the comparison over all parts; None if no part held a square."""
        if self.squares == 0:
            return None
        image_contrast, true_contrast = np.sqrt(self.energies / self.squares + CONTRAST_FLOOR**2)
        return TextureComparison(self.distance / self.squares, tuple(map(float, image_contrast / true_contrast)))


def compare_texture(image: Rgb, truth: Rgb) -> TextureComparison | None:
    """Compare two images of one shape over the whole squares inside a margin of 4 px, from the top left.

    Returns None if not one square fits.
    """
    height, width = (
        (side - 2 * TEXTURE_MARGIN_PX) // TEXTURE_SQUARE_PX * TEXTURE_SQUARE_PX + 2 * TEXTURE_MARGIN_PX
        for side in truth.shape[:2]
    )
    total = TextureAccumulator()
    if min(height, width) > TEXTURE_SQUARE_PX:
        total.add(measure_contrasts(image[:height, :width]), measure_contrasts(truth[:height, :width]))
    return total.compare()


def measure_contrasts(image: Rgb) -> OctaveContrasts:
    """Measure the contrast of grey and of red minus blue: (64 m + 8, 64 n + 8, 3) to (2, 4, rows, columns) an octave.

    The margin of 4 px serves only the differences of pixels inside it.
    """
    values = image.astype(np.float32)
    planes = np.stack([values.mean(axis=2), values[..., 0] - values[..., 2]])
    octaves, margin = [], TEXTURE_MARGIN_PX
    for octave in range(OCTAVES):
        if octave:
            planes, margin = _halve_planes(planes), margin // 2
        octaves.append(np.stack([_directional_contrast(planes, step, margin) for step in _DIRECTIONS], axis=1))
    return octaves


def _directional_contrast(planes: Float32Array, step: tuple[int, int], margin: int) -> Float32Array:
    """Return the RMS of second differences in one direction: (2, h, w) to (2, (h - 2 margin) / 8, ...)."""
    down, right = step
    height, width = planes.shape[1] - 2 * margin, planes.shape[2] - 2 * margin

    def shift(times: int) -> Float32Array:
        top, left = margin + times * down, margin + times * right
        return planes[:, top : top + height, left : left + width]

    difference = shift(0) - 0.5 * (shift(1) + shift(-1))
    places = (difference * difference).reshape(2, height // _PLACE_PX, _PLACE_PX, width // _PLACE_PX, _PLACE_PX)
    contrast: Float32Array = np.sqrt(places.mean(axis=(2, 4)))
    return contrast


def _halve_planes(planes: Float32Array) -> Float32Array:
    """Average 2x2 px: (2, h, w) to (2, h/2, w/2)."""
    rows = planes[:, ::2] + planes[:, 1::2]
    return np.float32(0.25) * (rows[:, :, ::2] + rows[:, :, 1::2])


def _log_contrast_difference(one: Float32Array, other: Float32Array) -> float:
    return float(np.abs(np.log2((one + CONTRAST_FLOOR) / (other + CONTRAST_FLOOR))).mean())


def _grey_energy(contrasts: Float32Array) -> float:
    return float(np.square(contrasts[0]).mean())
