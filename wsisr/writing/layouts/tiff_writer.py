"""A TIFF in the making, little-endian: the tiles of its images, then all directories, so that every offset is known.

tifffile writes neither tag 330 nor tiles that share their bytes; this holds just what a pyramid needs.
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

_ALIGNED = 16
"""Where directories begin: offsets must be even, and these are read at once."""


@dataclass(frozen=True, slots=True)
class TiffField:
    """The value of a tag: a type of TIFF, how many of it, and their bytes."""

    type_code: int
    count: int
    data: bytes


def short_field(*values: int) -> TiffField:
    return TiffField(3, len(values), struct.pack(f"<{len(values)}H", *values))


def long_field(*values: int) -> TiffField:
    return TiffField(4, len(values), struct.pack(f"<{len(values)}I", *values))


def text_field(words: bytes) -> TiffField:
    return TiffField(2, len(words) + 1, words + b"\0")


def opaque_field(data: bytes) -> TiffField:
    return TiffField(7, len(data), data)


def rational_field(value: float) -> TiffField:
    """A number from 0.001 to 1e9, to nine digits or six decimals."""
    below = max(1, min(10**6, int((2**32 - 1) / value)))
    return TiffField(5, 1, struct.pack("<2I", round(value * below), below))


class TiffDraft:
    """Images in the order of their directories. Segments that are all the same bytes as `shared` are stored once."""

    def __init__(self, file: BinaryIO, *, big: bool, shared: bytes = b"") -> None:
        self._file, self._big, self._shared = file, big, shared
        self._images: list[dict[int, TiffField]] = []
        self._tiles = 0
        self._shared_at: int | None = None
        self._end = self._file.write(bytes(16 if big else 8))  # a header comes at the end: until then it is no TIFF

    def add_tiled_image(
        self, fields: Mapping[int, TiffField], rows: Iterable[Iterable[Sequence[bytes]]]
    ) -> Iterator[int]:
        """Write an image in tiles, a few of a row at a time; yields after each row how many of all images there are."""
        places: list[tuple[int, int]] = []
        for row in rows:
            for tiles in row:
                places += self._write_segments(tiles)
            yield self._tiles + len(places)
        self._tiles += len(places)
        self._add_directory(fields, places, TILE_OFFSETS, TILE_BYTES)

    def add_strip_image(self, fields: Mapping[int, TiffField], strip: bytes) -> None:
        """Write an image in one strip."""
        self._add_directory(fields, self._write_segments([strip]), STRIP_OFFSETS, STRIP_BYTES)

    def finish(self, *, subifds: int = 0) -> None:
        """Write the directories and the header; tag 330 of the first points at so many that follow it."""
        if subifds:
            self._images[0][SUBIFDS] = self._offset_field(np.zeros(subifds))
        sizes = [len(self._encode_directory(image, 0, 0)) for image in self._images]
        places = list(accumulate(map(_align, sizes), initial=_align(self._end)))
        if subifds:
            self._images[0][SUBIFDS] = self._offset_field(np.array(places[1 : 1 + subifds]))
        self._file.write(bytes(places[0] - self._end))
        for image, (at, following) in zip(self._images, pairwise(places), strict=True):
            last = following == places[-1]
            self._file.write(self._encode_directory(image, at, 0 if last else following).ljust(following - at, b"\0"))
        self._file.seek(0)
        head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, places[0]) if self._big else b""
        self._file.write(head or struct.pack("<2sHI", b"II", 42, places[0]))

    def _add_directory(
        self, fields: Mapping[int, TiffField], segments: Sequence[tuple[int, int]], offsets: int, sizes: int
    ) -> None:
        """The directory of an image; it is written by `finish`."""
        places = np.array(segments, dtype=np.uint64)
        index = {
            offsets: self._offset_field(places[:, 0]),
            sizes: TiffField(4, len(places), places[:, 1].astype("<u4").tobytes()),
        }
        self._images.append({**fields, **index})

    def _write_segments(self, segments: Iterable[bytes]) -> list[tuple[int, int]]:
        """Write them one after the other, but for what is there; where each begins, and its length."""
        places, new = [], []
        for segment in segments:
            shared = segment == self._shared
            if shared and self._shared_at is not None:
                places.append((self._shared_at, len(segment)))
                continue
            if shared:
                self._shared_at = self._end
            places.append((self._end, len(segment)))
            self._end += len(segment)
            new.append(segment)
        self._file.write(b"".join(new))
        return places

    def _offset_field(self, values: np.typing.NDArray[np.generic]) -> TiffField:
        kind, form = (16, "<u8") if self._big else (4, "<u4")
        return TiffField(kind, len(values), values.astype(form).tobytes())

    def _encode_directory(self, fields: Mapping[int, TiffField], at: int, following: int) -> bytes:
        """Bytes of a directory that begins at a place: its entries by number, then what is too long to stand there."""
        count, entry, room = ("<Q", "<HHQ8s", 8) if self._big else ("<H", "<HHI4s", 4)
        offset = count if self._big else "<I"
        entries, rest = [], b""
        start = at + struct.calcsize(count) + len(fields) * struct.calcsize(entry) + struct.calcsize(offset)
        for number, value in sorted(fields.items()):
            here = value.data
            if len(here) > room:
                here = struct.pack(offset, start + len(rest))
                rest += value.data + bytes(-len(value.data) % 8)
            entries.append(struct.pack(entry, number, value.type_code, value.count, here))
        return struct.pack(count, len(fields)) + b"".join(entries) + struct.pack(offset, following) + rest


def _align(place: int) -> int:
    return place + -place % _ALIGNED
