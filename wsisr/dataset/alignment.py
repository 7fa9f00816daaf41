"""Alignment of two whole captures of a specimen, from an overview down to the pixel size of the coarser capture.

Maps between captures are in um of each, so that they hold at every pixel size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from wsisr.dataset.registration.acceptance import AcceptanceLimits, RegistrationFailure
from wsisr.dataset.registration.affine import Affine, corner_points, enclosing_box
from wsisr.dataset.registration.consensus import MapConsensus, fit_consensus_map, sample_indices
from wsisr.dataset.registration.matching import MapPrior, register_field
from wsisr.dataset.registration.orientation import find_orientations
from wsisr.dataset.registration.refinement import FittedMap, RegistrationTarget
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.resampling import ResampledGrid
from wsisr.slides import Slide
from wsisr.slides.region import find_level_for_mpp

OVERVIEW_PX = 256
"""Longer side of the overviews in which the orientation is searched."""

ANCHOR_PX = (32, 64)
"""Smallest and largest side of an anchor field; between them, a fifth of the shorter side of the common area."""

MAX_ANCHORS = 40
"""Most anchor fields of a stage."""

ANCHOR_SEARCH_PX = 8
"""Search radius of an anchor field, in px of its stage; each stage is twice as fine as the one before."""


class NoCommonTissueError(DatasetError):
    """No common tissue was found in two captures."""


@dataclass(frozen=True, slots=True)
class SlideView:
    """A slide resampled to one pixel size."""

    slide: Slide
    level: int
    """Level of the slide that is read."""
    grid: ResampledGrid

    @classmethod
    def at_pixel_size(cls, slide: Slide, mpp: float) -> SlideView:
        """Resample the coarsest level that is fine enough. Raises `DatasetError` if the slide has no pixel size."""
        require_pixel_size(slide, 0)
        level = find_level_for_mpp(slide.info, mpp)
        factor = mpp / require_pixel_size(slide, level)
        return cls(slide, level, ResampledGrid(slide.info.levels[level].size, (factor, factor)))

    @property
    def size(self) -> Size:
        return self.grid.size

    def read(self, box: Box) -> Rgb:
        return self.grid.read(box, lambda piece: self.slide.read(piece, self.level))

    def clip(self, box: Box) -> Box:
        return Box.from_size(self.size).intersection(box)


def require_pixel_size(slide: Slide, level: int) -> float:
    """Return the pixel size of a level in um/px. Raises `DatasetError` if it is not recorded."""
    mpp = slide.info.level_mpp(level)
    if mpp is None:
        raise DatasetError(f"{slide.info.path}: pixel size is not recorded; give it with --mpp")
    return mpp


def align_captures(low: Slide, high: Slide, check: Callable[[], None] = lambda: None) -> MapConsensus:
    """Find the map from the coarser capture to the finer one, um to um; `check` is called between fields.

    Raises `NoCommonTissueError` if there is none.
    """
    overview_mpp = max(_extent_um(low) / OVERVIEW_PX, _extent_um(high) / OVERVIEW_PX, require_pixel_size(low, 0))
    overviews = [SlideView.at_pixel_size(slide, overview_mpp) for slide in (low, high)]
    orientations = find_orientations(*(view.read(Box.from_size(view.size)) for view in overviews))
    for fitted in orientations[:3]:
        start = fitted.map.rescale(1 / overview_mpp, 1 / overview_mpp)
        consensus = _refine_by_stages(low, high, start, overview_mpp, check)
        if consensus is not None:
            return consensus
    raise NoCommonTissueError(
        f"{low.info.path} and {high.info.path.name}: no common tissue found; give two captures of one specimen"
    )


def _extent_um(slide: Slide) -> float:
    return require_pixel_size(slide, 0) * max(slide.info.size.width, slide.info.size.height)


def _refine_by_stages(
    low: Slide, high: Slide, start: Affine, start_mpp: float, check: Callable[[], None]
) -> MapConsensus | None:
    """Refine the map stage by stage; None as soon as the anchor fields of a stage do not agree on a map."""
    finest_mpp = require_pixel_size(low, 0)
    map_um, mpp = start, start_mpp
    while True:
        mpp = max(mpp / 2, finest_mpp)
        views = SlideView.at_pixel_size(low, mpp), SlideView.at_pixel_size(high, mpp)
        consensus = _align_stage(*views, map_um.rescale(mpp, mpp), check)
        if not consensus.is_reliable:
            return None
        map_um = consensus.map.rescale(1 / mpp, 1 / mpp)
        if mpp == finest_mpp:
            return MapConsensus(map_um, consensus.inliers, consensus.candidates, consensus.residual * mpp)


def _align_stage(low: SlideView, high: SlideView, prior: Affine, check: Callable[[], None]) -> MapConsensus:
    """Register anchor fields at one pixel size and fit the map that most of them agree on."""
    points, partners, candidates = [], [], 0
    for box in _place_anchors(low.size, high.size, prior):
        check()
        registered = register_patch(low.read(box), box, high, prior, ANCHOR_SEARCH_PX)
        candidates += registered != RegistrationFailure.GLASS
        if isinstance(registered, FittedMap):
            points.append(((box.left + box.right) / 2, (box.top + box.bottom) / 2))
            partners.append(registered.map(np.array([[box.width / 2, box.height / 2]]))[0])
    return fit_consensus_map(np.array(points).reshape(-1, 2), np.array(partners).reshape(-1, 2), prior, candidates)


def _place_anchors(low: Size, high: Size, prior: Affine) -> Iterator[Box]:
    """Yield boxes of the coarser capture that lie within the finer one, scattered over their common area."""
    common = map_box(Box.from_size(high), prior.inverse, 0).intersection(Box.from_size(low))
    shorter = min(common.width, common.height)
    side = min(shorter, max(ANCHOR_PX[0], min(shorter // 5, ANCHOR_PX[1])))
    boxes = [
        Box(left, top, left + side, top + side)
        for top in range(common.top, common.bottom - side + 1, max(side, 1))
        for left in range(common.left, common.right - side + 1, max(side, 1))
        if side
    ]
    inside = [box for box in boxes if Box.from_size(high).contains(map_box(box, prior, 0))]
    return (inside[index] for index in sample_indices(len(inside), MAX_ANCHORS))


def map_box(box: Box, low_to_high: Affine, margin: int) -> Box:
    """Return the smallest box of the finer capture that holds a box of the coarser one and a margin."""
    return enclosing_box(low_to_high.shift_origin(box.left, box.top)(corner_points(box.size)), margin)


def register_patch(
    patch: Rgb, box: Box, high: SlideView, low_to_high: Affine, search_px: int
) -> FittedMap | RegistrationFailure:
    """Register a patch of the coarser capture in the finer one.

    `low_to_high` is the map of the whole captures in px of both; the patch is searched within `search_px` px of it.
    The fitted map leads from the patch, whose origin is the corner of the box, to the whole finer view.
    """
    # 4 px beyond the search radius, for the blur and the bilinear sampling of the target.
    around = high.clip(map_box(box, low_to_high, round(low_to_high.scale * (search_px + 4))))
    if min(around.width, around.height) < low_to_high.scale * box.width / 2:
        return RegistrationFailure.OUTSIDE
    prior = low_to_high.shift_origin(box.left, box.top).translate(-around.left, -around.top)
    target = RegistrationTarget.prepare(high.read(around), low_to_high.scale)
    registered = register_field(patch, target, MapPrior(prior, search_px), AcceptanceLimits())
    if isinstance(registered, RegistrationFailure):
        return registered
    return replace(registered, map=registered.map.translate(around.left, around.top))
