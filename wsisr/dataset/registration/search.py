"""A start for the refinement: where an image lies in another one, by correlation of grey levels over whole pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.dataset.registration.affine import Affine
from wsisr.dataset.registration.refinement import RegistrationTarget
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb

Grey: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MapGuess:
    """A map to within about a pixel of the source."""

    map: Affine
    correlation: float


def rotate_prior(prior: Affine, degrees: Iterable[float], centre: tuple[float, float]) -> Iterator[Affine]:
    """The prior, its source turned about a centre first."""
    x, y = centre
    for angle in degrees:
        yield prior.compose(Affine.similarity(1, angle).shift_origin(-x, -y).translate(x, y))


def search_translations(source: Rgb, target: RegistrationTarget, priors: Iterable[Affine], reach_px: int) -> MapGuess:
    """The best of some maps, each tried with all shifts up to `reach_px` px of the source."""
    grey = source.astype(np.float32).mean(axis=2)
    size = Size(source.shape[1] + 2 * reach_px, source.shape[0] + 2 * reach_px)
    return max(
        (_search_translation(grey, target, prior, size) for prior in priors), key=lambda guess: guess.correlation
    )


def _search_translation(grey: Grey, target: RegistrationTarget, prior: Affine, size: Size) -> MapGuess:
    reach = (size.width - grey.shape[1]) // 2
    seen = target.resample(prior.shift_origin(-reach, -reach), size).mean(axis=2)
    scores = cv2.matchTemplate(seen, grey, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return MapGuess(prior.shift_origin(int(column) - reach, int(row) - reach), float(scores[row, column]))
