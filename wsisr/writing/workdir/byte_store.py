"""Numbered pieces of bytes: appended to one file in order of arrival, and read back by number.

With a journal, a later run can read them, too.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from wsisr.writing.workdir.tile_journal import TileJournal, TileRecord


class ByteStore:
    """A piece of bytes for each tile, on disk. Memory: 17 bytes for each. Safe from several threads.

    Methods raise `OSError` or `OutputError` for disk errors, and `ValueError` for a tile written twice or read before
    it was written.
    """

    def __init__(self, path: Path, tile_count: int, journal: TileJournal | None = None) -> None:
        self._journal = journal
        truncate = 0 if journal else os.O_TRUNC
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | truncate, 0o666)
        self._offsets = np.full(tile_count, -1, dtype=np.int64)
        self._sizes = np.zeros(tile_count, dtype=np.int64)
        self._end = 0
        self._lock = Lock()
        for record in journal.recover() if journal else ():
            self._restore_tile(record)
        self.from_earlier_run = self._sizes > 0
        """Whether each tile was finished by an earlier run, by number."""

    @property
    def nbytes(self) -> int:
        """Bytes so far."""
        return self._end

    @property
    def encoded_sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each tile, by number; 0 for one that has not been written."""
        return self._sizes.copy()

    @property
    def missing_count(self) -> int:
        """Number of tiles that have not been written yet."""
        return int(np.count_nonzero(self._sizes == 0))

    def write_encoded(self, tiles: Sequence[int], encoded: Sequence[bytes | memoryview]) -> None:
        """Append the bytes of tiles, one after the other."""
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
        """Return the bytes of a tile."""
        size = int(self._sizes[tile])
        if size == 0:
            raise ValueError(f"tile {tile} has not been written")
        return os.pread(self._file, size, int(self._offsets[tile]))

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
        is_plausible = tile < len(self._sizes) and 0 < size <= os.fstat(self._file).st_size
        if is_plausible and zlib.crc32(os.pread(self._file, size, offset)) == crc:
            self._offsets[tile], self._sizes[tile] = offset, size
            self._end = max(self._end, offset + size)

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
