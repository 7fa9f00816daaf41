"""The container of an Olympus scan's pixels (ETS): of what kind its tiles are, and where each lies.

A header, a second one about the pixels, tiles, and a table of them with place and level. All numbers are little-endian.
Their meaning is that of Bio-Formats' `CellSensReader` and slideio's `EtsFile`; what these and fastslide show of the
same files is compared by `python -m tests.bench vsi_readers`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsisr.bounds import MAX_ETS_TILES, MAX_LEVELS
from wsisr.imaging.geometry import Size
from wsisr.remote.ranges import RangeReader, open_ranges
from wsisr.slides.readers.signatures import ETS_MAGIC

_HEADER = struct.Struct("<4sIIIQIIQI")
"""Magic, bytes of this header, version, coordinates of a tile, place and bytes of the second header, a spare number,
place of the table of tiles, and how many it lists."""

_PIXELS = struct.Struct("<4s9I68x40s2I")
"""Magic, version, type of a sample, samples of a pixel, colour space, codec, quality, width, height and depth of a
tile, the background's samples, their order, and whether a tile's last coordinate is its level."""

_MIN_COORDINATES, _MAX_COORDINATES = 2, 16
_MAX_COLUMNS = 2**20
"""Tiles along a side; a slide in tiles of 1 px would have as many."""


class EtsError(Exception):
    """A file that contradicts the format."""


@dataclass(frozen=True, slots=True)
class EtsGrid:
    """The tiles of one level."""

    columns: int
    rows: int
    tiles: Mapping[tuple[int, int], tuple[int, int]]
    """Column and row of each stored tile to the byte of the file where it begins, and how many it has."""


@dataclass(frozen=True, slots=True)
class EtsContents:
    """What a file holds."""

    sample_type: int
    samples: int
    """Samples of a pixel: 3 for RGB."""
    colour_space: int
    codec: int
    tile: Size
    background: tuple[int, ...]
    """8-bit samples of the places without a tile."""
    grids: tuple[EtsGrid, ...]
    """From fine to coarse, each half of the one before; none of them is empty."""
    plane_count: int
    """Planes of focus, channel or time, of which `grids` are the middle one."""


def read_ets_contents(path: Path) -> EtsContents:
    """Read headers and table of a file.

    Memory: some 300 bytes a tile, at most `MAX_ETS_TILES`. Raises `EtsError` where the file contradicts the format, and
    `OSError` where it cannot be read.
    """
    with closing(open_ranges(path)) as ranges:
        magic, _, _, coordinates, pixels_at, _, _, table_at, count = _HEADER.unpack(_read(ranges, 0, _HEADER.size))
        fields = _PIXELS.unpack(_read(ranges, pixels_at, _PIXELS.size))
        if magic != ETS_MAGIC or fields[0] != b"ETS\0":
            raise EtsError("it has no header")
        if not _MIN_COORDINATES <= coordinates <= _MAX_COORDINATES:
            raise EtsError(f"its tiles have {coordinates} coordinates")
        if not 0 < count <= MAX_ETS_TILES:
            raise EtsError(f"its table lists {count} tiles")
        entry = np.dtype([("", "<u4"), ("place", "<i4", coordinates), ("at", "<u8"), ("bytes", "<u4"), ("", "<u4")])
        table = np.frombuffer(_read(ranges, table_at, count * entry.itemsize), entry)
    sample_type, samples, colour_space, codec, _, width, height, _, background, _, is_pyramid = fields[2:]
    grids, plane_count = _arrange_tiles(table, has_levels=bool(is_pyramid))
    return EtsContents(
        sample_type, samples, colour_space, codec, Size(width, height), tuple(background[:3]), grids, plane_count
    )


def _read(ranges: RangeReader, offset: int, count: int) -> bytes:
    if offset + count > ranges.file_bytes:
        raise EtsError("it ends too early")
    return ranges.read_range(offset, count)


def _arrange_tiles(table: npt.NDArray[np.void], *, has_levels: bool) -> tuple[tuple[EtsGrid, ...], int]:
    """Return the tiles of the middle plane, level by level, and the number of planes."""
    places = table["place"]
    levels = places[:, -1] if has_levels and places.shape[1] > _MIN_COORDINATES else np.zeros(len(places), np.int32)
    planes = places[:, 2 : -1 if has_levels else None]
    if places.min() < 0 or places[:, :2].max() >= _MAX_COLUMNS or levels.max() >= MAX_LEVELS:
        raise EtsError("its table has tiles at impossible places")
    all_planes = np.unique(planes[levels == 0], axis=0)
    if not len(all_planes):
        raise EtsError("its finest level is not stored")
    of_plane = (planes == all_planes[(len(all_planes) - 1) // 2]).all(axis=1)
    grids = []
    for number in range(int(levels.max()) + 1):
        chosen = table[of_plane & (levels == number)]
        if not len(chosen):
            break
        columns, rows = chosen["place"][:, :2].max(axis=0) + 1
        keys = map(tuple, chosen["place"][:, :2].tolist())
        stored = zip(chosen["at"].tolist(), chosen["bytes"].tolist(), strict=True)
        grids.append(EtsGrid(int(columns), int(rows), dict(zip(keys, stored, strict=True))))
    return tuple(grids), len(all_planes)
