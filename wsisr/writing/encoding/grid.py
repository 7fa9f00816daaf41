"""The tiles of one pyramid level, counted row by row from the top left; boxes are in px of that level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb


@dataclass(frozen=True, slots=True)
class LevelGrid:
    """A level divided into square tiles; those of the last column and row may reach over the image border."""

    size: Size
    tile_px: int

    @property
    def columns(self) -> int:
        return -(-self.size.width // self.tile_px)

    @property
    def rows(self) -> int:
        return -(-self.size.height // self.tile_px)

    @property
    def tile_count(self) -> int:
        return self.columns * self.rows

    def tile_box(self, tile: int) -> Box:
        """Return the part of a tile that lies inside the image."""
        row, column = divmod(tile, self.columns)
        left, top = column * self.tile_px, row * self.tile_px
        return Box(left, top, min(left + self.tile_px, self.size.width), min(top + self.tile_px, self.size.height))

    def row_tiles(self, row: int) -> range:
        """Return the tiles of a row, from left to right."""
        return range(row * self.columns, (row + 1) * self.columns)

    def iterate_rows(self) -> Iterator[range]:
        """Yield all tiles, one row at a time."""
        return map(self.row_tiles, range(self.rows))

    def find_tiles(self, box: Box) -> Iterator[int]:
        """Yield tiles that share pixels with a box, which must lie inside the image and hold at least one pixel."""
        columns = slice(box.left // self.tile_px, (box.right - 1) // self.tile_px + 1)
        for row in range(box.top // self.tile_px, (box.bottom - 1) // self.tile_px + 1):
            yield from self.row_tiles(row)[columns]

    def group_by_square(self, tiles: Iterable[int], side: int) -> list[list[int]]:
        """Group tiles by squares of `side` x `side` tiles."""
        groups: dict[tuple[int, int], list[int]] = {}
        for tile in tiles:
            row, column = divmod(tile, self.columns)
            groups.setdefault((row // side, column // side), []).append(tile)
        return list(groups.values())

    def read_box(self, box: Box, read_tile: Callable[[int], Rgb]) -> Rgb:
        """Return the pixels of a box inside the image, (h, w, 3), composed from whole tiles."""
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        for tile in self.find_tiles(box):
            tile_box = self.tile_box(tile)
            shared = tile_box.intersection(box)
            source, target = shared.relative_to(tile_box), shared.relative_to(box)
            pixels[target.rows, target.columns] = read_tile(tile)[source.rows, source.columns]
        return pixels

    def has_whole_tiles(self, box: Box) -> bool:
        """Return whether a box consists of whole tiles: its sides are multiples of the tile or the image border."""
        is_inside = box.width > 0 and box.height > 0 and Box.from_size(self.size).contains(box)
        starts = box.left % self.tile_px == 0 and box.top % self.tile_px == 0
        ends_x = box.right % self.tile_px == 0 or box.right == self.size.width
        ends_y = box.bottom % self.tile_px == 0 or box.bottom == self.size.height
        return is_inside and starts and ends_x and ends_y


def split_range(tiles: range, max_length: int) -> Iterator[range]:
    """Split a range into consecutive pieces of at most `max_length`."""
    return (tiles[start : start + max_length] for start in range(0, len(tiles), max_length))


def build_level_grids(size: Size, tile_px: int) -> tuple[LevelGrid, ...]:
    """Return the grids from level 0 to the first level that fits in one tile, each half the finer one, rounded up.

    Rounding up keeps the last odd row and column; one tile makes a viewer's overview a single read.
    """
    grids = [LevelGrid(size, tile_px)]
    while grids[-1].tile_count > 1:
        finer = grids[-1].size
        grids.append(LevelGrid(Size((finer.width + 1) // 2, (finer.height + 1) // 2), tile_px))
    return tuple(grids)
