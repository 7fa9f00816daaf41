"""Which tiles of a store are finished: one record for each, appended, with checksums of the tile and of itself.

A record may reach the disk before its tile does; after a power cut the checksum tells. What cannot be trusted counts as
not done.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SYNC_EVERY_S = 10.0
"""Seconds of work that a power cut may cost, besides what is in hand."""

_FIELDS = struct.Struct("<QQII")
_CHECK = struct.Struct("<I")
_BYTES = _FIELDS.size + _CHECK.size
_READ_AT_ONCE = 4096 * _BYTES


class Record(NamedTuple):
    """One finished tile and where it lies."""

    tile: int
    offset: int
    size: int
    crc: int
    """CRC-32 of its bytes."""


class Journal:
    """Records of one store. Methods raise `OSError` where the disk refuses; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # What a killed run wrote of a record is written over.
        self._end = os.fstat(self._file).st_size // _BYTES * _BYTES
        self._synced = time.monotonic()

    def __iter__(self) -> Iterator[Record]:
        """The records that are whole."""
        for start in range(0, self._end, _READ_AT_ONCE):
            block = os.pread(self._file, min(_READ_AT_ONCE, self._end - start), start)
            for at in range(0, len(block), _BYTES):
                fields = block[at : at + _FIELDS.size]
                if _CHECK.pack(zlib.crc32(fields)) == block[at + _FIELDS.size : at + _BYTES]:
                    yield Record(*_FIELDS.unpack(fields))

    def add(self, records: Iterable[Record]) -> None:
        # What a full disk took of the last one is written over by the next.
        self._end += os.pwrite(self._file, b"".join(map(_packed, records)), self._end) // _BYTES * _BYTES

    @property
    def due(self) -> bool:
        """Whether it is time to bring everything to the disk; asked for once each time."""
        now = time.monotonic()
        late = now - self._synced >= SYNC_EVERY_S
        if late:
            self._synced = now
        return late

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def _packed(record: Record) -> bytes:
    fields = _FIELDS.pack(*record)
    return fields + _CHECK.pack(zlib.crc32(fields))
