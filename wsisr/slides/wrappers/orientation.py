"""A slide turned as its TIFF's Orientation tag says.

OpenSlide and tifffile show pixels as stored; large_image and viewers of photographs turn them. A result has no such
tag, so that it is turned once and for all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.slide import Level, Slide, SlideWrapper


class Turn(NamedTuple):
    """How a stored picture becomes the one to show: transposed first, then mirrored."""

    transpose: bool
    mirror_rows: bool
    mirror_columns: bool


TURNS = {
    2: Turn(False, False, True),
    3: Turn(False, True, True),
    4: Turn(False, True, False),
    5: Turn(True, False, False),
    6: Turn(True, False, True),
    7: Turn(True, True, True),
    8: Turn(True, True, False),
}
"""Keys are values of TIFF's Orientation; 1 is as stored."""


class TurnedSlide(SlideWrapper):
    """A slide whose rows and columns are turned. Places count in the turned picture."""

    def __init__(self, slide: Slide, orientation: int) -> None:
        self._turn = TURNS[orientation]
        info = slide.info
        aspect = info.pixel_aspect[::-1] if self._turn.transpose else info.pixel_aspect
        super().__init__(
            slide,
            replace(
                info,
                levels=tuple(Level(self._turn_size(level.size), level.downsample) for level in info.levels),
                bounds=None if info.bounds is None else self._turn_box(info.bounds, info.size),
                pixel_aspect=(aspect[0], aspect[1]),
                level_records=(),
                warnings=(
                    *info.warnings,
                    f"the picture is turned as its Orientation tag ({orientation}) says, and places count in the "
                    "turned one; OpenSlide and QuPath show it as stored",
                ),
            ),
        )

    def read(self, box: Box, level: int) -> Rgb:
        size = self.info.get_level(level).size
        rows = (size.height - box.bottom, size.height - box.top) if self._turn.mirror_rows else (box.top, box.bottom)
        columns = (
            (size.width - box.right, size.width - box.left) if self._turn.mirror_columns else (box.left, box.right)
        )
        upright = Box(columns[0], rows[0], columns[1], rows[1])
        stored = Box(upright.top, upright.left, upright.bottom, upright.right) if self._turn.transpose else upright
        return self._turn_pixels(self._slide.read(stored, level))

    def _turn_size(self, size: Size) -> Size:
        return Size(size.height, size.width) if self._turn.transpose else size

    def _turn_pixels(self, pixels: Rgb) -> Rgb:
        turned = pixels.transpose(1, 0, 2) if self._turn.transpose else pixels
        turned = turned[::-1] if self._turn.mirror_rows else turned
        return np.ascontiguousarray(turned[:, ::-1] if self._turn.mirror_columns else turned)

    def _turn_box(self, stored: Box, stored_size: Size) -> Box:
        """Return where a box of the stored picture lies in the turned one."""
        size, turn = self._turn_size(stored_size), self._turn
        box = Box(stored.top, stored.left, stored.bottom, stored.right) if turn.transpose else stored
        left, right = (size.width - box.right, size.width - box.left) if turn.mirror_columns else (box.left, box.right)
        top, bottom = (size.height - box.bottom, size.height - box.top) if turn.mirror_rows else (box.top, box.bottom)
        return Box(left, top, right, bottom)
