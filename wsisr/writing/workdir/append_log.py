"""A file that records are appended to and that survives kills and power cuts: what is damaged counts as never written.

A record is its fields, a CRC-32 and, in logs with content, as many bytes as its last field says. The checksum covers
fields and content; in logs with content also four zero bytes in its own place.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

SYNC_EVERY_S = 10.0
"""Seconds between syncs: finished work that a power cut may cost, besides the tiles being encoded."""

Fields: TypeAlias = Sequence[Any]
"""Values that the log's struct packs."""

_CRC = struct.Struct("<I")


class LogPosition(NamedTuple):
    """A place between two records. Two logs that have one position in common hold the same records before it."""

    offset: int
    crc: int
    """CRC-32 of the headers of all records before it, which hold the checksums of their contents."""


class Appended(NamedTuple):
    """What became of appended records."""

    content_offsets: tuple[int, ...]
    """Where the content of each begins, for `read`."""
    is_sync_due: bool
    """Whether the caller has to sync now."""


class AppendLog:
    """The records of one file. Safe from several threads. Methods raise `OSError` for disk errors.

    A symbolic link is refused, as a disk error.
    """

    def __init__(self, path: Path, fields: struct.Struct, *, has_content: bool = False) -> None:
        """Open or create the file; read the records of earlier runs with `recover` before anything is appended."""
        self._path, self._fields, self._has_content = path, fields, has_content
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self._end = self._headers_crc = 0
        self._synced = time.monotonic()
        self._lock = Lock()

    @property
    def position(self) -> LogPosition:
        """Position after the last record. While `recover` runs, that after the record that it has just yielded."""
        with self._lock:
            return LogPosition(self._end, self._headers_crc)

    def recover(self) -> Iterator[tuple[Fields, int]]:
        """Yield the fields of every intact record and the offset of its content. Memory: one record.

        Records of a fixed size are intact or not each by itself. In a log with content, a damaged length hides where
        the next record begins, so the first damaged record ends the log, and the rest is cut off: once another record
        of its size stood in its place, the records behind it would count again. Appending overwrites what follows the
        last intact record, such as one that a killed run wrote in part.
        """
        with self._path.open("rb") as stream:
            file_size = os.fstat(self._file).st_size
            start = 0
            while len(header := stream.read(self._fields.size + _CRC.size)) == self._fields.size + _CRC.size:
                start += len(header)
                fields = self._fields.unpack_from(header)
                length = fields[-1] if self._has_content else 0
                content = stream.read(length) if start + length <= file_size else b""
                is_intact = len(content) == length and header == self._encode_header(fields, content)
                if self._has_content and not is_intact:
                    os.ftruncate(self._file, self._end)
                    return
                if is_intact:
                    self._end, self._headers_crc = start + length, zlib.crc32(header, self._headers_crc)
                    yield fields, start
                start += length

    def append(self, records: Sequence[tuple[Fields, bytes]]) -> Appended:
        """Append records, each its fields and its content.

        If the disk refuses, the records that were written whole stay; the next append overwrites the incomplete one.
        """
        headers = [self._encode_header(fields, content) for fields, content in records]
        encoded = [header + content for header, (_, content) in zip(headers, records, strict=True)]
        with self._lock:
            ends = list(accumulate(map(len, encoded), initial=self._end))
            written = self._end
            try:
                data = memoryview(b"".join(encoded))
                while written < ends[-1]:
                    written += os.pwrite(self._file, data[written - ends[0] :], written)
            finally:
                self._end = max(end for end in ends if end <= written)
                whole_headers = headers[: ends.index(self._end)]
                self._headers_crc = zlib.crc32(b"".join(whole_headers), self._headers_crc)
            offsets = (start + len(header) for start, header in zip(ends, headers, strict=False))
            return Appended(tuple(offsets), self._claim_sync())

    def read(self, offset: int, size: int) -> bytes:
        """Read content at an offset that `recover` or `append` gave."""
        return os.pread(self._file, size, offset)

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        # A thread that comes too late must get an error, not a file that has been given the same descriptor since.
        file, self._file = self._file, -1
        os.close(file)

    def _claim_sync(self) -> bool:
        """Return True to one caller every `SYNC_EVERY_S` seconds."""
        now = time.monotonic()
        is_due = now - self._synced >= SYNC_EVERY_S
        if is_due:
            self._synced = now
        return is_due

    def _encode_header(self, fields: Fields, content: bytes) -> bytes:
        packed = self._fields.pack(*fields)
        crc_place = bytes(_CRC.size) if self._has_content else b""
        return packed + _CRC.pack(zlib.crc32(content, zlib.crc32(packed + crc_place)))


class LogFollower:
    """Reads what is appended to a log without content, by a process that runs or one that has ended; changes nothing.

    Raises `OSError` for disk errors; a symbolic link is refused, as such an error.
    """

    def __init__(self, path: Path, fields: struct.Struct) -> None:
        self._fields = fields
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._start = 0

    def read_new(self) -> list[Fields]:
        """Return the fields of the intact records since the last call. Memory: all of them.

        A damaged record counts as never written; the last ones are read again next time, since they may be being
        written now.
        """
        size = self._fields.size + _CRC.size
        records: list[Fields] = []
        data = os.pread(self._file, os.fstat(self._file).st_size - self._start, self._start)
        start = self._start
        for offset in range(0, len(data) - size + 1, size):
            packed = data[offset : offset + self._fields.size]
            if _CRC.unpack_from(data, offset + self._fields.size) == (zlib.crc32(packed),):
                records.append(self._fields.unpack(packed))
                self._start = start + offset + size
        return records

    def is_current(self, path: Path) -> bool:
        """Return whether the file is still the one of that name; a run that has ended, or begun anew, removes it."""
        try:
            return os.path.samestat(os.fstat(self._file), path.stat(follow_symlinks=False))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        file, self._file = self._file, -1
        os.close(file)
