"""One field of a coarser image registered in a finer one: looked for, refined, believed or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsisr.dataset.registration.acceptance import Gate, Reason
from wsisr.dataset.registration.affine import Affine
from wsisr.dataset.registration.refinement import Fit, Target, refine
from wsisr.dataset.registration.search import turned, within_reach
from wsisr.imaging.pixels import Rgb


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known of a map before looking."""

    map: Affine
    reach_px: int
    """How far it may be off, in px of the source."""
    degrees: Sequence[float] = (0.0,)
    """Turns of the source that are tried; what lies between two of them must be within the refinement's grasp."""


def match(source: Rgb, target: Target, prior: Prior, gate: Gate) -> Fit | Reason:
    """The map of (h, w, 3) of the coarser image to the finer one, or why there is none."""
    if gate.glass(source):
        return Reason.GLASS
    centre = (source.shape[1] / 2, source.shape[0] / 2)
    guess = within_reach(source, target, turned(prior.map, prior.degrees, centre), prior.reach_px)
    fit = refine(source, target, guess.map)
    if fit is None:
        return Reason.OUTSIDE
    return gate.refusal(source, target, fit) or fit
