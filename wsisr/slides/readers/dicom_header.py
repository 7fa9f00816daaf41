"""Header of a DICOM file (PS3.5, PS3.10): the few elements that tell what it is and how large its pixels are.

Elements are read in their order up to the pixels, which are not. Time and memory are bounded whatever a file claims.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wsisr.bounds import MAX_DICOM_DEPTH, MAX_DICOM_ELEMENTS, MAX_DICOM_NOTE_BYTES, MAX_DICOM_VALUE_BYTES
from wsisr.files import is_dicom
from wsisr.imaging.geometry import Size
from wsisr.slides.pixel_size import parse_number

WHOLE_SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of a VL Whole Slide Microscopy Image."""

_FIRST_ELEMENT = 132
"""Bytes of the preamble and the magic before the first element."""

_IMPLICIT_SYNTAX = "1.2.840.10008.1.2"
_UNREAD_SYNTAXES = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
"""Big endian, and deflated as a whole: no slide is stored so."""

_LONG_KINDS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV", b"UV")
"""Value representations whose length has four bytes, after two unused ones."""

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

NOTE_GROUP, NOTE_CREATOR, NOTE_ELEMENT = 0x0009, "wsisr", 0x01
"""Private block (PS3.5, 7.8.1) and element in which wsisr keeps the metadata of what it writes."""

_SYNTAX = 0x00020010
_IMAGE_TYPE, _SOP_CLASS, _INSTANCE, _MODALITY, _SERIES = 0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x0020000E
_CREATOR, _NOTE = (NOTE_GROUP << 16) | 0x0010, (NOTE_GROUP << 16) | 0x1000 | NOTE_ELEMENT
_ROWS, _COLUMNS, _SPACING = 0x00280010, 0x00280011, 0x00280030
_FRAMES = 0x00280008
_VOLUME_WIDTH, _VOLUME_HEIGHT, _MATRIX_COLUMNS, _MATRIX_ROWS = 0x00480001, 0x00480002, 0x00480006, 0x00480007
_ORIGINS, _X_OFFSET, _Y_OFFSET = 0x00480008, 0x0040072A, 0x0040073A
_MEASURES, _SHARED_GROUPS, _FRAME_GROUPS = 0x00289110, 0x52009229, 0x52009230

_Path = tuple[int, ...]

_VALUES: frozenset[_Path] = frozenset(
    [
        *((tag,) for tag in (_IMAGE_TYPE, _SOP_CLASS, _INSTANCE, _MODALITY, _SERIES, _ROWS, _COLUMNS, _SPACING)),
        (_FRAMES,),
        *((tag,) for tag in (_VOLUME_WIDTH, _VOLUME_HEIGHT, _MATRIX_COLUMNS, _MATRIX_ROWS)),
        *((_ORIGINS, tag) for tag in (_X_OFFSET, _Y_OFFSET)),
        *((groups, _MEASURES, _SPACING) for groups in (_SHARED_GROUPS, _FRAME_GROUPS)),
    ]
)
"""Elements that are kept, each by the sequences that hold it; of a sequence, the first item counts."""

_NOTE_VALUES: frozenset[_Path] = frozenset([(_CREATOR,), (_NOTE,)])


class _HeaderError(ValueError):
    """A header is damaged, or of a kind that is not read."""


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """Facts of one DICOM file; fields that it lacks are empty or None."""

    sop_class: str
    instance: str
    modality: str
    series: str
    image_type: tuple[str, ...]
    size: Size | None
    """Size of the whole level, in px."""
    tile: Size | None
    spacing: tuple[float, float] | None
    """Pixel size along x and y in mm."""
    volume: tuple[float, float] | None
    """Width and height of the imaged area in mm."""
    origin: tuple[float, float] | None
    """Where the first pixel lies on the glass, in mm."""
    frames: float
    """Frames that it counts; 0 where it does not say."""

    @property
    def is_whole_slide(self) -> bool:
        return self.sop_class == WHOLE_SLIDE_CLASS

    @property
    def is_level(self) -> bool:
        """Whether it is a level of a slide, and no label, overview or thumbnail."""
        return self.is_whole_slide and self.image_type[2:3] == ("VOLUME",)

    @property
    def volume_spacing(self) -> tuple[float, float] | None:
        """Pixel size along x and y in mm, as the size of the imaged area gives it."""
        if self.volume is None or self.size is None or not self.size.pixel_count:
            return None
        return self.volume[0] / self.size.width, self.volume[1] / self.size.height


