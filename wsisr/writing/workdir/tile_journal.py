"""The journal of a tile store: one appended record for each finished tile, with checksums of the tile and of itself.

A record may reach the disk before its tile does; after a power cut the tile's checksum shows it. A tile that fails a
checksum counts as not done.
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
"""Seconds between syncs: finished work that a power cut may cost, besides the tiles being encoded."""

_FIELDS = struct.Struct("<QQII")
_CRC = struct.Struct("<I")
_RECORD_BYTES = _FIELDS.size + _CRC.size
_READ_BYTES = 4096 * _RECORD_BYTES


class TileRecord(NamedTuple):
    """One finished tile and its position in the store's file."""

    tile: int
    offset: int
    size: int
    crc: int
    """CRC-32 of the tile's bytes."""


class TileJournal:
    """The records of one store, for one thread at a time. Methods raise `OSError` for disk errors."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # A record that a killed run wrote only in part is overwritten.
        self._end = os.fstat(self._file).st_size // _RECORD_BYTES * _RECORD_BYTES
        self._synced = time.monotonic()

    def __iter__(self) -> Iterator[TileRecord]:
        """Yield the complete records."""
        for start in range(0, self._end, _READ_BYTES):
            data = os.pread(self._file, min(_READ_BYTES, self._end - start), start)
            for offset in range(0, len(data), _RECORD_BYTES):
                fields = data[offset : offset + _FIELDS.size]
                if _CRC.pack(zlib.crc32(fields)) == data[offset + _FIELDS.size : offset + _RECORD_BYTES]:
                    yield TileRecord(*_FIELDS.unpack(fields))

    def append(self, records: Iterable[TileRecord]) -> None:
        written = os.pwrite(self._file, b"".join(map(_encode_record, records)), self._end)
        self._end += written // _RECORD_BYTES * _RECORD_BYTES  # a record that a full disk cut off is overwritten

    def claim_sync(self) -> bool:
        """Return True once every `SYNC_EVERY_S` seconds: the caller that gets it must sync."""
        now = time.monotonic()
        is_due = now - self._synced >= SYNC_EVERY_S
        if is_due:
            self._synced = now
        return is_due

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def _encode_record(record: TileRecord) -> bytes:
    fields = _FIELDS.pack(*record)
    return fields + _CRC.pack(zlib.crc32(fields))
