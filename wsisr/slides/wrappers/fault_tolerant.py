"""A slide whose undecodable places are of one grey: known, listed, and the same however it is read."""

from __future__ import annotations

import numpy as np

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides.slide import Seen, Slide, SlideInfo, UndecodableError, on_white
from wsisr.slides.unreadable import Hole

BLACK = 0

CELL_PX = 64
"""Side of the squares of a level, counted from its corner, that are read or given up as a whole."""


class Forgiving(Seen):
    """Closing it closes the slide. What changed or went away since it was opened is not forgiven."""

    def __init__(self, slide: Slide, grey: int = WHITE) -> None:
        super().__init__(slide)
        self._grey = grey
        self._before = _state(slide.info)
        self._holes: dict[Hole, None] = {}

    @property
    def holes(self) -> tuple[Hole, ...]:
        return tuple(self._holes)

    def read(self, box: Box, level: int) -> Rgb:
        size = self.info.level(level).size

        def of_cells(inside: Box) -> Rgb:
            cells = _of_cells(inside).intersection(Box.of(size))  # else what is white would depend on the box
            part = inside.seen_from(cells)
            return self._cells(cells, level)[part.rows, part.columns]

        return on_white(box, size, of_cells)

    def _cells(self, box: Box, level: int) -> Rgb:
        """Pixels of whole cells; one by one where not all of them can be decoded."""
        try:
            return self._slide.read(box, level)
        except UndecodableError as error:
            if _state(self.info) != self._before:
                raise SlideError(f"{self.info.path}: has changed since it was opened; repeat the command") from error
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        for top in range(box.top, box.bottom, CELL_PX):
            for left in range(box.left, box.right, CELL_PX):
                cell = Box(left, top, left + CELL_PX, top + CELL_PX).intersection(box)
                place = cell.seen_from(box)
                pixels[place.rows, place.columns] = self._cell(cell, level)
        return pixels

    def _cell(self, cell: Box, level: int) -> Rgb:
        hole = Hole(level, cell.left, cell.top, cell.right, cell.bottom)
        if hole not in self._holes:
            try:
                return self._slide.read(cell, level)
            except UndecodableError:
                self._holes[hole] = None
        return np.full((cell.height, cell.width, 3), self._grey, np.uint8)


def _of_cells(box: Box) -> Box:
    """The cells that a box touches."""
    return Box(box.left // CELL_PX, box.top // CELL_PX, -(-box.right // CELL_PX), -(-box.bottom // CELL_PX)) * CELL_PX


def _state(info: SlideInfo) -> tuple[int, int] | None:
    """Of a file on the disk; None where there is none."""
    try:
        found = info.path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
