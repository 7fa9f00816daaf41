"""How two captures of a specimen lie to each other as wholes: from an overview down to the coarser one's own pitch.

Maps between captures are in um of each, so that they hold at every pitch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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

OVERVIEW_PX = 256
"""Longer side of the pictures in which the orientation is looked for."""

ANCHOR_PX = (32, 64)
"""Side of an anchor, at the least and at the most: a fifth of the shorter side of what both show."""

MAX_ANCHORS = 40

ANCHOR_SEARCH_PX = 8
"""How far an anchor is looked for, in px of its stage; a stage is twice as fine as the one before."""


class NoCommonTissueError(DatasetError):
    """Two captures do not show the same tissue, as far as can be seen."""


@dataclass(frozen=True, slots=True)
class SlideView:
    """A slide as seen at one pitch."""

    slide: Slide
    level: int
    grid: ResampledGrid

    @classmethod
    def at_pixel_size(cls, slide: Slide, mpp: float) -> SlideView:
        """From the coarsest level that is fine enough. Raises `DatasetError` where the slide has no pitch."""
        pitches = [require_pixel_size(slide, level) for level in range(len(slide.info.levels))]
        level = max((number for number, own in enumerate(pitches) if own <= 1.01 * mpp), default=0)
        return cls(slide, level, ResampledGrid(slide.info.levels[level].size, (mpp / pitches[level],) * 2))

    @property
    def size(self) -> Size:
        return self.grid.size

    def read(self, box: Box) -> Rgb:
        return self.grid.read(box, lambda piece: self.slide.read(piece, self.level))

    def clip(self, box: Box) -> Box:
        return Box.from_size(self.size).intersection(box)


def require_pixel_size(slide: Slide, level: int) -> float:
    """In um/px. Raises `DatasetError` where it is not known."""
    found = slide.info.level_mpp(level)
    if found is None:
        raise DatasetError(f"{slide.info.path}: pixel pitch is not recorded; give it with --mpp")
    return found


def align_captures(low: Slide, high: Slide, check: Callable[[], None] = lambda: None) -> MapConsensus:
    """The map of the coarser capture to the finer one, um to um. Raises `NoCommonTissueError` where it finds none."""
    start = max(_extent_um(low), _extent_um(high)) / OVERVIEW_PX
    start = max(start, require_pixel_size(low, 0))
    pictures = [SlideView.at_pixel_size(slide, start) for slide in (low, high)]
    found = find_orientations(*(view.read(Box.from_size(view.size)) for view in pictures))
    for fit in found[:3]:
        agreement = _refine_by_stages(low, high, fit.map.rescale(1 / start, 1 / start), start, check)
        if agreement is not None:
            return agreement
    raise NoCommonTissueError(
        f"{low.info.path} and {high.info.path.name}: no common tissue found; give two captures of one specimen"
    )


def _extent_um(slide: Slide) -> float:
    return require_pixel_size(slide, 0) * max(slide.info.size.width, slide.info.size.height)


def _refine_by_stages(
    low: Slide, high: Slide, place: Affine, pitch: float, check: Callable[[], None]
) -> MapConsensus | None:
    """The map made finer stage by stage; None as soon as the fields of a stage do not agree on one."""
    finest = require_pixel_size(low, 0)
    while True:
        pitch = max(pitch / 2, finest)
        views = SlideView.at_pixel_size(low, pitch), SlideView.at_pixel_size(high, pitch)
        agreement = _align_stage(*views, place.rescale(pitch, pitch), check)
        if not agreement.is_reliable:
            return None
        place = agreement.map.rescale(1 / pitch, 1 / pitch)
        if pitch == finest:
            return MapConsensus(place, agreement.inliers, agreement.candidates, agreement.residual * pitch)


def _align_stage(low: SlideView, high: SlideView, place: Affine, check: Callable[[], None]) -> MapConsensus:
    points, partners, looked_at = [], [], 0
    for box in _place_anchors(low.size, high.size, place):
        check()
        found = _register_anchor(low.read(box), box, high, place)
        looked_at += found != RegistrationFailure.GLASS
        if isinstance(found, FittedMap):
            points.append(((box.left + box.right) / 2, (box.top + box.bottom) / 2))
            partners.append(found.map(np.array([[box.width / 2, box.height / 2]]))[0])
    return fit_consensus_map(np.array(points).reshape(-1, 2), np.array(partners).reshape(-1, 2), place, looked_at)


def _place_anchors(low: Size, high: Size, place: Affine) -> Iterator[Box]:
    """Boxes of the coarser capture that lie within the finer one."""
    common = map_box(Box.from_size(high), place.inverse, 0).intersection(Box.from_size(low))
    shorter = min(common.width, common.height)
    side = min(shorter, max(ANCHOR_PX[0], min(shorter // 5, ANCHOR_PX[1])))
    boxes = [
        Box(left, top, left + side, top + side)
        for top in range(common.top, common.bottom - side + 1, max(side, 1))
        for left in range(common.left, common.right - side + 1, max(side, 1))
        if side
    ]
    inside = [box for box in boxes if Box.from_size(high).contains(map_box(box, place, 0))]
    return (inside[index] for index in sample_indices(len(inside), MAX_ANCHORS))


def map_box(box: Box, place: Affine, margin: int) -> Box:
    """Where a box of the coarser capture comes to lie in the finer one, and a margin."""
    return enclosing_box(place.shift_origin(box.left, box.top)(corner_points(box.size)), margin)


def _register_anchor(patch: Rgb, box: Box, high: SlideView, place: Affine) -> FittedMap | RegistrationFailure:
    """A field of the coarser capture in the finer one; its map starts at the box and ends in the whole finer view."""
    return register_patch(patch, box, high, place, ANCHOR_SEARCH_PX)


def register_patch(
    patch: Rgb, box: Box, high: SlideView, place: Affine, reach_px: int
) -> FittedMap | RegistrationFailure:
    """A field of the coarser capture in the finer one: its map starts at the box's corner, and ends in the finer view.

    `place` is the whole capture's map, in px of both.
    """
    around = high.clip(map_box(box, place, round(place.scale * (reach_px + 4))))
    if min(around.width, around.height) < place.scale * box.width / 2:
        return RegistrationFailure.OUTSIDE
    prior = place.shift_origin(box.left, box.top).translate(-around.left, -around.top)
    found = register_field(
        patch, RegistrationTarget.prepare(high.read(around), place.scale), MapPrior(prior, reach_px), AcceptanceLimits()
    )
    if isinstance(found, RegistrationFailure):
        return found
    return FittedMap(
        found.map.translate(around.left, around.top),
        found.correlation,
        found.expected_error,
        found.strain,
        found.colours,
    )
