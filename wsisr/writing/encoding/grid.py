"""The tiles of one pyramid level, counted row by row from the top left; boxes are in px of that level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb


@dataclass(frozen=True, slots=True)
class Grid:
    """A level cut into square tiles; the last column and row may be cut off by the image border."""

    size: Size
    tile_px: int

    @property
    def columns(self) -> int:
        return -(-self.size.width // self.tile_px)

    @property
    def rows(self) -> int:
        return -(-self.size.height // self.tile_px)

    @property
    def tiles(self) -> int:
        return self.columns * self.rows

    def box(self, tile: int) -> Box:
        """The part of a tile that lies inside the image."""
        row, column = divmod(tile, self.columns)
        left, top = column * self.tile_px, row * self.tile_px
        return Box(left, top, min(left + self.tile_px, self.size.width), min(top + self.tile_px, self.size.height))

    def row(self, row: int) -> range:
        """Tiles of a row, from left to right."""
        return range(row * self.columns, (row + 1) * self.columns)

    def by_rows(self) -> Iterator[range]:
        """All tiles, a row at a time."""
        return map(self.row, range(self.rows))

    def touching(self, box: Box) -> Iterator[int]:
        """Tiles that have pixels in a box, which must lie inside the image and hold at least one pixel."""
        columns = slice(box.left // self.tile_px, (box.right - 1) // self.tile_px + 1)
        for row in range(box.top // self.tile_px, (box.bottom - 1) // self.tile_px + 1):
            yield from self.row(row)[columns]

    def squares(self, tiles: Iterable[int], side: int) -> list[list[int]]:
        """The same tiles, grouped by squares of so many tiles along each axis."""
        groups: dict[tuple[int, int], list[int]] = {}
        for tile in tiles:
            row, column = divmod(tile, self.columns)
            groups.setdefault((row // side, column // side), []).append(tile)
        return list(groups.values())

    def read(self, box: Box, pixels_of: Callable[[int], Rgb]) -> Rgb:
        """Pixels of a box inside the image, (h, w, 3), put together from those of whole tiles."""
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        for tile in self.touching(box):
            source = self.box(tile)
            part = source.intersection(box)
            inside, here = part.seen_from(source), part.seen_from(box)
            pixels[here.rows, here.columns] = pixels_of(tile)[inside.rows, inside.columns]
        return pixels

    def holds_whole_tiles(self, box: Box) -> bool:
        """Whether a box is made of whole tiles: its sides are multiples of the tile or the image border."""
        inside = box.width > 0 and box.height > 0 and Box.of(self.size).contains(box)
        starts = box.left % self.tile_px == 0 and box.top % self.tile_px == 0
        ends_x = box.right % self.tile_px == 0 or box.right == self.size.width
        ends_y = box.bottom % self.tile_px == 0 or box.bottom == self.size.height
        return inside and starts and ends_x and ends_y


def pieces(tiles: range, most: int) -> Iterator[range]:
    """The same in their order, at most so many at a time."""
    return (tiles[start : start + most] for start in range(0, len(tiles), most))


def pyramid(size: Size, tile_px: int) -> tuple[Grid, ...]:
    """Grids from level 0 to the first level that fits in one tile, each half the one above, rounded up.

    Rounding up keeps the last odd row and column; one tile makes a viewer's overview a single read.
    """
    grids = [Grid(size, tile_px)]
    while grids[-1].tiles > 1:
        finer = grids[-1].size
        grids.append(Grid(Size((finer.width + 1) // 2, (finer.height + 1) // 2), tile_px))
    return tuple(grids)
