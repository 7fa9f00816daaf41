"""How alike the textures of two images are: how much contrast there is, by octave, direction and place.

No network and no data: a score that nothing here was trained for. The pixels need not agree, only what an eye takes for
texture: in each square of an image, the contrast of second differences in four directions, of the grey level and of red
less blue (which tells haematoxylin from eosin), at full size, at a half and at a quarter. Images are uint8 sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from wsisr.imaging.metrics import Floats
from wsisr.imaging.pixels import Rgb

OCTAVES = 3

SQUARE_PX = 64
"""Side of what is scored at least. In each octave, contrast is taken in squares of 8 px."""

MARGIN_PX = 2 ** (OCTAVES - 1)
"""Pixels around the squares that their differences reach to."""

FLOOR = 1.0
"""Grey levels of contrast that count as none: a scan's own noise is no texture."""

_PLACE_PX = 8
_LAST_PLACES = (SQUARE_PX >> OCTAVES - 1) ** 2 // _PLACE_PX**2
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))

Contrasts: TypeAlias = list[Floats]
"""For each octave, finest first: (2, 4, rows, columns) of places, in grey levels."""


@dataclass(frozen=True, slots=True)
class Texture:
    """How the texture of an image compares with the truth's."""

    distance: float
    """Mean difference of the logarithm, to base 2, of contrast: 0 is the truth's, 1 is half or double everywhere."""
    detail: tuple[float, ...]
    """Contrast of the grey level over the truth's in each octave, finest first: 1 is the truth's, below is softer."""


@dataclass(slots=True)
class Textures:
    """What adds up to a `Texture`, part by part."""

    squares: int = 0
    distance: float = 0.0
    energies: Floats = field(default_factory=lambda: np.zeros((2, OCTAVES), np.float32))
    """Of the image's grey level and of the truth's, in squared grey levels."""

    def add(self, image: Contrasts, truth: Contrasts) -> None:
        """A part of both, as `contrasts` gives it."""
        here = truth[-1].shape[2] * truth[-1].shape[3] // _LAST_PLACES
        if here:
            self.squares += here
            self.distance += here * float(np.mean([_apart(one, due) for one, due in zip(image, truth, strict=True)]))
            self.energies += here * np.array([[_energy(each) for each in octaves] for octaves in (image, truth)])

    def texture(self) -> Texture | None:
        """Of all parts together; None where none held a square."""
        if self.squares == 0:
            return None
        of_image, of_truth = np.sqrt(self.energies / self.squares + FLOOR**2)
        return Texture(self.distance / self.squares, tuple(map(float, of_image / of_truth)))


def texture(image: Rgb, truth: Rgb) -> Texture | None:
    """Of two images of one shape: of as many whole squares as lie inside a margin of 4 px, from the upper left."""
    height, width = ((side - 2 * MARGIN_PX) // SQUARE_PX * SQUARE_PX + 2 * MARGIN_PX for side in truth.shape[:2])
    found = Textures()
    if min(height, width) > SQUARE_PX:
        found.add(contrasts(image[:height, :width]), contrasts(truth[:height, :width]))
    return found.texture()


def contrasts(image: Rgb) -> Contrasts:
    """(64 m + 8, 64 n + 8, 3) to (2, 4, rows, columns) for each octave: in grey levels, of grey and of red less blue.

    Of the margin of 4 px only differences are taken.
    """
    values = image.astype(np.float32)
    planes = np.stack([values.mean(axis=2), values[..., 0] - values[..., 2]])
    found, margin = [], MARGIN_PX
    for octave in range(OCTAVES):
        if octave:
            planes, margin = _halved(planes), margin // 2
        found.append(np.stack([_contrast(planes, step, margin) for step in _DIRECTIONS], axis=1))
    return found


def _contrast(planes: Floats, step: tuple[int, int], margin: int) -> Floats:
    """(2, h, w) to (2, (h - 2 margin) / 8, ...): root mean square of second differences in one direction."""
    down, right = step
    height, width = planes.shape[1] - 2 * margin, planes.shape[2] - 2 * margin

    def moved(times: int) -> Floats:
        top, left = margin + times * down, margin + times * right
        return planes[:, top : top + height, left : left + width]

    difference = moved(0) - 0.5 * (moved(1) + moved(-1))
    places = (difference * difference).reshape(2, height // _PLACE_PX, _PLACE_PX, width // _PLACE_PX, _PLACE_PX)
    contrast: Floats = np.sqrt(places.mean(axis=(2, 4)))
    return contrast


def _halved(planes: Floats) -> Floats:
    """(2, h, w) to (2, h/2, w/2): the 2x2 mean."""
    rows = planes[:, ::2] + planes[:, 1::2]
    return np.float32(0.25) * (rows[:, :, ::2] + rows[:, :, 1::2])


def _apart(one: Floats, other: Floats) -> float:
    return float(np.abs(np.log2((one + FLOOR) / (other + FLOOR))).mean())


def _energy(contrasts: Floats) -> float:
    return float(np.square(contrasts[0]).mean())