def read_dicom_header(path: Path) -> DicomHeader | None:
    """Read the header of a file; None where it is no DICOM, damaged or of a kind that is not read.

    Raises `OSError` where the file cannot be read.
    """
    values = _read_values(path, _VALUES, MAX_DICOM_VALUE_BYTES)
    header = None if values is None else _make_header(values)
    return header if header and header.sop_class else None


def read_dicom_note(path: Path) -> bytes:
    """Read the metadata that wsisr wrote into a file, as JSON; empty where there are none.

    Raises `OSError` where the file cannot be read.
    """
    values = _read_values(path, _NOTE_VALUES, MAX_DICOM_NOTE_BYTES) or {}
    return values.get((_NOTE,), b"") if _decode_text(values.get((_CREATOR,), b"")) == NOTE_CREATOR else b""


def _read_values(path: Path, wanted: frozenset[_Path], max_value_bytes: int) -> Mapping[_Path, bytes] | None:
    """Read the wanted elements of a file, as far as it has them; None where it is damaged or no DICOM."""
    if not is_dicom(path):
        return None
    with path.open("rb") as file:
        try:
            return _HeaderParser(file, path.stat().st_size, wanted, max_value_bytes).parse()
        except (_HeaderError, struct.error, UnicodeDecodeError):
            return None


class _HeaderParser:
    """Reads elements from their place in a file."""

    def __init__(self, file: BinaryIO, file_bytes: int, wanted: frozenset[_Path], max_value_bytes: int) -> None:
        self._file, self._file_bytes = file, file_bytes
        self._wanted, self._max_value_bytes = wanted, max_value_bytes
        self._sequences = frozenset(path[:length] for path in wanted for length in range(1, len(path)))
        self._last = max(path[0] for path in wanted)
        self._elements = 0
        self._is_implicit = False
        self._values: dict[_Path, bytes] = {}

    def parse(self) -> Mapping[_Path, bytes]:
        """Return the values of the elements that are kept."""
        self._file.seek(_FIRST_ELEMENT)
        syntax = self._read_syntax()
        if syntax in _UNREAD_SYNTAXES:
            raise _HeaderError(f"transfer syntax {syntax}")
        self._is_implicit = syntax == _IMPLICIT_SYNTAX
        self._read_elements((), self._file_bytes)
        return self._values

    def _read_syntax(self) -> str:
        """Read the group of the file's own facts, which is explicit in every file, up to the group that follows."""
        syntax = ""
        while True:
            start = self._file.tell()
            tag = self._read_tag()
            if tag >> 16 != 2:
                self._file.seek(start)
                return syntax
            length = self._read_length()
            if tag == _SYNTAX:
                syntax = _decode_text(self._read_value(length))
            else:
                self._skip(length)

    def _read_elements(self, path: _Path, end: int) -> None:
        """Read the elements of the file, or of an item, up to `end` or to the item's end mark."""
        while self._file.tell() < end:
            tag = self._read_tag()
            if tag == _ITEM_END:
                self._file.seek(4, 1)
                return
            if not path and tag > self._last:
                return
            length, here = self._read_length(), (*path, tag)
            if here in self._sequences or length == _UNDEFINED:
                self._read_sequence(here, length)
            elif here in self._wanted:
                self._values[here] = self._read_value(length)
            else:
                self._skip(length)
            if here == (_FRAME_GROUPS,):
                return

    def _read_sequence(self, path: _Path, length: int) -> None:
        """Read the first item of a sequence and skip the others; all of them are skipped in one that is not kept."""
        if len(path) > MAX_DICOM_DEPTH:
            raise _HeaderError("sequences within sequences")
        end = self._file_bytes if length == _UNDEFINED else self._file.tell() + length
        is_first = True
        while self._file.tell() < end:
            tag, item_length = self._read_tag(), self._read_number("<I")
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise _HeaderError("no item in a sequence")
            start = self._file.tell()
            item_end = self._file_bytes if item_length == _UNDEFINED else start + item_length
            if is_first and path in self._sequences:
                self._read_elements(path, item_end)
            elif item_length == _UNDEFINED:
                self._read_elements((*path, -1), item_end)
            if item_length != _UNDEFINED:
                self._file.seek(item_end)
            is_first = False
            if path == (_FRAME_GROUPS,):  # one item a frame, and nothing that is kept follows
                return

    def _read_tag(self) -> int:
        self._elements += 1
        if self._elements > MAX_DICOM_ELEMENTS:
            raise _HeaderError("too many elements")
        return (self._read_number("<H") << 16) | self._read_number("<H")

    def _read_length(self) -> int:
        if self._is_implicit:
            return self._read_number("<I")
        kind = self._file.read(2)
        if kind in _LONG_KINDS:
            self._file.seek(2, 1)
            return self._read_number("<I")
        return self._read_number("<H")

    def _read_number(self, form: str) -> int:
        return int(struct.unpack(form, self._file.read(struct.calcsize(form)))[0])

    def _read_value(self, length: int) -> bytes:
        value = self._file.read(min(length, self._max_value_bytes))
        self._skip(length - len(value))
        return value

    def _skip(self, length: int) -> None:
        if length > self._file_bytes - self._file.tell():
            raise _HeaderError("an element beyond the end of the file")
        self._file.seek(length, 1)


