"""The encoded tiles of one pyramid level: appended to one file in order of arrival, and read back by tile number.

With a journal, a later run can read them, too.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.encoding.encoder import EncodedTile, split_bytes
from wsisr.writing.encoding.grid import LevelGrid, split_range
from wsisr.writing.workdir.tile_journal import TileJournal, TileRecord

TILES_PER_READ = 64
"""Tiles that are copied with one read."""


class TileStore:
    """Encoded tiles on disk. Memory: 17 bytes for each. Every method may be called from several threads.

    Methods raise `OSError` or `OutputError` for disk errors, and `ValueError` for a tile written twice or read before
    it was written.
    """

    def __init__(self, path: Path, grid: LevelGrid, codec: Codec, journal: TileJournal | None = None) -> None:
        self.grid = grid
        self.codec = codec
        self._journal = journal
        truncate = 0 if journal else os.O_TRUNC
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | truncate, 0o666)
        self._offsets = np.full(grid.tile_count, -1, dtype=np.int64)
        self._sizes = np.zeros(grid.tile_count, dtype=np.int64)
        self._end = 0
        self._lock = Lock()
        for record in journal.recover() if journal else ():
            self._restore_tile(record)
        self.from_earlier_run = self._sizes > 0
        """Whether each tile was finished by an earlier run, by number."""

    @property
    def nbytes(self) -> int:
        """Encoded bytes so far."""
        return self._end

    @property
    def missing_count(self) -> int:
        """Number of tiles that have not been written yet."""
        return int(np.count_nonzero(self._sizes == 0))

    def write_encoded(self, tiles: Sequence[int], encoded: Sequence[EncodedTile]) -> None:
        """Append encoded tiles, one after the other."""
        sizes = [len(data) for data in encoded]
        offsets = self._reserve_space(tiles, sizes)
        _write_all(self._file, b"".join(encoded), offsets[0])
        self._sizes[tiles] = sizes
        records = map(TileRecord, tiles, offsets, sizes, map(zlib.crc32, encoded))
        if self._journal and self._journal.append(records):
            self.sync()

    def forget_tiles(self, tiles: npt.NDArray[np.intp]) -> None:
        """Treat tiles of an earlier run as missing."""
        self._offsets[tiles], self._sizes[tiles], self.from_earlier_run[tiles] = -1, 0, False

    def select_missing(self, tiles: range) -> list[int]:
        """Return those of `tiles` that have not been written yet."""
        return [tile for tile in tiles if self._sizes[tile] == 0]

    def read_encoded(self, tile: int) -> bytes:
        """Return the stored bytes of a tile."""
        size = int(self._sizes[tile])
        if size == 0:
            raise ValueError(f"tile {tile} has not been written")
        return os.pread(self._file, size, int(self._offsets[tile]))

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

    def sync(self) -> None:
        """Flush everything to the disk: tiles first, so that most records find theirs after a power cut."""
        os.fsync(self._file)
        if self._journal:
            self._journal.sync()

    def close(self, *, sync: bool = False) -> None:
        try:
            if sync:
                self.sync()
        finally:
            self._close()

    def _close(self) -> None:
        if self._journal:
            self._journal.close()
        # A thread that comes too late must get an error, not a file that has been given the same descriptor since.
        file, self._file = self._file, -1
        os.close(file)

    def _restore_tile(self, record: TileRecord) -> None:
        """Take over a tile of an earlier run if its bytes match its record."""
        tile, offset, size, crc = record
        is_plausible = tile < self.grid.tile_count and 0 < size <= os.fstat(self._file).st_size
        if is_plausible and zlib.crc32(os.pread(self._file, size, offset)) == crc:
            self._offsets[tile], self._sizes[tile] = offset, size
            self._end = max(self._end, offset + size)

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

    def _reserve_space(self, tiles: Sequence[int], sizes: Sequence[int]) -> list[int]:
        with self._lock:
            if (self._offsets[tiles] >= 0).any():
                raise ValueError(f"tiles {tiles} are written twice")
            *offsets, self._end = accumulate(sizes, initial=self._end)
            self._offsets[tiles] = offsets
        return offsets


def _write_all(file: int, data: bytes, offset: int) -> None:
    # A disk that fills up writes a part first and fails on the next call.
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written
