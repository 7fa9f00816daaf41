"""A slide that paints regions which cannot be decoded in one grey, and lists them, instead of raising an error.

The result does not depend on the boxes in which a slide is read: a level is divided into fixed square cells, and each
cell is either decoded or painted as a whole.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides.slide import Slide, SlideWrapper, UndecodableError, read_on_white
from wsisr.slides.unreadable import UnreadableRegion

BLACK = 0

CELL_PX = 64
"""Side of the cells in px of their level, counted from the level's top left corner."""


class FaultTolerantSlide(SlideWrapper):
    """A slide whose damaged cells are of one grey.

    Only undecodable pixels are tolerated: of a file that changed or went away, `UnchangedSlide` raises another error.
    """

    def __init__(self, slide: Slide, grey: int = WHITE) -> None:
        super().__init__(slide)
        self._grey = grey
        self._unreadable: dict[UnreadableRegion, None] = {}

    @property
    def unreadable_regions(self) -> tuple[UnreadableRegion, ...]:
        return tuple(self._unreadable)

    def read(self, box: Box, level: int) -> Rgb:
        size = self.info.get_level(level).size

        def read_whole_cells(inside: Box) -> Rgb:
            # Only whole cells are ever read, so that what is painted does not depend on the box.
            cells = _grow_to_cells(inside).intersection(Box.from_size(size))
            part = inside.relative_to(cells)
            return self._read_cells(cells, level)[part.rows, part.columns]

        return read_on_white(box, size, read_whole_cells)

    def _read_cells(self, box: Box, level: int) -> Rgb:
        """Read whole cells at once; cell by cell where not all of them can be decoded."""
        with suppress(UndecodableError):
            return self._slide.read(box, level)
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        for top in range(box.top, box.bottom, CELL_PX):
            for left in range(box.left, box.right, CELL_PX):
                cell = Box(left, top, left + CELL_PX, top + CELL_PX).intersection(box)
                target = cell.relative_to(box)
                pixels[target.rows, target.columns] = self._read_cell(cell, level)
        return pixels

    def _read_cell(self, cell: Box, level: int) -> Rgb:
        region = UnreadableRegion(level, cell.left, cell.top, cell.right, cell.bottom)
        if region not in self._unreadable:
            try:
                return self._slide.read(cell, level)
            except UndecodableError:
                self._unreadable[region] = None
        return np.full((cell.height, cell.width, 3), self._grey, np.uint8)


def _grow_to_cells(box: Box) -> Box:
    """Return the box of all cells that a box touches."""
    return Box(box.left // CELL_PX, box.top // CELL_PX, -(-box.right // CELL_PX), -(-box.bottom // CELL_PX)) * CELL_PX
