"""The finished tiles of a run that is at work, or was stopped, for whoever looks on: nothing is locked or written."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

from wsisr.errors import SlideError, describe_error
from wsisr.writing.encoding.grid import LevelGrid
from wsisr.writing.workdir.append_log import LogFollower
from wsisr.writing.workdir.folder import level_journal_path, level_tiles_path
from wsisr.writing.workdir.tile_journal import TileRecord, follow_journal, parse_tile_record


class RunTiles:
    """The tiles in a work folder, by level. Safe from several threads. Memory: a record for each finished tile.

    A tile whose bytes do not match its record counts as unfinished: a power cut, or a run that resumes over it, may
    have changed them.
    """

    def __init__(self, folder: Path, grids: Sequence[LevelGrid]) -> None:
        """Open the files of the levels. Raises `SlideError` if they cannot be read, or are not there yet."""
        self.folder, self.grids = folder, tuple(grids)
        self._records: tuple[dict[int, TileRecord], ...] = tuple({} for _ in grids)
        self._lock = Lock()
        try:
            with ExitStack() as opening:
                self._tiles = [self._open_tiles(level, opening) for level in range(len(grids))]
                self._journals = [self._open_journal(level, opening) for level in range(len(grids))]
                self.find_new_tiles()
                self._closing = opening.pop_all()
        except FileNotFoundError as error:
            raise SlideError(f"{folder}: holds no finished tiles yet; look again in a moment") from error
        except OSError as error:
            raise SlideError(f"{folder}: cannot be read ({describe_error(error)})") from error

    def close(self) -> None:
        """Close the files; reading afterwards is a bug."""
        self._closing.close()

    @property
    def is_current(self) -> bool:
        """Whether the folder still holds these files: a run that has ended, or begun anew, removes them."""
        return self._journals[0].is_current(level_journal_path(self.folder, 0))

    @property
    def counts(self) -> tuple[int, ...]:
        """Finished tiles of each level, when they were last looked for."""
        return tuple(map(len, self._records))

    def find_new_tiles(self) -> None:
        """Look for tiles that were finished since the last call. Raises `SlideError` if the disk refuses."""
        with self._lock:
            try:
                for journal, grid, records in zip(self._journals, self.grids, self._records, strict=True):
                    found = map(parse_tile_record, journal.read_new())
                    records.update((record.tile, record) for record in found if record.tile < grid.tile_count)
            except OSError as error:
                raise self._make_error(error) from error

    def has_tile(self, level: int, tile: int) -> bool:
        """Return whether a tile was finished when tiles were last looked for."""
        return tile in self._records[level]

    def read_encoded(self, level: int, tile: int) -> bytes | None:
        """Return the bytes of a finished tile; None for any other. Raises `SlideError` if the disk refuses."""
        record = self._records[level].get(tile)
        if record is None:
            return None
        try:
            file = self._tiles[level]
            if not 0 < record.size <= os.fstat(file).st_size:
                return None
            encoded = os.pread(file, record.size, record.offset)
        except OSError as error:
            raise self._make_error(error) from error
        return encoded if zlib.crc32(encoded) == record.crc else None

    def _open_tiles(self, level: int, opening: ExitStack) -> int:
        file = os.open(level_tiles_path(self.folder, level), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        opening.callback(os.close, file)
        return file

    def _open_journal(self, level: int, opening: ExitStack) -> LogFollower:
        journal = follow_journal(level_journal_path(self.folder, level))
        opening.callback(journal.close)
        return journal

    def _make_error(self, error: OSError) -> SlideError:
        return SlideError(f"{self.folder}: cannot be read ({describe_error(error)}); look after its disk, then repeat")
