"""Writes a little-endian TIFF: first the tiles of all images, then all directories, so that every offset is known.

tifffile cannot write tag 330 (SubIFDs) that points into the main chain, nor tiles that share their bytes; this module
writes just what a pyramid needs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import BinaryIO

import numpy as np

SUBFILE_TYPE, DESCRIPTION, SOFTWARE, SUBIFDS = 254, 270, 305, 330
STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES = 273, 279, 324, 325

_ALIGNMENT = 16
"""Directories begin at multiples of this; TIFF asks for even offsets only."""


@dataclass(frozen=True, slots=True)
class TiffField:
    """The value of a tag: TIFF's code of its type, the number of values, and their bytes."""

    type_code: int
    count: int
    data: bytes


def short_field(*values: int) -> TiffField:
    return TiffField(3, len(values), struct.pack(f"<{len(values)}H", *values))


def long_field(*values: int) -> TiffField:
    return TiffField(4, len(values), struct.pack(f"<{len(values)}I", *values))


def text_field(text: bytes) -> TiffField:
    return TiffField(2, len(text) + 1, text + b"\0")


def opaque_field(data: bytes) -> TiffField:
    return TiffField(7, len(data), data)


def rational_field(value: float) -> TiffField:
    """Return the field of a number from 0.001 to 1e9, exact to nine digits or six decimals."""
    denominator = max(1, min(10**6, int((2**32 - 1) / value)))
    return TiffField(5, 1, struct.pack("<2I", round(value * denominator), denominator))


class TiffDraft:
    """A TIFF being written, images in the order of their directories. Segments equal to `shared` are stored once."""

    def __init__(self, file: BinaryIO, *, big: bool, shared: bytes = b"") -> None:
        self._file, self._big, self._shared = file, big, shared
        self._images: list[dict[int, TiffField]] = []
        self._tile_count = 0
        self._shared_offset: int | None = None
        self._end = self._file.write(bytes(16 if big else 8))  # the header is written last: until then it is no TIFF

    def add_tiled_image(
        self, fields: Mapping[int, TiffField], rows: Iterable[Iterable[Sequence[bytes]]]
    ) -> Iterator[int]:
        """Write an image of rows of encoded tiles; yields after each row how many tiles of all images are written."""
        segments: list[tuple[int, int]] = []
        for row in rows:
            for tiles in row:
                segments += self._write_segments(tiles)
            yield self._tile_count + len(segments)
        self._tile_count += len(segments)
        self._add_directory(fields, segments, TILE_OFFSETS, TILE_BYTES)

    def add_strip_image(self, fields: Mapping[int, TiffField], strip: bytes) -> None:
        """Write an image in one strip."""
        self._add_directory(fields, self._write_segments([strip]), STRIP_OFFSETS, STRIP_BYTES)

    def finish(self, *, subifds: int = 0) -> None:
        """Write the directories and the header; tag 330 of the first points at the `subifds` that follow it."""
        if subifds:
            self._images[0][SUBIFDS] = self._offset_field(np.zeros(subifds))
        sizes = [len(self._encode_directory(image, 0, 0)) for image in self._images]
        offsets = list(accumulate(map(_align, sizes), initial=_align(self._end)))
        if subifds:
            self._images[0][SUBIFDS] = self._offset_field(np.array(offsets[1 : 1 + subifds]))
        self._file.write(bytes(offsets[0] - self._end))
        for image, (offset, end) in zip(self._images, pairwise(offsets), strict=True):
            next_offset = 0 if end == offsets[-1] else end
            self._file.write(self._encode_directory(image, offset, next_offset).ljust(end - offset, b"\0"))
        self._file.seek(0)
        if self._big:
            self._file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, offsets[0]))
        else:
            self._file.write(struct.pack("<2sHI", b"II", 42, offsets[0]))

    def _add_directory(
        self, fields: Mapping[int, TiffField], segments: Sequence[tuple[int, int]], offsets_tag: int, sizes_tag: int
    ) -> None:
        """Keep the directory of an image, with the offsets and sizes of its segments, for `finish` to write."""
        table = np.array(segments, dtype=np.uint64)
        index = {
            offsets_tag: self._offset_field(table[:, 0]),
            sizes_tag: TiffField(4, len(table), table[:, 1].astype("<u4").tobytes()),
        }
        self._images.append({**fields, **index})

    def _write_segments(self, segments: Iterable[bytes]) -> list[tuple[int, int]]:
        """Write segments one after the other, the shared one only once; return the offset and size of each."""
        places, new = [], []
        for segment in segments:
            is_shared = segment == self._shared
            if is_shared and self._shared_offset is not None:
                places.append((self._shared_offset, len(segment)))
                continue
            if is_shared:
                self._shared_offset = self._end
            places.append((self._end, len(segment)))
            self._end += len(segment)
            new.append(segment)
        self._file.write(b"".join(new))
        return places

    def _offset_field(self, values: np.typing.NDArray[np.generic]) -> TiffField:
        type_code, dtype = (16, "<u8") if self._big else (4, "<u4")
        return TiffField(type_code, len(values), values.astype(dtype).tobytes())

    def _encode_directory(self, fields: Mapping[int, TiffField], offset: int, next_offset: int) -> bytes:
        """Return the bytes of a directory at `offset`: its entries by tag, then the values too long for an entry."""
        count_format, entry_format, inline_bytes = ("<Q", "<HHQ8s", 8) if self._big else ("<H", "<HHI4s", 4)
        offset_format = "<Q" if self._big else "<I"
        entries, long_values = [], b""
        directory_formats = (count_format, *[entry_format] * len(fields), offset_format)
        values_offset = offset + sum(map(struct.calcsize, directory_formats))
        for tag, field in sorted(fields.items()):
            value = field.data
            if len(value) > inline_bytes:
                value = struct.pack(offset_format, values_offset + len(long_values))
                long_values += field.data + bytes(-len(field.data) % 8)
            entries.append(struct.pack(entry_format, tag, field.type_code, field.count, value))
        count, link = struct.pack(count_format, len(fields)), struct.pack(offset_format, next_offset)
        return count + b"".join(entries) + link + long_values


def _align(offset: int) -> int:
    return offset + -offset % _ALIGNMENT
