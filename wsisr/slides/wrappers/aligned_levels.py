"""A slide whose stored levels are padded, shrunk along one axis or cut out elsewhere, shown as a plain pyramid.

Each level covers level 0 and nothing else, in square pixels; levels that cannot be brought to that are left out.
"""

from __future__ import annotations

from dataclasses import replace

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.resampling import ResampledGrid
from wsisr.slides.level_geometry import LevelPlacement, place_levels
from wsisr.slides.slide import Level, Slide, SlideInfo, SlideWrapper, read_on_white


class AlignedLevelsSlide(SlideWrapper):
    """A slide whose levels lie on level 0 as their placements say."""

    def __init__(self, slide: Slide, info: SlideInfo, placements: tuple[LevelPlacement, ...]) -> None:
        super().__init__(slide, info)
        sizes = [slide.info.levels[placement.number].size for placement in placements]
        self._placements = placements
        self._grids = [
            ResampledGrid(size, placement.stretch) for size, placement in zip(sizes, placements, strict=True)
        ]

    def read(self, box: Box, level: int) -> Rgb:
        self.info.get_level(level)
        number, grid = self._placements[level].number, self._grids[level]
        stored = Box.from_size(grid.size).intersection(Box.from_size(self._placements[level].size))

        def read_resampled(inside: Box) -> Rgb:
            return grid.read(inside, lambda stored_box: self._slide.read(stored_box, number))

        return read_on_white(box, Size(stored.width, stored.height), read_resampled)


def align_levels(slide: Slide) -> Slide:
    """Return the slide with all of its levels as plain shrinks of level 0; itself where they are."""
    info = slide.info
    if len(info.level_records) != len(info.levels):
        return slide
    placements, warnings = place_levels(info.level_records, [level.downsample for level in info.levels])
    levels = tuple(Level(placement.size, placement.downsample) for placement in placements)
    if levels == info.levels and not warnings:
        return slide
    aligned = replace(info, levels=levels, level_records=(), warnings=(*info.warnings, *warnings))
    return AlignedLevelsSlide(slide, aligned, placements)
