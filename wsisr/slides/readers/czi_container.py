"""The container of Zeiss CZI files (ZISRAW): where its pixel blocks lie, and its metadata as text.

A file is a chain of segments, each with an id and a length. The directory lists every block with its place, size and
codec, so that no block has to be read to know what a file holds. The layout is that of libCZI's `CziStructs.h`
(https://zeiss.github.io/libczi/), compared with libCZI, czifile and OpenSlide by `python -m tests.bench czi_readers`.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wsisr.bounds import MAX_CZI_BLOCKS, MAX_XML_CHARACTERS
from wsisr.imaging.geometry import Box, Size

_BLOCK_ID, _DIRECTORY_ID, _METADATA_ID = b"ZISRAWSUBBLOCK", b"ZISRAWDIRECTORY", b"ZISRAWMETADATA"

_SEGMENT_HEADER = struct.Struct("<16sqq")
_FILE_HEADER = struct.Struct("<iiii16s16siqq")
"""Version and spare numbers, the GUIDs of the first file of a set and of this one, the number of this file in the set,
and where directory and metadata begin."""

_ENTRY = struct.Struct("<2siqiiB5xi")
_DIMENSION = struct.Struct("<4siifi")
_BLOCK_HEADER = struct.Struct("<iiq")
"""Bytes of a block's own metadata, of its attachment, and of its pixels."""

_DIRECTORY_HEAD_BYTES, _METADATA_HEAD_BYTES, _BLOCK_HEAD_BYTES = 128, 256, 256

_MAX_DIMENSIONS = 16
"""Dimensions of a block; the format knows eleven."""


class CziError(Exception):
    """A file that contradicts the format."""


class CziBlock(NamedTuple):
    """One stored rectangle of pixels, as the directory lists it."""

    place: Box
    """The part of the canvas that it shows, in px of level 0."""
    stored: Size
    """Its own pixels: fewer than those of `place` where it belongs to a coarser level."""
    pixel_type: int
    codec: int
    position: int
    """Where its segment begins, in bytes from the start of the file."""
    dimensions: Mapping[str, int]
    """Index along each other dimension that it has: C channel, Z focal plane, T time, S scene, M number of the tile,
    which says what lies above what."""


@dataclass(frozen=True, slots=True)
class CziContents:
    """What a file holds."""

    blocks: tuple[CziBlock, ...]
    """In the order of the directory."""
    xml: str
    """Metadata; empty where there are none, or more than any file has."""


