"""Audit: what is measured of a result while it is made. Of tiles that an earlier run finished, that run's measures."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np

from wsisr.imaging.tiling import Tile, TileGrid
from wsisr.upscaling.residual import Counts, Residual
from wsisr.upscaling.seams import Seams, Side, Sides
from wsisr.writing import Diary, Entry

TILING, MEASURES = "tiling", "measures"
"""Kinds of records: how tiles are cut from there on, and what was measured of one."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What a tile's finished block shows."""

    sides: Sides
    apart: Counts

    def packed(self) -> bytes:
        file = BytesIO()
        sides = zip(Sides._fields, self.sides, strict=True)
        arrays = {f"{place}.{name}": getattr(side, name) for place, side in sides for name in Side.__slots__}
        np.savez(file, apart=self.apart, **arrays)
        return file.getvalue()

    @classmethod
    def unpacked(cls, content: bytes) -> Measures:
        with np.load(BytesIO(content), allow_pickle=False) as found:
            sides = (Side(*(found[f"{place}.{name}"] for name in Side.__slots__)) for place in Sides._fields)
            return cls(Sides(*sides), found["apart"])


class Audit:
    """Takes tiles row by row; an earlier run's in their turn, so that the sum is the same to the last digit."""

    def __init__(self, scale: int) -> None:
        self.seams, self.residual = Seams(scale), Residual(scale)
        self.measured = 0
        """Tiles of which something is known; fewer than there are where an earlier run cut them otherwise."""
        self._next = 0

    def begin(self, grid: TileGrid, cell_px: int, diary: Diary | None = None) -> None:
        """For a grid in cells of so many px of the result; with what earlier runs wrote of the same grid."""
        self._grid, self._cell_px, self._diary = grid, cell_px, diary
        self._known = _known(diary, str(grid)) if diary else {}

    def add(self, tile: Tile, measures: Measures) -> None:
        """A tile that an earlier run measured keeps that: made again for a neighbour's sake, it may lack the feather
        of the one before it."""
        number = tile.row * self._grid.columns + tile.column
        if number in self._known:
            return
        self._recall(number)
        if self._diary:
            self._diary.add(MEASURES, measures.packed(), number)
        self._take(tile, measures)

    def end(self) -> None:
        self._recall(len(self._grid))

    def _recall(self, end: int) -> None:
        """Takes what is known of the tiles before a number that had no turn yet."""
        for number in range(self._next, end):
            if self._diary and number in self._known:
                row, column = divmod(number, self._grid.columns)
                self._take(self._grid.tile(column, row), Measures.unpacked(self._diary.content(self._known[number])))
        self._next = end

    def _take(self, tile: Tile, measures: Measures) -> None:
        self.measured += 1
        self.seams.add(tile, measures.sides, self._cell_px)
        self.residual.add(tile, measures.apart)


def _known(diary: Diary, grid: str) -> dict[int, Entry]:
    """Number of a tile to its measures."""
    known: dict[int, Entry] = {}
    now = ""
    for entry in diary.found:
        if entry.kind == TILING:
            now = diary.content(entry).decode()
        elif entry.kind == MEASURES and now == grid:
            known[entry.number] = entry
    if now != grid:
        diary.add(TILING, grid.encode())
    return known
