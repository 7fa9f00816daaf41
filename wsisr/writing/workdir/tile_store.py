"""The encoded tiles of one pyramid level: in order of arrival on disk, row by row for the file that they go into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.encoding.encoder import split_bytes
from wsisr.writing.encoding.grid import LevelGrid, split_range
from wsisr.writing.workdir.byte_store import ByteStore
from wsisr.writing.workdir.tile_journal import TileJournal

TILES_PER_READ = 64
"""Tiles that are copied with one read."""


class TileStore(ByteStore):
    """A `ByteStore` of encoded tiles."""

    def __init__(self, path: Path, grid: LevelGrid, codec: Codec, journal: TileJournal | None = None) -> None:
        super().__init__(path, grid.tile_count, journal)
        self.grid = grid
        self.codec = codec

    def iterate_rows(self) -> Iterator[Iterator[list[bytes]]]:
        """Yield all encoded tiles, row by row from the top left, at most `TILES_PER_READ` of a row at a time."""
        return (map(self._read_adjacent, split_range(row, TILES_PER_READ)) for row in self.grid.iterate_rows())

    def read(self, box: Box) -> Rgb:
        """Decode the pixels of a box inside the level, (h, w, 3) sRGB."""
        return self.grid.read_box(box, self.read_tile)

    def read_tile(self, tile: int) -> Rgb:
        """Decode the part of a tile that lies inside the level, (h, w, 3) sRGB."""
        size = self.grid.tile_box(tile).size
        return self.codec.decode(self.read_encoded(tile), self.grid.tile_px)[: size.height, : size.width]

    def _read_adjacent(self, tiles: range) -> list[bytes]:
        """Read neighbouring tiles of a row with one read for each run of tiles that are contiguous in the file."""
        offsets, sizes = self._offsets[tiles.start : tiles.stop], self._sizes[tiles.start : tiles.stop]
        if not sizes.all():
            raise ValueError(f"tile {tiles[int(sizes.argmin())]} has not been written")
        ends = offsets + sizes
        breaks = [0, *(1 + np.flatnonzero(offsets[1:] != ends[:-1])), len(tiles)]
        encoded: list[bytes] = []
        for first, end in pairwise(breaks):
            start = int(offsets[first])
            data = os.pread(self._file, int(ends[end - 1]) - start, start)
            encoded += split_bytes(data, sizes[first:end].tolist())
        return encoded