class CziFile:
    """An open file from which several threads may read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()

    def read(self, position: int, count: int) -> bytes:
        """Read bytes. Raises `CziError` where the file ends before the last of them."""
        with self._lock:
            try:
                self._file.seek(position)
            except (OverflowError, OSError) as error:
                raise CziError(f"there is no byte {position}") from error
            data = self._file.read(count)
        if len(data) < count:
            raise CziError(f"the file ends {count - len(data)} bytes too early")
        return data

    def read_block(self, block: CziBlock, max_bytes: int) -> bytes:
        """Read the stored pixels of a block. Raises `CziError` where they are not there, or more than `max_bytes`."""
        start, _ = self.find_segment(block.position, _BLOCK_ID)
        metadata_bytes, _, count = _BLOCK_HEADER.unpack(self.read(start, _BLOCK_HEADER.size))
        entry = self.read(start + _BLOCK_HEADER.size, _ENTRY.size)
        entry_bytes = _ENTRY.size + _DIMENSION.size * _count_dimensions(entry)
        if not (0 <= count <= max_bytes and metadata_bytes >= 0):
            raise CziError(f"a block of {count} bytes where at most {max_bytes} are expected")
        head_bytes = max(_BLOCK_HEAD_BYTES, _BLOCK_HEADER.size + entry_bytes)
        return self.read(start + head_bytes + metadata_bytes, count)

    def find_segment(self, position: int, segment_id: bytes) -> tuple[int, int]:
        """Return where the content of a segment begins and how many bytes it has.

        Raises `CziError` unless a segment of that id begins at that byte.
        """
        name, _, used = _SEGMENT_HEADER.unpack(self.read(position, _SEGMENT_HEADER.size))
        if name.rstrip(b"\0") != segment_id:
            raise CziError(f"there is no {segment_id.decode()} at byte {position}")
        return position + _SEGMENT_HEADER.size, used


def read_czi_contents(path: Path) -> CziContents:
    """Read the directory and the metadata of a file.

    Memory: some 500 bytes a block, at most `MAX_CZI_BLOCKS`. Raises `CziError` where the file contradicts the format,
    and `OSError` where it cannot be read.
    """
    file = CziFile(path)
    try:
        fields = _FILE_HEADER.unpack(file.read(_SEGMENT_HEADER.size, _FILE_HEADER.size))
        first_guid, own_guid, part, directory_at, metadata_at = fields[4:9]
        if part or first_guid != own_guid:
            raise CziError("it is one file of a set of several, which is not supported")
        if directory_at <= 0:
            raise CziError("it has no directory, as its recording was not finished")
        return CziContents(tuple(_read_directory(file, directory_at)), _read_metadata(file, metadata_at))
    finally:
        file.close()


def _read_directory(file: CziFile, position: int) -> Iterator[CziBlock]:
    start, used = file.find_segment(position, _DIRECTORY_ID)
    (count,) = struct.unpack("<i", file.read(start, 4))
    if not 0 < count <= MAX_CZI_BLOCKS:
        raise CziError(f"its directory lists {count} blocks")
    most = count * (_ENTRY.size + _MAX_DIMENSIONS * _DIMENSION.size)
    entries = file.read(start + _DIRECTORY_HEAD_BYTES, max(0, min(most, used - _DIRECTORY_HEAD_BYTES)))
    at = 0
    for _ in range(count):
        if len(entries) < at + _ENTRY.size:
            raise CziError("its directory is cut off")
        end = at + _ENTRY.size + _DIMENSION.size * _count_dimensions(entries[at : at + _ENTRY.size])
        yield _parse_entry(entries[at:end])
        at = end


def _count_dimensions(entry: bytes) -> int:
    schema, count = entry[:2], _ENTRY.unpack(entry)[-1]
    if schema != b"DV" or not 2 <= count <= _MAX_DIMENSIONS:
        raise CziError("an entry of its directory is damaged")
    return int(count)


def _parse_entry(entry: bytes) -> CziBlock:
    _, pixel_type, position, _, codec, _, count = _ENTRY.unpack_from(entry)
    if len(entry) < _ENTRY.size + count * _DIMENSION.size:
        raise CziError("its directory is cut off")
    sides: dict[str, tuple[int, int, int]] = {}
    for name, start, extent, _, stored in _DIMENSION.iter_unpack(entry[_ENTRY.size :]):
        sides[name.rstrip(b"\0").decode("ascii", "replace")] = start, extent, stored or extent
    try:
        (left, width, stored_width), (top, height, stored_height) = sides.pop("X"), sides.pop("Y")
    except KeyError as error:
        raise CziError("a block has no place") from error
    stored_size = Size(stored_width, stored_height)
    if min(width, height, stored_width, stored_height) < 1 or position <= 0:
        raise CziError("a block has no size")
    place = Box(left, top, left + width, top + height)
    return CziBlock(place, stored_size, pixel_type, codec, position, {name: side[0] for name, side in sides.items()})


def _read_metadata(file: CziFile, position: int) -> str:
    if position <= 0:
        return ""
    start, _ = file.find_segment(position, _METADATA_ID)
    (count,) = struct.unpack("<i", file.read(start, 4))
    if not 0 <= count <= MAX_XML_CHARACTERS:
        return ""
    return file.read(start + _METADATA_HEAD_BYTES, count).decode("utf-8", "replace")
