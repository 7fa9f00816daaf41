"""The journal of a tile store: one appended record for each finished tile, with a checksum of the tile.

A record may reach the disk before its tile does; after a power cut the tile's checksum shows it. A tile that fails a
checksum counts as not done.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wsisr.writing.workdir.append_log import AppendLog

_FIELDS = struct.Struct("<QQII")


class TileRecord(NamedTuple):
    """One finished tile and its position in the store's file."""

    tile: int
    offset: int
    size: int
    crc: int
    """CRC-32 of the tile's bytes."""


class TileJournal:
    """The records of one store. Safe from several threads. Methods raise `OSError` for disk errors."""

    def __init__(self, path: Path) -> None:
        self._log = AppendLog(path, _FIELDS)

    def recover(self) -> Iterator[TileRecord]:
        """Yield the intact records of earlier runs; to be read before anything is appended."""
        return (TileRecord(*fields) for fields, _ in self._log.recover())

    def append(self, records: Iterable[TileRecord]) -> bool:
        """Append records; return whether the caller has to sync now, the store first and then the journal."""
        return self._log.append([(record, b"") for record in records])

    def sync(self) -> None:
        self._log.sync()

    def close(self) -> None:
        self._log.close()
