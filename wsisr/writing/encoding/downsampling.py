"""The levels of a pyramid in the making: a tile of a coarser one is made as soon as those it shows are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from threading import Lock

import numpy as np

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import Crew
from wsisr.writing.encoding.encoder import Coarser, Coder, Finer
from wsisr.writing.encoding.grid import Grid
from wsisr.writing.workdir.tile_store import TileStore


class Levels:
    """Stores, the finest first. Memory: a byte for each four tiles. Methods raise what those of a `TileStore` do."""

    def __init__(self, stores: Sequence[TileStore]) -> None:
        self._finest = stores[0]
        self._steps = [_Step(finer, coarser) for finer, coarser in pairwise(stores)]

    def put(self, coder: Coder, tiles: Sequence[int], pixels: Sequence[Rgb]) -> None:
        """Store tiles of the finest level, and every coarser one that is complete with them. Safe from any thread."""
        self._finest.put(tiles, coder.encode(pixels))
        for step in self._steps:
            above = step.completed(tiles)
            if not above:
                return
            step.make(coder, above, tiles)
            tiles = above

    def fill(self, crew: Crew, coder: Callable[[], AbstractContextManager[Coder]]) -> Iterator[int]:
        """Make what an earlier run left of the coarser levels; yields how many of their tiles are there, row by row."""
        done = 0
        for step in self._steps:

            def make(tile: int, step: _Step = step) -> None:
                with coder() as mine:
                    step.make(mine, [tile], ())

            for row in step.coarser.grid.by_rows():
                crew.each(make, step.coarser.lacking(row))
                done += len(row)
                yield done


class _Step:
    """From one level to the next."""

    def __init__(self, finer: TileStore, coarser: TileStore) -> None:
        self.finer, self.coarser = finer, coarser
        # A tile of the finer level, halved, is one of these.
        self._halved = Grid(coarser.grid.size, coarser.grid.tile_px // 2)
        self._awaited = _sums_of_four(~finer.found.reshape(finer.grid.rows, finer.grid.columns)).ravel()
        self._lock = Lock()
        # A power cut may have left a tile, but not what it was made from; that may come out otherwise the next time.
        coarser.forget(np.flatnonzero(self._awaited))

    def completed(self, tiles: Sequence[int]) -> list[int]:
        """Tiles of the coarser level that waited for nothing else; to be asked once for each tile that comes."""
        above = [self._above(tile) for tile in tiles]
        with self._lock:
            return [tile for tile in above if self._complete_with_one_more(tile)]

    def make(self, coder: Coder, tiles: Sequence[int], latest: Sequence[int]) -> None:
        """Store tiles of the coarser level. `latest` are those of the finer one that the coder made last, in their
        order, which need not be read again."""
        at_hand = {tile: number for number, tile in enumerate(latest)}
        self.coarser.put(tiles, coder.coarser(self._shown(tile, at_hand) for tile in tiles))

    def _above(self, tile: int) -> int:
        """The coarser tile that shows a tile of the finer level."""
        row, column = divmod(tile, self.finer.grid.columns)
        return row // 2 * self.coarser.grid.columns + column // 2

    def _complete_with_one_more(self, tile: int) -> bool:
        self._awaited[tile] -= 1
        return bool(self._awaited[tile] == 0)

    def _shown(self, tile: int, at_hand: Mapping[int, int]) -> Coarser:
        box = self.coarser.grid.box(tile)
        return Coarser(box.width, box.height, [self._finer(each, box, at_hand) for each in self._halved.touching(box)])

    def _finer(self, tile: int, above: Box, at_hand: Mapping[int, int]) -> Finer:
        halved, size = self._halved.box(tile), self.finer.grid.box(tile).size
        code = at_hand[tile] if tile in at_hand else self.finer.get(tile)
        return Finer(halved.left - above.left, halved.top - above.top, size.width, size.height, code)


def _sums_of_four(flags: np.typing.NDArray[np.bool_]) -> np.typing.NDArray[np.uint8]:
    """(h, w) to (ceil(h/2), ceil(w/2)): how many of two by two are true."""
    height, width = flags.shape
    even = np.pad(flags, ((0, height % 2), (0, width % 2))).astype(np.uint8)
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
