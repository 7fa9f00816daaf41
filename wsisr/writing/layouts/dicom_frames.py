"""Pixel data of a DICOM instance: encoded tiles, each an item of its own, after a table of where they begin.

The table is the Basic Offset Table, whose offsets have 32 bits, or for more bytes the Extended one (PS3.5, A.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import itemize_fragment, itemize_frame

from wsisr.writing.workdir.tile_store import TileStore

MAX_BASIC_OFFSET = 2**32 - 2
"""Largest offset of a frame that the Basic Offset Table can hold."""

_ITEM_HEAD_BYTES = 8

_PIXEL_DATA_HEAD = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
_PIXEL_DATA_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""Tag, value representation and undefined length of the element; its delimiter."""


def build_offset_tables(level: TileStore) -> Dataset:
    """Return the elements of the Extended Offset Table; none where the Basic one has room for the offsets."""
    dataset, sizes = Dataset(), _list_frame_sizes(level)
    offsets = _compute_offsets(sizes)
    if offsets[-1] > MAX_BASIC_OFFSET:
        dataset.ExtendedOffsetTable = offsets.astype("<u8").tobytes()
        dataset.ExtendedOffsetTableLengths = sizes.astype("<u8").tobytes()
    return dataset


def write_frames(file: BinaryIO, level: TileStore) -> Iterator[int]:
    """Write the tiles of a level as frames; yields, row by row, how many are written. Memory: a few tiles."""
    offsets = _compute_offsets(_list_frame_sizes(level))
    basic_table = b"" if offsets[-1] > MAX_BASIC_OFFSET else offsets.astype("<u4").tobytes()
    file.write(_PIXEL_DATA_HEAD + itemize_fragment(basic_table))
    written = 0
    for row in level.iterate_rows():
        for tiles in row:
            file.writelines(item for tile in tiles for item in itemize_frame(tile))
            written += len(tiles)
        yield written
    file.write(_PIXEL_DATA_END)


def _list_frame_sizes(level: TileStore) -> npt.NDArray[np.int64]:
    """Return the bytes of each frame, padded to an even number."""
    sizes = level.encoded_sizes
    return sizes + sizes % 2


def _compute_offsets(frame_sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where the item of each frame begins, counted from that of the first."""
    ends = np.cumsum(frame_sizes + _ITEM_HEAD_BYTES)
    return ends - (frame_sizes + _ITEM_HEAD_BYTES)
