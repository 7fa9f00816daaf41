"""The encoded tiles of one pyramid level: appended to one file in order of arrival, found again by their number.

With a journal they are found again by another run, too.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.encoding.encoder import Code, parts
from wsisr.writing.encoding.grid import Grid, pieces
from wsisr.writing.workdir.tile_journal import Journal, Record

AT_ONCE = 64
"""Tiles that are copied together."""


class TileStore:
    """Tiles on disk; 17 bytes of memory for each. Every method may be called from several threads.

    Methods raise `OSError` where the disk refuses, and `ValueError` for a tile given twice or asked for too early.
    """

    def __init__(self, path: Path, grid: Grid, codec: Codec, journal: Journal | None = None) -> None:
        self.grid = grid
        self.codec = codec
        self._journal = journal
        fresh = 0 if journal else os.O_TRUNC
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | fresh, 0o666)
        self._offsets = np.full(grid.tiles, -1, dtype=np.int64)
        self._sizes = np.zeros(grid.tiles, dtype=np.int64)
        self._end = 0
        self._lock = Lock()
        for record in journal or ():
            self._take(record)
        self.found = self._sizes > 0
        """Tiles of an earlier run, by number."""

    @property
    def nbytes(self) -> int:
        """Encoded bytes so far."""
        return self._end

    @property
    def missing(self) -> int:
        """Tiles that are not here yet."""
        return int(np.count_nonzero(self._sizes == 0))

    def put(self, tiles: Sequence[int], codes: Sequence[Code]) -> None:
        """Codes of tiles, one after the other in the file."""
        sizes = [len(code) for code in codes]
        offsets = self._reserve(tiles, sizes)
        _write_all(self._file, b"".join(codes), offsets[0])
        self._sizes[tiles] = sizes
        if self._journal:
            self._enter(self._journal, map(Record, tiles, offsets, sizes, map(zlib.crc32, codes)))

    def forget(self, tiles: npt.NDArray[np.intp]) -> None:
        """Let tiles of an earlier run be missing."""
        self._offsets[tiles], self._sizes[tiles], self.found[tiles] = -1, 0, False

    def lacking(self, tiles: range) -> list[int]:
        """Those of some tiles that are not here yet."""
        return [tile for tile in tiles if self._sizes[tile] == 0]

    def get(self, tile: int) -> bytes:
        size = int(self._sizes[tile])
        if size == 0:
            raise ValueError(f"tile {tile} has not been written")
        return os.pread(self._file, size, int(self._offsets[tile]))

    def rows(self) -> Iterator[Iterator[list[bytes]]]:
        """All tiles, row by row from the top left; of a row a few at a time."""
        return (map(self._neighbours, pieces(row, AT_ONCE)) for row in self.grid.by_rows())

    def read(self, box: Box) -> Rgb:
        """Decoded pixels of a box inside the level, (h, w, 3) sRGB."""
        return self.grid.read(box, self.pixels)

    def pixels(self, tile: int) -> Rgb:
        """Decoded pixels of the part of a tile that lies inside the level, (h, w, 3) sRGB."""
        size = self.grid.box(tile).size
        return self.codec.decode(self.get(tile), self.grid.tile_px)[: size.height, : size.width]

    def sync(self) -> None:
        """Bring all that is finished to the disk: tiles first, so that most records find theirs."""
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
        # A thread that comes too late must meet an error, not a file that was given the same number since.
        file, self._file = self._file, -1
        os.close(file)

    def _enter(self, journal: Journal, records: Iterable[Record]) -> None:
        found = list(records)
        with self._lock:
            journal.add(found)
            due = journal.due
        if due:
            self.sync()

    def _take(self, record: Record) -> None:
        """A tile of an earlier run, if it is what its record says."""
        tile, offset, size, crc = record
        known = tile < self.grid.tiles and 0 < size <= os.fstat(self._file).st_size
        if known and zlib.crc32(os.pread(self._file, size, offset)) == crc:
            self._offsets[tile], self._sizes[tile] = offset, size
            self._end = max(self._end, offset + size)

    def _neighbours(self, tiles: range) -> list[bytes]:
        """Neighbours in a row, in as few reads as they lie in pieces."""
        offsets, sizes = (each[tiles.start : tiles.stop] for each in (self._offsets, self._sizes))
        if not sizes.all():
            raise ValueError(f"tile {tiles[int(sizes.argmin())]} has not been written")
        ends = offsets + sizes
        breaks = [0, *(1 + np.flatnonzero(offsets[1:] != ends[:-1])), len(tiles)]
        codes: list[bytes] = []
        for first, end in pairwise(breaks):
            start = int(offsets[first])
            data = os.pread(self._file, int(ends[end - 1]) - start, start)
            codes += parts(data, sizes[first:end].tolist())
        return codes

    def _reserve(self, tiles: Sequence[int], sizes: Sequence[int]) -> list[int]:
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
        done = os.pwrite(file, rest, offset)
        rest, offset = rest[done:], offset + done
