"""How two captures of a specimen lie to each other as wholes: from an overview down to the coarser one's own pitch.

Maps between captures are in um of each, so that they hold at every pitch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from wsisr.dataset.registration.acceptance import Gate, Reason
from wsisr.dataset.registration.affine import Affine, corners, enclosing
from wsisr.dataset.registration.consensus import Agreement, agreed, scattered
from wsisr.dataset.registration.matching import Prior, match
from wsisr.dataset.registration.orientation import orientations
from wsisr.dataset.registration.refinement import Fit, Target
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.resampling import Resampled
from wsisr.slides import Slide

OVERVIEW_PX = 256
"""Longer side of the pictures in which the orientation is looked for."""

ANCHOR_PX = (32, 64)
"""Side of an anchor, at the least and at the most: a fifth of the shorter side of what both show."""

MOST_ANCHORS = 40

REACH_PX = 8
"""How far an anchor is looked for, in px of its stage; a stage is twice as fine as the one before."""


class NoCommonTissueError(DatasetError):
    """Two captures do not show the same tissue, as far as can be seen."""


@dataclass(frozen=True, slots=True)
class View:
    """A slide as seen at one pitch."""

    slide: Slide
    level: int
    grid: Resampled

    @classmethod
    def of(cls, slide: Slide, mpp: float) -> View:
        """From the coarsest level that is fine enough. Raises `DatasetError` where the slide has no pitch."""
        pitches = [pitch_of(slide, level) for level in range(len(slide.info.levels))]
        level = max((number for number, own in enumerate(pitches) if own <= 1.01 * mpp), default=0)
        return cls(slide, level, Resampled(slide.info.levels[level].size, (mpp / pitches[level],) * 2))

    @property
    def size(self) -> Size:
        return self.grid.size

    def read(self, box: Box) -> Rgb:
        return self.grid.read(box, lambda piece: self.slide.read(piece, self.level))

    def within(self, box: Box) -> Box:
        return Box.of(self.size).intersection(box)


def pitch_of(slide: Slide, level: int) -> float:
    """In um/px. Raises `DatasetError` where it is not known."""
    found = slide.info.level_mpp(level)
    if found is None:
        raise DatasetError(f"{slide.info.path}: pixel pitch is not recorded; give it with --mpp")
    return found


def align(low: Slide, high: Slide, check: Callable[[], None] = lambda: None) -> Agreement:
    """The map of the coarser capture to the finer one, um to um. Raises `NoCommonTissueError` where it finds none."""
    start = max(_extent(low), _extent(high)) / OVERVIEW_PX
    start = max(start, pitch_of(low, 0))
    pictures = [View.of(slide, start) for slide in (low, high)]
    found = orientations(*(view.read(Box.of(view.size)) for view in pictures))
    for fit in found[:3]:
        agreement = _descended(low, high, fit.map.scaled(1 / start, 1 / start), start, check)
        if agreement is not None:
            return agreement
    raise NoCommonTissueError(
        f"{low.info.path} and {high.info.path.name}: no common tissue found; give two captures of one specimen"
    )


def _extent(slide: Slide) -> float:
    return pitch_of(slide, 0) * max(slide.info.size.width, slide.info.size.height)


def _descended(low: Slide, high: Slide, place: Affine, pitch: float, check: Callable[[], None]) -> Agreement | None:
    """The map made finer stage by stage; None as soon as the fields of a stage do not agree on one."""
    finest = pitch_of(low, 0)
    while True:
        pitch = max(pitch / 2, finest)
        views = View.of(low, pitch), View.of(high, pitch)
        agreement = _anchored(*views, place.scaled(pitch, pitch), check)
        if not agreement.believed:
            return None
        place = agreement.map.scaled(1 / pitch, 1 / pitch)
        if pitch == finest:
            return Agreement(place, agreement.agreeing, agreement.looked_at, agreement.residual * pitch)


def _anchored(low: View, high: View, place: Affine, check: Callable[[], None]) -> Agreement:
    points, partners, looked_at = [], [], 0
    for box in _anchors(low.size, high.size, place):
        check()
        found = _located(low.read(box), box, high, place)
        looked_at += found != Reason.GLASS
        if isinstance(found, Fit):
            points.append(((box.left + box.right) / 2, (box.top + box.bottom) / 2))
            partners.append(found.map(np.array([[box.width / 2, box.height / 2]]))[0])
    return agreed(np.array(points).reshape(-1, 2), np.array(partners).reshape(-1, 2), place, looked_at)


def _anchors(low: Size, high: Size, place: Affine) -> Iterator[Box]:
    """Boxes of the coarser capture that lie within the finer one."""
    common = landing(Box.of(high), place.inverse, 0).intersection(Box.of(low))
    shorter = min(common.width, common.height)
    side = min(shorter, max(ANCHOR_PX[0], min(shorter // 5, ANCHOR_PX[1])))
    boxes = [
        Box(left, top, left + side, top + side)
        for top in range(common.top, common.bottom - side + 1, max(side, 1))
        for left in range(common.left, common.right - side + 1, max(side, 1))
        if side
    ]
    inside = [box for box in boxes if Box.of(high).contains(landing(box, place, 0))]
    return (inside[index] for index in scattered(len(inside), MOST_ANCHORS))


def landing(box: Box, place: Affine, margin: int) -> Box:
    """Where a box of the coarser capture comes to lie in the finer one, and a margin."""
    return enclosing(place.seen_from(box.left, box.top)(corners(box.size)), margin)


def _located(patch: Rgb, box: Box, high: View, place: Affine) -> Fit | Reason:
    """A field of the coarser capture in the finer one; its map starts at the box and ends in the whole finer view."""
    return located(patch, box, high, place, REACH_PX)


def located(patch: Rgb, box: Box, high: View, place: Affine, reach_px: int) -> Fit | Reason:
    """A field of the coarser capture in the finer one: its map starts at the box's corner, and ends in the finer view.

    `place` is the whole capture's map, in px of both.
    """
    around = high.within(landing(box, place, round(place.scale * (reach_px + 4))))
    if min(around.width, around.height) < place.scale * box.width / 2:
        return Reason.OUTSIDE
    prior = place.seen_from(box.left, box.top).moved(-around.left, -around.top)
    found = match(patch, Target.seen_at(high.read(around), place.scale), Prior(prior, reach_px), Gate())
    if isinstance(found, Reason):
        return found
    return Fit(
        found.map.moved(around.left, around.top), found.correlation, found.expected_error, found.strain, found.colours
    )
