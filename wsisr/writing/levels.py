"""The levels of a pyramid in the making: a tile of a coarser one is made as soon as those it shows are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from threading import Lock

import numpy as np

from wsisr.crew import Crew
from wsisr.pixels import Rgb, halve
from wsisr.writing.grid import Grid
from wsisr.writing.store import TileStore

WAITING_BYTES = 8 * 2**20
"""Of halved tiles of the finest level that wait for their neighbours; half as many of each coarser one."""


class Levels:
    """Stores, the finest first. Memory: a byte for each four tiles, three tiles in each thread, and what waits.

    Methods raise what those of a `TileStore` do.
    """

    def __init__(self, stores: Sequence[TileStore]) -> None:
        self._finest = stores[0]
        pairs = enumerate(pairwise(stores))
        self._steps = [_Step(finer, coarser, WAITING_BYTES >> number) for number, (finer, coarser) in pairs]

    def put(self, tile: int, pixels: Rgb) -> None:
        """Store a tile of the finest level, and every coarser one that is complete with it. Safe from any thread."""
        self._finest.write(tile, pixels)
        for step in self._steps:
            step.keep(tile, pixels)
            tile = step.above(tile)
            if not step.completes(tile):
                return
            pixels = step.make(tile)

    def fill(self, crew: Crew) -> Iterator[int]:
        """Make what an earlier run left of the coarser levels; yields how many of their tiles are there, row by row."""
        done = 0
        for step in self._steps:
            for row in step.coarser.grid.by_rows():
                crew.each(step.make, step.coarser.lacking(row))
                done += len(row)
                yield done


class _Step:
    """From one level to the next."""

    def __init__(self, finer: TileStore, coarser: TileStore, waiting_bytes: int) -> None:
        self.finer, self.coarser = finer, coarser
        self._waiting: dict[int, Rgb] = {}
        self._most = waiting_bytes // (3 * (coarser.grid.tile_px // 2) ** 2) if finer.codec.coding.exact else 0
        # A tile of the finer level, halved, is one of these.
        self._halved = Grid(coarser.grid.size, coarser.grid.tile_px // 2)
        self._awaited = _sums_of_four(~finer.found.reshape(finer.grid.rows, finer.grid.columns)).ravel()
        self._lock = Lock()
        # A power cut may have left a tile, but not what it was made from; that may come out otherwise the next time.
        coarser.forget(np.flatnonzero(self._awaited))

    def above(self, tile: int) -> int:
        """The coarser tile that shows a tile of the finer level."""
        row, column = divmod(tile, self.finer.grid.columns)
        return row // 2 * self.coarser.grid.columns + column // 2

    def completes(self, tile: int) -> bool:
        """Whether one more tile was all that a coarser one waited for; to be asked once for each tile that comes."""
        with self._lock:
            self._awaited[tile] -= 1
            return bool(self._awaited[tile] == 0)

    def keep(self, tile: int, pixels: Rgb) -> None:
        """Halve a tile of the finer level while its pixels are at hand, where these are what is stored, to the bit.

        What there is no room for is decoded once more.
        """
        if len(self._waiting) < self._most:
            self._waiting[tile] = halve(pixels)

    def make(self, tile: int) -> Rgb:
        """Store the mean of what is stored: so it does not depend on which pixels are still at hand."""
        pixels = self._halved.read(self.coarser.grid.box(tile), self._half)
        self.coarser.write(tile, pixels)
        return pixels

    def _half(self, tile: int) -> Rgb:
        """A tile of the finer level, halved."""
        waiting = self._waiting.pop(tile, None)
        return halve(self.finer.pixels(tile)) if waiting is None else waiting


def _sums_of_four(flags: np.typing.NDArray[np.bool_]) -> np.typing.NDArray[np.uint8]:
    """(h, w) to (ceil(h/2), ceil(w/2)): how many of two by two are true."""
    height, width = flags.shape
    even = np.pad(flags, ((0, height % 2), (0, width % 2))).astype(np.uint8)
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
