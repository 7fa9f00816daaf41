"""A slide whose undecodable places are of one grey: known, listed, and the same however it is read."""

from __future__ import annotations

import numpy as np

from wsisr.errors import SlideError
from wsisr.geometry import Box
from wsisr.pixels import Rgb
from wsisr.slides.holes import Hole
from wsisr.slides.slide import Slide, SlideInfo, UndecodableError

CELL_PX = 64
"""Side of the squares of a level, counted from its corner, that are read or given up as a whole."""

WHITE, BLACK = 255, 0


class Forgiving(Slide):
    """Closing it closes the slide. What changed or went away since it was opened is not forgiven."""

    def __init__(self, slide: Slide, grey: int = WHITE) -> None:
        self._slide, self._grey = slide, grey
        self._before = _state(slide.info)
        self._holes: dict[Hole, None] = {}

    @property
    def info(self) -> SlideInfo:
        return self._slide.info

    @property
    def holes(self) -> tuple[Hole, ...]:
        return tuple(self._holes)

    def read(self, box: Box, level: int) -> Rgb:
        whole = Box.of(self.info.level(level).size)
        inside = box.intersection(whole)
        if not inside.size.pixels:
            return self._slide.read(box, level)
        cells = _of_cells(inside).intersection(whole)  # else what is white would depend on the box
        pixels = np.full((box.height, box.width, 3), WHITE, np.uint8)  # what lies outside a slide
        here, there = inside.seen_from(box), inside.seen_from(cells)
        pixels[here.rows, here.columns] = self._cells(cells, level)[there.rows, there.columns]
        return pixels

    def close(self) -> None:
        self._slide.close()

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
