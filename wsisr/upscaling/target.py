"""The way from a slide to one exact pixel pitch, whatever pitch it was scanned at.

Detail that the slide has is never traded for an estimate where plain resampling will do: a slide as fine as the target
is shrunk, one a little coarser is interpolated. Only else does a network enlarge it, from a multiple of the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box
from wsisr.models.spec import SCALES
from wsisr.slides import Slide
from wsisr.slides.pixel_size import COARSEST, FINEST, is_plausible
from wsisr.slides.region import Source, part_of, pitch_needed, reaches, source_of

NO_NETWORK_BELOW = math.sqrt(2)
"""Times by which a slide may be too coarse before a network is worth its inventions."""

INTERPOLATED_BELOW = 1.15
"""Times by which the input of a network may be interpolated: a little softness costs less than detail thrown away."""


@dataclass(frozen=True, slots=True)
class Route:
    """What to enlarge, by how much."""

    source: Source
    scale: int
    """1 where the source is the result and no network has a part in it."""


def route_to(slide: Slide, mpp: float, area: Box | None = None) -> Route:
    """Level, resampling and scale by which a slide, or an area in its level-0 px, comes to `mpp` um/px.

    Raises `SlideError` where its pitch is not known, or too coarse for what networks there are.
    """
    if not is_plausible(mpp):
        raise SlideError(f"no slide has pixels of {mpp:g} um; choose a target of {FINEST:g} to {COARSEST:g} um/px")
    pitch = pitch_needed(slide.info)
    scale = _scale(slide, pitch / mpp)
    if reaches(slide.info, scale * mpp):
        source = source_of(slide, mpp=scale * mpp, area=area)
    else:
        source = part_of(Source(slide, 0, scale * mpp / pitch), area)
    return Route(replace(source, remarks=_costs(source, scale, pitch)), scale)


def _scale(slide: Slide, ratio: float) -> int:
    """The smallest that will do for a slide that is so many times as coarse as the target."""
    if ratio < NO_NETWORK_BELOW:
        return 1
    fitting = [scale for scale in SCALES if scale * INTERPOLATED_BELOW >= ratio]
    if not fitting:
        raise SlideError(
            f"{slide.info.path}: is {ratio:.3g} times as coarse as the target, and no network enlarges by more than "
            f"{max(SCALES)}; choose a coarser target"
        )
    return fitting[0]


def _costs(source: Source, scale: int, pitch: float) -> tuple[str, ...]:
    """In words, what the way from a slide's own pitch to the result leaves out or makes up."""
    change = "" if source.downsample == 1 else f"from {pitch:.4g} to {source.mpp:.4g} um/px"
    how = "shrunk by area mean" if source.downsample > 1 else "interpolated by bicubic"
    if scale == 1:
        return (f"no network: {how} {change}" if change else "no network: the slide has the target's pixel pitch",)
    if not change:
        return ()
    cost = "finer detail of the slide is lost" if source.downsample > 1 else "a softer image than it was trained on"
    return (f"{how} {change} before the network: {cost}",)
