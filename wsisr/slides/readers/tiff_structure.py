"""The directories of a TIFF, walked with little memory before a library reads them.

tifffile 2026.3.3 follows a chain of more than a hundred directories that leads back to itself without end, and keeps
what it finds. Many tags may point to one large value, which is then read for each of them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from wsisr.bounds import MAX_TIFF_PAGES, MAX_TIFF_TAG_BYTES
from wsisr.errors import SlideError

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""

_SUBIFDS = 330
_STRIP_OFFSETS, _STRIP_BYTES = 273, 279
_OFFSET_TYPES = (4, 13, 16, 18)
_NUMBER_FORMS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_TAGS = 4096
"""Tags of a directory; tifffile reads no more either."""


class DamagedTiffError(SlideError):
    """tifffile cannot parse a TIFF, or must not; OpenSlide still may."""


class _Tag(NamedTuple):
    code: int
    kind: int
    length: int
    """Number of its values."""
    value_at: int
    """Where in the file its value begins."""

    @property
    def value_bytes(self) -> int:
        return self.length * _TYPE_BYTES.get(self.kind, 0)


def refuse_excessive_structure(path: Path) -> None:
    """Raise `DamagedTiffError` where a TIFF has more directories, or more bytes in their tags, than any slide.

    A file that is cut off or no TIFF passes: the libraries say what is wrong with it.
    """
    list_header_ranges(path)


def list_header_ranges(path: Path, *, with_images: bool = False) -> list[tuple[int, int]]:
    """List the ranges of bytes (offset, count) that hold the directories of a TIFF and the values of their tags.

    With `with_images` also the pixels of the images that are not tiled: label, macro and thumbnail. Raises
    `DamagedTiffError` as `refuse_excessive_structure` does; a file that is no TIFF has its first 16 bytes.
    """
    with path.open("rb") as file:
        head = file.read(16)
        if len(head) < 16 or head[2:4] not in (b"*\0", b"\0*", b"+\0", b"\0+"):
            return [(0, len(head))]
        walk = _Walk(file, path)
        walk.follow_chain(walk.first_directory(head))
        return [(0, len(head)), *walk.ranges, *(walk.strip_ranges() if with_images else ())]


class _Walk:
    """Follows the directories of an open file, each once."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._file_bytes = file.seek(0, os.SEEK_END)
        self.ranges: list[tuple[int, int]] = []
        self._strips: list[tuple[_Tag, _Tag]] = []
        self._pages, self._tag_bytes = 0, 0
        self._form, self._is_big = "<", False

    def first_directory(self, head: bytes) -> int:
        """Parse the first 16 bytes of the file to the place of the first directory."""
        self._form = ">" if head[:2] == b"MM" else "<"
        self._is_big = b"+" in head[2:4]
        return self._unpack("Q", head[8:16]) if self._is_big else self._unpack("I", head[4:8])

    def follow_chain(self, first: int) -> None:
        """Walk the directories of the chain and of all chains that their SubIFDs begin."""
        chains, seen = [first], set[int]()
        while chains:
            at, is_main = chains.pop(), not seen
            while at and at not in seen:
                seen.add(at)
                self._count_page()
                tags, following = self._read_directory(at)
                self._note_strips(tags)
                for tag in tags:
                    self._count_bytes(tag)
                    if tag.code == _SUBIFDS:
                        chains.extend(self._read_offsets(tag))
                if following in seen and is_main:
                    raise self._make_error("its chain of directories leads back to itself")
                at = following

    def strip_ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges of the strips of all directories that have strips."""
        for offsets, counts in self._strips:
            yield from zip(self._read_numbers(offsets), self._read_numbers(counts), strict=False)

    def _note_strips(self, tags: list[_Tag]) -> None:
        by_code = {tag.code: tag for tag in tags if tag.kind in _NUMBER_FORMS}
        if _STRIP_OFFSETS in by_code and _STRIP_BYTES in by_code:
            self._strips.append((by_code[_STRIP_OFFSETS], by_code[_STRIP_BYTES]))

    def _read_numbers(self, tag: _Tag) -> Iterator[int]:
        form = _NUMBER_FORMS[tag.kind]
        for number in range(min(tag.length, MAX_TIFF_TAG_BYTES // struct.calcsize(form))):
            value = self._read_number(form, tag.value_at + number * struct.calcsize(form))
            if value is None:
                return
            yield value

    def _count_page(self) -> None:
        self._pages += 1
        if self._pages > MAX_TIFF_PAGES:
            raise self._make_error(f"it has more than {MAX_TIFF_PAGES} directories")

    def _count_bytes(self, tag: _Tag) -> None:
        if tag.value_at + tag.value_bytes <= self._file_bytes:  # tifffile reads no others
            self._tag_bytes += tag.value_bytes
            self.ranges.append((tag.value_at, tag.value_bytes))
        if self._tag_bytes > MAX_TIFF_TAG_BYTES:
            raise self._make_error(f"its tags have more than {MAX_TIFF_TAG_BYTES // 2**20} MiB")

    def _read_directory(self, at: int) -> tuple[list[_Tag], int]:
        """Read the tags of a directory, and the place of the next one; none and 0 where the file ends before."""
        count_bytes, entry_bytes = (8, 20) if self._is_big else (2, 12)
        count = self._read_number("Q" if self._is_big else "H", at)
        if count is None or count > _MAX_TAGS:
            return [], 0
        start = at + count_bytes
        self._file.seek(start)
        data = self._file.read(count * entry_bytes)
        self.ranges.append((at, count_bytes + len(data) + (8 if self._is_big else 4)))
        following = self._read_number("Q" if self._is_big else "I", start + count * entry_bytes)
        entries = range(0, len(data) - entry_bytes + 1, entry_bytes)
        return [self._parse_tag(data[place : place + entry_bytes], start + place) for place in entries], following or 0

    def _parse_tag(self, entry: bytes, at: int) -> _Tag:
        width = 8 if self._is_big else 4
        code, kind = self._unpack("H", entry[:2]), self._unpack("H", entry[2:4])
        count = self._unpack("Q" if self._is_big else "I", entry[4 : 4 + width])
        tag = _Tag(code, kind, count, at + 4 + width)
        if tag.value_bytes <= width:
            return tag
        return tag._replace(value_at=self._unpack("Q" if self._is_big else "I", entry[4 + width :]))

    def _read_offsets(self, tag: _Tag) -> Iterator[int]:
        """Yield the directories that SubIFDs name, up to one more than may be walked."""
        if tag.kind not in _OFFSET_TYPES:
            return
        width = _TYPE_BYTES[tag.kind]
        for number in range(min(tag.length, MAX_TIFF_PAGES + 1)):
            offset = self._read_number("Q" if width == 8 else "I", tag.value_at + number * width)
            if offset is None:
                return
            yield offset

    def _read_number(self, kind: str, at: int) -> int | None:
        if at >= self._file_bytes:
            return None
        self._file.seek(at)
        data = self._file.read(struct.calcsize(kind))
        return self._unpack(kind, data) if len(data) == struct.calcsize(kind) else None

    def _unpack(self, kind: str, data: bytes) -> int:
        return int(struct.unpack(f"{self._form}{kind}", data)[0])

    def _make_error(self, problem: str) -> DamagedTiffError:
        return DamagedTiffError(f"{self._path}: {problem}, as no slide has; the file is damaged, copy it again")
