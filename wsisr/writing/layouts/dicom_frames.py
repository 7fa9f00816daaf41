"""Pixel data of a DICOM instance: encoded tiles, each an item of its own, after a table of where they begin.

The table is the Basic Offset Table, whose offsets have 32 bits, or for more bytes the Extended one (PS3.5, A.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import itemize_fragment, itemize_frame

FrameBytes: TypeAlias = npt.NDArray[np.int64]
"""Bytes of each frame."""

MAX_BASIC_OFFSET = 2**32 - 2
"""Largest offset of a frame that the Basic Offset Table can hold."""

_ITEM_HEAD_BYTES = 8

_PIXEL_DATA_HEAD = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
_PIXEL_DATA_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""Tag, value representation and undefined length of the element; its delimiter."""


def build_offset_tables(encoded_sizes: FrameBytes) -> Dataset:
    """Return the elements of the Extended Offset Table; none where the Basic one has room for the offsets."""
    dataset, sizes = Dataset(), _pad_sizes(encoded_sizes)
    offsets = _compute_offsets(sizes)
    if offsets[-1] > MAX_BASIC_OFFSET:
        dataset.ExtendedOffsetTable = offsets.astype("<u8").tobytes()
        dataset.ExtendedOffsetTableLengths = sizes.astype("<u8").tobytes()
    return dataset


def write_frames(file: BinaryIO, encoded_sizes: FrameBytes, rows: Iterable[Iterable[Sequence[bytes]]]) -> Iterator[int]:
    """Write encoded frames of known sizes; yields, row by row, how many are written. Memory: a few frames."""
    offsets = _compute_offsets(_pad_sizes(encoded_sizes))
    basic_table = b"" if offsets[-1] > MAX_BASIC_OFFSET else offsets.astype("<u4").tobytes()
    file.write(_PIXEL_DATA_HEAD + itemize_fragment(basic_table))
    written = 0
    for row in rows:
        for frames in row:
            file.writelines(item for frame in frames for item in itemize_frame(frame))
            written += len(frames)
        yield written
    file.write(_PIXEL_DATA_END)


def _pad_sizes(encoded_sizes: FrameBytes) -> FrameBytes:
    """Return the bytes of each frame, padded to an even number."""
    return encoded_sizes + encoded_sizes % 2


def _compute_offsets(frame_sizes: FrameBytes) -> FrameBytes:
    """Return where the item of each frame begins, counted from that of the first."""
    ends = np.cumsum(frame_sizes + _ITEM_HEAD_BYTES)
    return ends - (frame_sizes + _ITEM_HEAD_BYTES)
