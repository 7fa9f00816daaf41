"""A file on a server as ranges of bytes: each is fetched once, as far as a cache of fixed size allows.

Headers are read in blocks, as libraries ask for a few bytes at a time; pixels in exactly the ranges that hold them.
"""

from __future__ import annotations

import errno
import io
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any

from wsisr.remote.path import RemotePath
from wsisr.remote.server import (
    RemoteStatus,
    connect,
    fetch_status,
    find_access,
    recall_status,
    translate_server_errors,
)

BLOCK_BYTES = 16 * 2**10
"""Bytes of headers that are fetched together: directories of a TIFF lie far apart, and are small."""

CACHE_BYTES = 128 * 2**20
"""Ranges that are kept, as they were fetched. Tiles overlap, so that neighbours ask for the same ones."""

_WHOLE_BYTES = 2**20
"""A read this long is of a file as a whole, and not kept."""

_RETRY_AFTER_S = (0.1, 1.0)
"""Waits before a range is asked for once more, where a connection failed."""

_MOST_FILES = 1024
"""Files that stay open: a level of an OME-Zarr is many."""


class RangeCache:
    """The ranges that were fetched last, of all files together."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes, self._bytes = limit_bytes, 0
        self._ranges: OrderedDict[tuple[object, int, int], bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, owner: object, offset: int, count: int) -> bytes | None:
        with self._lock:
            data = self._ranges.get((owner, offset, count))
            if data is not None:
                self._ranges.move_to_end((owner, offset, count))
            return data

    def put(self, owner: object, offset: int, data: bytes, count: int) -> None:
        """Keep a range that was asked for with `count` bytes; the longest unused ones make room."""
        with self._lock:
            if (owner, offset, count) not in self._ranges:
                self._ranges[owner, offset, count] = data
                self._bytes += len(data)
            while self._bytes > self._limit_bytes:
                _, dropped = self._ranges.popitem(last=False)
                self._bytes -= len(dropped)


_cache = RangeCache(CACHE_BYTES)


class RemoteFile:
    """One version of a file on a server. Reading is thread-safe, and several threads fetch at the same time."""

    def __init__(self, path: RemotePath, status: RemoteStatus) -> None:
        self._path, self.status = path, status
        self._handles: LifoQueue[Any] = LifoQueue()
        self.access = find_access(path)
        self._owner = (self.access, status)
        self._header_lock = Lock()

    @property
    def file_bytes(self) -> int:
        return self.status.size

    def read_range(self, offset: int, count: int) -> bytes:
        """Read exactly this range, less only where the file ends. Raises `OSError`, one line in its `strerror`."""
        count = max(0, min(count, self.file_bytes - offset))
        if not count:
            return b""
        data = _cache.get(self._owner, offset, count)
        if data is None:
            data = self._fetch(offset, count)
            _cache.put(self._owner, offset, data, count)
        return data

    def read_header(self, offset: int, count: int) -> bytes:
        """Read a range of a header; the blocks around it are fetched, those that follow each other at once."""
        count = max(0, min(count, self.file_bytes - offset))
        if count >= _WHOLE_BYTES or not count:
            return self._fetch(offset, count) if count else b""
        with self._header_lock:  # threads that read tiles of one shard all want its index first
            return self._join_blocks(offset, count)

    def close(self) -> None:
        """Close what is open at the server; a later read opens it again."""
        while True:
            try:
                self._handles.get_nowait().close()
            except Empty:
                return

    def _join_blocks(self, offset: int, count: int) -> bytes:
        numbers = range(offset // BLOCK_BYTES, -(-(offset + count) // BLOCK_BYTES))
        blocks = {number: _cache.get(self._owner, number * BLOCK_BYTES, BLOCK_BYTES) for number in numbers}
        for start, end in _find_runs([number for number, data in blocks.items() if data is None]):
            data = self._fetch(start * BLOCK_BYTES, min(end * BLOCK_BYTES, self.file_bytes) - start * BLOCK_BYTES)
            for number in range(start, end):
                block = data[(number - start) * BLOCK_BYTES : (number - start + 1) * BLOCK_BYTES]
                blocks[number] = block
                _cache.put(self._owner, number * BLOCK_BYTES, block, BLOCK_BYTES)
        within = offset - numbers[0] * BLOCK_BYTES
        return b"".join(block or b"" for block in blocks.values())[within : within + count]

    def _fetch(self, offset: int, count: int) -> bytes:
        for wait in _RETRY_AFTER_S:
            try:
                return self._fetch_once(offset, count)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                time.sleep(wait)
        return self._fetch_once(offset, count)

    def _fetch_once(self, offset: int, count: int) -> bytes:
        with translate_server_errors(self._path), self._take_handle() as handle:
            handle.seek(offset)
            data: bytes = handle.read(count)
            if len(data) < count:
                raise ConnectionError(f"{len(data)} of {count} bytes came")
            return data

    @contextmanager
    def _take_handle(self) -> Iterator[Any]:
        """Context: a handle that no other thread uses; one that failed is not used again."""
        try:
            handle = self._handles.get_nowait()
        except Empty:
            handle = self._open_handle()
        try:
            yield handle
        except BaseException:
            handle.close()
            raise
        self._handles.put(handle)

    def _open_handle(self) -> Any:
        system, name = connect(self._path, self.access[0])
        options: dict[str, Any] = {}
        if name.startswith(("http://", "https://")):
            # Compressed bytes would be counted otherwise; the conditions make the server refuse another version.
            options = {
                "size": self.file_bytes,
                "headers": {"Accept-Encoding": "identity", **self.status.conditions},
            }
        handle = system.open(name, "rb", cache_type="none", **options)
        if not handle.seekable():
            raise ValueError("range requests")
        return handle


class RawRemoteFile(io.RawIOBase):
    """A file on a server as Python's raw files are."""

    def __init__(self, file: RemoteFile, name: str) -> None:
        super().__init__()
        self._file, self.name, self._position = file, name, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.file_bytes}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._file.read_header(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


_files: OrderedDict[str, RemoteFile] = OrderedDict()
_files_lock = Lock()


def find_remote_file(path: RemotePath) -> RemoteFile:
    """Return the version of a file that the server named last, with what was fetched of it before."""
    status = recall_status(path) or fetch_status(path)
    if status.is_folder:
        raise IsADirectoryError(errno.EISDIR, "is a folder on the server; give the URL of a slide", str(path))
    with _files_lock:
        file = _files.get(str(path))
        if file is None or (file.status, file.access) != (status, find_access(path)):
            file = _files[str(path)] = RemoteFile(path, status)
        _files.move_to_end(str(path))
        while len(_files) > _MOST_FILES:
            _files.popitem(last=False)
        return file


def _find_runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield first and past-the-last of the numbers that follow each other."""
    start = previous = None
    for number in numbers:
        if previous is None or number != previous + 1:
            if start is not None and previous is not None:
                yield start, previous + 1
            start = number
        previous = number
    if start is not None and previous is not None:
        yield start, previous + 1
