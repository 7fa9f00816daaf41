"""The journal of a tile store: one appended record for each finished tile, with a checksum of the tile.

A record may reach the disk before its tile does; after a power cut the tile's checksum shows it. A tile that fails a
checksum counts as not done, and so does a tile whose entries in the run log are not all there any more: what was found
out about it, such as a region that could not be decoded, would be missing from the file's metadata.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wsisr.writing.workdir.append_log import AppendLog, Fields, LogFollower, LogPosition
from wsisr.writing.workdir.run_log import RunLog

_FIELDS = struct.Struct("<QQIIQI")


class TileRecord(NamedTuple):
    """One finished tile and its position in the store's file."""

    tile: int
    offset: int
    size: int
    crc: int
    """CRC-32 of the tile's bytes."""


class TileJournal:
    """The records of one store. Safe from several threads.

    Methods raise `OSError` for disk errors of the journal, and the errors of the run log.
    """

    def __init__(self, path: Path, run_log: RunLog) -> None:
        self._log, self._run_log = AppendLog(path, _FIELDS), run_log

    def recover(self) -> Iterator[TileRecord]:
        """Yield the intact records of earlier runs whose log entries are intact, too.

        To be read before anything is appended.
        """
        for (*record, log_offset, log_crc), _ in self._log.recover():
            if self._run_log.includes(LogPosition(log_offset, log_crc)):
                yield TileRecord(*record)

    def append(self, records: Iterable[TileRecord]) -> bool:
        """Append records of tiles about which everything has been logged.

        Return whether the caller has to sync now: the store first, then the journal.
        """
        position = self._run_log.position
        return self._log.append([((*record, *position), b"") for record in records]).is_sync_due

    def sync(self) -> None:
        """Flush the run log, then the journal: on the disk, too, a record comes after what was logged of its tile."""
        self._run_log.sync()
        self._log.sync()

    def close(self) -> None:
        self._log.close()


def follow_journal(path: Path) -> LogFollower:
    """Open the journal of a run that may be at work; `parse_tile_record` tells what its fields mean."""
    return LogFollower(path, _FIELDS)


def parse_tile_record(fields: Fields) -> TileRecord:
    """Return the tile of a followed record. Whether the run log is intact only matters to the run that resumes."""
    return TileRecord(*fields[: len(TileRecord._fields)])
