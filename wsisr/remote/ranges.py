"""Ranges of bytes of a file, wherever it lies, for readers that know which bytes they need."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import Protocol

from wsisr.remote.path import RemotePath


class RangeReader(Protocol):
    """Reads ranges of one open file. Reading is thread-safe."""

    @property
    def file_bytes(self) -> int:
        """Size of the file when it was opened."""
        ...

    def read_range(self, offset: int, count: int) -> bytes:
        """Read `count` bytes, less only where the file ends. Raises `OSError`."""
        ...

    def read_header(self, offset: int, count: int) -> bytes:
        """Read a few bytes near which more will be asked for, such as an entry of an index. Raises `OSError`."""
        ...

    def close(self) -> None: ...


class LocalRanges:
    """Ranges of a file of this machine: one handle behind a lock."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.file_bytes = os.fstat(self._file.fileno()).st_size
        self._lock = Lock()

    def read_range(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)

    def read_header(self, offset: int, count: int) -> bytes:
        return self.read_range(offset, count)

    def close(self) -> None:
        self._file.close()


def open_ranges(path: Path) -> RangeReader:
    """Open a file of this machine, or one on a server. Raises `OSError`."""
    if isinstance(path, RemotePath):
        from wsisr.remote.file import find_remote_file  # noqa: PLC0415 - only slides by URL need it

        return find_remote_file(path)
    return LocalRanges(path)
