"""One field of a coarser image registered in a finer one: looked for, refined, believed or not."""

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
    """What is known of a map before looking."""

    map: Affine
    search_px: int
    """How far it may be off, in px of the source."""
    rotations_deg: Sequence[float] = (0.0,)
    """Turns of the source that are tried; what lies between two of them must be within the refinement's grasp."""


def register_field(
    source: Rgb, target: RegistrationTarget, prior: MapPrior, gate: AcceptanceLimits
) -> FittedMap | RegistrationFailure:
    """The map of (h, w, 3) of the coarser image to the finer one, or why there is none."""
    if gate.is_glass(source):
        return RegistrationFailure.GLASS
    centre = (source.shape[1] / 2, source.shape[0] / 2)
    guess = search_translations(source, target, rotate_prior(prior.map, prior.rotations_deg, centre), prior.search_px)
    fit = refine_similarity(source, target, guess.map)
    if fit is None:
        return RegistrationFailure.OUTSIDE
    return gate.find_failure(source, target, fit) or fit