def _make_header(values: Mapping[_Path, bytes]) -> DicomHeader:
    def text(tag: int) -> str:
        return _decode_text(values.get((tag,), b""))

    spacing = next(
        (
            values[path]
            for path in ((_SHARED_GROUPS, _MEASURES, _SPACING), (_FRAME_GROUPS, _MEASURES, _SPACING), (_SPACING,))
            if path in values
        ),
        b"",
    )
    rows_and_columns = _parse_pair(*_decode_text(spacing).split("\\"))
    return DicomHeader(
        sop_class=text(_SOP_CLASS),
        instance=text(_INSTANCE),
        modality=text(_MODALITY),
        series=text(_SERIES),
        image_type=tuple(part.strip() for part in text(_IMAGE_TYPE).split("\\")),
        size=_unpack_size(values, "<I", _MATRIX_COLUMNS, _MATRIX_ROWS),
        tile=_unpack_size(values, "<H", _COLUMNS, _ROWS),
        # DICOM names the distance of rows, along y, first.
        spacing=None if rows_and_columns is None else (rows_and_columns[1], rows_and_columns[0]),
        volume=_unpack_volume(values),
        frames=parse_number(text(_FRAMES)) or 0.0,
        origin=_parse_pair(*(_decode_text(values.get((_ORIGINS, tag), b"")) for tag in (_X_OFFSET, _Y_OFFSET))),
    )


def _unpack_size(values: Mapping[_Path, bytes], form: str, width: int, height: int) -> Size | None:
    stored = [values.get((tag,), b"") for tag in (width, height)]
    if any(len(value) != struct.calcsize(form) for value in stored):
        return None
    return Size(*(int(struct.unpack(form, value)[0]) for value in stored))


def _unpack_volume(values: Mapping[_Path, bytes]) -> tuple[float, float] | None:
    stored = [values.get((tag,), b"") for tag in (_VOLUME_WIDTH, _VOLUME_HEIGHT)]
    if any(len(value) != 4 for value in stored):
        return None
    return _parse_pair(*(str(struct.unpack("<f", value)[0]) for value in stored))


def _parse_pair(*numbers: str) -> tuple[float, float] | None:
    """Parse two numbers; None where there are others or fewer."""
    parsed = [parse_number(number) for number in numbers]
    if len(parsed) != 2 or parsed[0] is None or parsed[1] is None:
        return None
    return parsed[0], parsed[1]


def _decode_text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")
