"""From a slide to one exact pixel size, whatever pixel size it was scanned at.

Detail that the slide has is never traded for an estimate where plain resampling will do: a slide as fine as the target
is shrunk, one a little coarser is interpolated. Only otherwise does a network enlarge it, from a multiple of the
target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box
from wsisr.models.spec import SCALES
from wsisr.slides import Slide
from wsisr.slides.pixel_size import COARSEST_MPP, FINEST_MPP, is_plausible_mpp
from wsisr.slides.region import SlideRegion, crop_region, is_fine_enough, require_mpp, select_region

NETWORK_FROM_RATIO = math.sqrt(2)
"""Ratio of the slide's pixel size to the target's from which a network is worth the detail that it invents."""

LARGEST_INTERPOLATION = 1.15
"""Times by which the input of a network may be interpolated: a little softness costs less than detail thrown away."""


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """A region of a slide and the scale by which it is enlarged."""

    region: SlideRegion
    scale: int
    """1 where the region is the result and no network is needed."""


def plan_scale(slide: Slide, mpp: float, area: Box | None = None) -> ScalePlan:
    """Return the level, resampling and scale by which a slide, or an area in its level-0 px, comes to `mpp` um/px.

    Raises `SlideError` where the slide's pixel size is not known, or too coarse for every network.
    """
    if not is_plausible_mpp(mpp):
        raise SlideError(
            f"no slide has pixels of {mpp:g} um; choose a target of {FINEST_MPP:g} to {COARSEST_MPP:g} um/px"
        )
    slide_mpp = require_mpp(slide.info)
    scale = _choose_scale(slide, slide_mpp / mpp)
    if is_fine_enough(slide.info, scale * mpp):
        region = select_region(slide, mpp=scale * mpp, area=area)
    else:
        region = crop_region(SlideRegion(slide, 0, scale * mpp / slide_mpp), area)
    return ScalePlan(replace(region, selection_warnings=_resampling_warnings(region, scale, slide_mpp)), scale)


def _choose_scale(slide: Slide, ratio: float) -> int:
    """Return the smallest scale that will do for a slide whose pixels are `ratio` times as large as the target's."""
    if ratio < NETWORK_FROM_RATIO:
        return 1
    fitting = [scale for scale in SCALES if scale * LARGEST_INTERPOLATION >= ratio]
    if not fitting:
        raise SlideError(
            f"{slide.info.path}: is {ratio:.3g} times as coarse as the target, and no network enlarges by more than "
            f"{max(SCALES)}; choose a coarser target"
        )
    return fitting[0]


def _resampling_warnings(region: SlideRegion, scale: int, slide_mpp: float) -> tuple[str, ...]:
    """Return what resampling from the slide's own pixel size to the result's leaves out or makes up.

    Files record the text, and a finished file counts as the same only if its text is.
    """
    change = "" if region.downsample == 1 else f"from {slide_mpp:.4g} to {region.mpp:.4g} um/px"
    how = "shrunk by area mean" if region.downsample > 1 else "interpolated by bicubic"
    if scale == 1:
        return (f"no network: {how} {change}" if change else "no network: the slide has the target's pixel pitch",)
    if not change:
        return ()
    cost = "finer detail of the slide is lost" if region.downsample > 1 else "a softer image than it was trained on"
    return (f"{how} {change} before the network: {cost}",)
