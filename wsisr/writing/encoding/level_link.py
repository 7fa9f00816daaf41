"""Level link: which tiles of a level a tile of the next coarser one shows, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wsisr.writing.encoding.encoder import CoarserTile, FinerTile
from wsisr.writing.encoding.grid import LevelGrid


class LevelLink:
    """Two neighbouring levels, as grids."""

    def __init__(self, finer: LevelGrid, coarser: LevelGrid) -> None:
        self.finer, self.coarser = finer, coarser
        # Each tile of this grid shows one halved tile of the finer level.
        self._halved_grid = LevelGrid(coarser.size, coarser.tile_px // 2)

    def find_coarser(self, tile: int) -> int:
        """Return the coarser tile that shows a finer tile."""
        row, column = divmod(tile, self.finer.columns)
        return row // 2 * self.coarser.columns + column // 2

    def find_finer(self, tile: int) -> Iterator[int]:
        """Yield the finer tiles that a coarser tile shows: four, or fewer at the image's border."""
        return self._halved_grid.find_tiles(self.coarser.tile_box(tile))

    def describe_coarser(self, tile: int, find_halved: Callable[[int], bytes | int]) -> CoarserTile:
        """Return what an encoder needs for a coarser tile; `find_halved` gives `FinerTile.halved` of a finer tile."""
        coarser_box = self.coarser.tile_box(tile)
        finer = []
        for part in self.find_finer(tile):
            box = self._halved_grid.tile_box(part).relative_to(coarser_box)
            finer.append(FinerTile(box.left, box.top, box.width, box.height, find_halved(part)))
        return CoarserTile(coarser_box.width, coarser_box.height, finer)
