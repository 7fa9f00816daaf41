"""Registration of one field of a coarser image in a finer one: search, refinement, acceptance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsisr.dataset.registration.acceptance import AcceptanceLimits, RegistrationFailure
from wsisr.dataset.registration.affine import Affine
from wsisr.dataset.registration.refinement import FittedMap, RegistrationTarget, refine_similarity
from wsisr.dataset.registration.search import rotate_prior, search_translations
from wsisr.imaging.pixels import Rgb


@dataclass(frozen=True, slots=True)
class MapPrior:
    """A map to start from, and its uncertainty."""

    map: Affine
    search_px: int
    """Largest error of its shift, in px of the source."""
    rotations_deg: Sequence[float] = (0.0,)
    """Turns of the source to try, close enough to each other for the refinement to converge between them."""


def register_field(
    source: Rgb, target: RegistrationTarget, prior: MapPrior, limits: AcceptanceLimits
) -> FittedMap | RegistrationFailure:
    """Register (h, w, 3) of the coarser image in the finer one; return the map, or why there is none."""
    if limits.is_glass(source):
        return RegistrationFailure.GLASS
    centre = (source.shape[1] / 2, source.shape[0] / 2)
    guess = search_translations(source, target, rotate_prior(prior.map, prior.rotations_deg, centre), prior.search_px)
    fitted = refine_similarity(source, target, guess.map)
    if fitted is None:
        return RegistrationFailure.OUTSIDE
    return limits.find_failure(source, target, fitted) or fitted
