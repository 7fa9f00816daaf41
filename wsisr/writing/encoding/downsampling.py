"""Makes the coarser levels of a pyramid: a coarser tile is encoded as soon as the finer tiles it shows are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from threading import Lock

import numpy as np

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import ThreadTeam
from wsisr.writing.encoding.encoder import CoarserTile, FinerTile, TileEncoder
from wsisr.writing.encoding.grid import LevelGrid
from wsisr.writing.workdir.tile_store import TileStore


class PyramidLevels:
    """The tile stores of all levels, the finest first. Memory: one byte for every four tiles.

    Methods raise the errors of `TileStore`.
    """

    def __init__(self, stores: Sequence[TileStore]) -> None:
        self._finest = stores[0]
        self._level_pairs = [_LevelPair(finer, coarser) for finer, coarser in pairwise(stores)]

    def store_tiles(self, encoder: TileEncoder, tiles: Sequence[int], pixels: Sequence[Rgb]) -> None:
        """Store tiles of the finest level, and every coarser tile that they complete. Safe from any thread."""
        self._finest.write_encoded(tiles, encoder.encode_tiles(pixels))
        for level_pair in self._level_pairs:
            coarser = level_pair.register_tiles(tiles)
            if not coarser:
                return
            level_pair.store_coarser(encoder, coarser, tiles)
            tiles = coarser

    def complete_levels(
        self, threads: ThreadTeam, borrow_encoder: Callable[[], AbstractContextManager[TileEncoder]]
    ) -> Iterator[int]:
        """Make the coarser tiles that an earlier run left out; yields, row by row, how many coarser tiles there are."""
        done = 0
        for level_pair in self._level_pairs:

            def store_tile(tile: int, level_pair: _LevelPair = level_pair) -> None:
                with borrow_encoder() as encoder:
                    level_pair.store_coarser(encoder, [tile], ())

            for row in level_pair.coarser.grid.iterate_rows():
                threads.for_each(store_tile, level_pair.coarser.select_missing(row))
                done += len(row)
                yield done


class _LevelPair:
    """Two neighbouring levels, and how many finer tiles each coarser one still waits for."""

    def __init__(self, finer: TileStore, coarser: TileStore) -> None:
        self.finer, self.coarser = finer, coarser
        # Each tile of this grid shows one halved tile of the finer level.
        self._halved = LevelGrid(coarser.grid.size, coarser.grid.tile_px // 2)
        self._awaited = _sum_quads(~finer.from_earlier_run.reshape(finer.grid.rows, finer.grid.columns)).ravel()
        self._lock = Lock()
        # A power cut may have left a coarser tile but not the finer ones it was made from, which may differ next time.
        coarser.forget_tiles(np.flatnonzero(self._awaited))

    def register_tiles(self, tiles: Sequence[int]) -> list[int]:
        """Count finer tiles as stored, each once, and return the coarser tiles that are now complete."""
        coarser = [self._coarser_tile(tile) for tile in tiles]
        with self._lock:
            return [tile for tile in coarser if self._count_down(tile)]

    def store_coarser(self, encoder: TileEncoder, tiles: Sequence[int], latest: Sequence[int]) -> None:
        """Make and store coarser tiles.

        `latest` are the finer tiles that the encoder encoded last, in their order; they need not be read again.
        """
        index_of = {tile: index for index, tile in enumerate(latest)}
        coarser = (self._describe_coarser(tile, index_of) for tile in tiles)
        self.coarser.write_encoded(tiles, encoder.encode_coarser(coarser))

    def _coarser_tile(self, tile: int) -> int:
        """Return the coarser tile that shows a finer tile."""
        row, column = divmod(tile, self.finer.grid.columns)
        return row // 2 * self.coarser.grid.columns + column // 2

    def _count_down(self, tile: int) -> bool:
        """Count one finer tile of a coarser one as stored; return whether it was the last."""
        self._awaited[tile] -= 1
        return bool(self._awaited[tile] == 0)

    def _describe_coarser(self, tile: int, index_of: Mapping[int, int]) -> CoarserTile:
        box = self.coarser.grid.tile_box(tile)
        finer = [self._describe_finer(finer_tile, box, index_of) for finer_tile in self._halved.find_tiles(box)]
        return CoarserTile(box.width, box.height, finer)

    def _describe_finer(self, tile: int, coarser_box: Box, index_of: Mapping[int, int]) -> FinerTile:
        halved, size = self._halved.tile_box(tile), self.finer.grid.tile_box(tile).size
        encoded = index_of[tile] if tile in index_of else self.finer.read_encoded(tile)
        left, top = halved.left - coarser_box.left, halved.top - coarser_box.top
        return FinerTile(left, top, size.width, size.height, encoded)


def _sum_quads(flags: np.typing.NDArray[np.bool_]) -> np.typing.NDArray[np.uint8]:
    """(h, w) to (ceil(h/2), ceil(w/2)): how many flags of each 2 x 2 are true."""
    height, width = flags.shape
    even = np.pad(flags, ((0, height % 2), (0, width % 2))).astype(np.uint8)
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
