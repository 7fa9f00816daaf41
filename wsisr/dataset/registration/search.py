"""Coarse search for the start of a refinement: correlation of grey levels over whole-pixel shifts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from wsisr.dataset.patch_quality import GreyImage
from wsisr.dataset.registration.affine import Affine
from wsisr.dataset.registration.refinement import RegistrationTarget
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb


@dataclass(frozen=True, slots=True)
class MapGuess:
    """A map that is right to about a pixel of the source."""

    map: Affine
    correlation: float


def rotate_prior(prior: Affine, degrees: Iterable[float], centre: tuple[float, float]) -> Iterator[Affine]:
    """Yield the prior with its source turned about a centre by each angle."""
    x, y = centre
    for angle in degrees:
        yield prior.compose(Affine.similarity(1, angle).shift_origin(-x, -y).translate(x, y))


def search_translations(source: Rgb, target: RegistrationTarget, priors: Iterable[Affine], search_px: int) -> MapGuess:
    """Return the prior and shift, up to `search_px` px of the source, with the best correlation."""
    grey = source.astype(np.float32).mean(axis=2)
    guesses = (_search_translation(grey, target, prior, search_px) for prior in priors)
    return max(guesses, key=lambda guess: guess.correlation)


def _search_translation(grey: GreyImage, target: RegistrationTarget, prior: Affine, search_px: int) -> MapGuess:
    size = Size(grey.shape[1] + 2 * search_px, grey.shape[0] + 2 * search_px)
    around = target.resample(prior.shift_origin(-search_px, -search_px), size).mean(axis=2)
    # Normalised by mean and contrast, which differ between scanners and stains.
    scores = cv2.matchTemplate(around, grey, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return MapGuess(prior.shift_origin(int(column) - search_px, int(row) - search_px), float(scores[row, column]))
