"""Quality figures, measured while a result is made. Tiles that an earlier run finished keep what that run measured."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np

from wsisr.imaging.tiling import Tile, TileGrid
from wsisr.upscaling.consistency import ConsistencyStatistics, ErrorCounts
from wsisr.upscaling.seams import SeamStatistics, TileBorder, TileBorders
from wsisr.writing import LogEntry, RunLog

TILING_RECORD, QUALITY_RECORD = "tiling", "measures"
"""Kinds of log entries: how the tiles are cut from there on, and what was measured of one tile."""

_BORDER_ARRAYS = {"line": "line", "rough": "roughness", "kept": "shows_source"}
"""Names of the arrays in a stored entry to fields of `TileBorder`, in their order."""


@dataclass(frozen=True, slots=True)
class TileQuality:
    """The measurements of a tile's finished block."""

    borders: TileBorders
    error_counts: ErrorCounts

    def to_bytes(self) -> bytes:
        """Return the content of a log entry: an .npz file."""
        file = BytesIO()
        arrays = {
            f"{place}.{name}": getattr(border, field)
            for place, border in zip(TileBorders._fields, self.borders, strict=True)
            for name, field in _BORDER_ARRAYS.items()
        }
        np.savez(file, apart=self.error_counts, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> TileQuality:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            borders = [
                TileBorder(*(arrays[f"{place}.{name}"] for name in _BORDER_ARRAYS)) for place in TileBorders._fields
            ]
            return cls(TileBorders(*borders), arrays["apart"])


class QualityMonitor:
    """Sums up the measurements of tiles, row by row.

    Those of an earlier run are added in their turn, so that the sum is the same to the last digit.
    """

    def __init__(self, scale: int) -> None:
        self.seams, self.consistency = SeamStatistics(scale), ConsistencyStatistics(scale)
        self.measured_tiles = 0
        """Tiles with measurements; not all, where an earlier run cut the region into other tiles."""
        self._next = 0

    def begin(self, grid: TileGrid, cell_px: int, run_log: RunLog | None = None) -> None:
        """Start with a grid in cells of `cell_px` px of the result, and what earlier runs logged of the same grid."""
        self._grid, self._cell_px, self._run_log = grid, cell_px, run_log
        self._stored_entries = _find_stored_entries(run_log, grid) if run_log else {}

    def add(self, tile: Tile, quality: TileQuality) -> None:
        """Add a tile, unless an earlier run measured it.

        Such a tile is computed again only for a neighbour that is missing, and may lack the feather of the one before.
        """
        number = self._grid.number_of(tile)
        if number in self._stored_entries:
            return
        self._restore_tiles(number)
        if self._run_log:
            self._run_log.append(QUALITY_RECORD, quality.to_bytes(), number)
        self._accumulate(tile, quality)

    def add_out_of_order(self, tile: Tile, content: bytes) -> None:
        """Log the measurements of a tile, as `TileQuality.to_bytes` gives them; `end` sums them up in their turn.

        For tiles that others measure. Needs the run log.
        """
        number = self._grid.number_of(tile)
        if self._run_log and number not in self._stored_entries:
            self._stored_entries[number] = self._run_log.append(QUALITY_RECORD, content, number)

    def end(self) -> None:
        self._restore_tiles(len(self._grid))

    def _restore_tiles(self, end: int) -> None:
        """Add the stored measurements of the tiles before a number that were not added yet."""
        for number in range(self._next, end):
            if self._run_log and number in self._stored_entries:
                row, column = divmod(number, self._grid.columns)
                content = self._run_log.read_content(self._stored_entries[number])
                self._accumulate(self._grid.tile_at(column, row), TileQuality.from_bytes(content))
        self._next = end

    def _accumulate(self, tile: Tile, quality: TileQuality) -> None:
        self.measured_tiles += 1
        self.seams.add(tile, quality.borders, self._cell_px)
        self.consistency.add(tile, quality.error_counts)


def _find_stored_entries(run_log: RunLog, grid: TileGrid) -> dict[int, LogEntry]:
    """Return the stored measurements of tiles of this grid, by the number of the tile; log the grid if it is new."""
    entries: dict[int, LogEntry] = {}
    current, wanted = "", describe_grid(grid)
    for entry in run_log.earlier_entries:
        if entry.kind == TILING_RECORD:
            current = run_log.read_content(entry).decode()
        elif entry.kind == QUALITY_RECORD and current == wanted:
            entries[entry.number] = entry
    if current != wanted:
        run_log.append(TILING_RECORD, wanted.encode())
    return entries


def describe_grid(grid: TileGrid) -> str:
    """Return the text by which run logs know a grid; stored in work folders, so it does not follow renamed fields."""
    tiling = grid.tiling
    numbers = (
        f"step={tiling.core_px}, margin={tiling.halo_px}, feather={tiling.feather_px}, unit={tiling.width_multiple}"
    )
    return f"TileGrid(image={grid.image!r}, tiling=Tiling({numbers}), readable={grid.readable_box!r})"
