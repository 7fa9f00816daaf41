"""What an Olympus VSI says of its scans: size, pixel size, objective and name.

A VSI is a TIFF, between whose header and first directory lie volumes: fields with a tag, a type and a value, which may
be volumes in turn. The tags are those that Bio-Formats' `CellSensReader` and slideio's `vsitags.hpp` name.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wsisr.bounds import MAX_VSI_FIELDS
from wsisr.imaging.geometry import Size
from wsisr.remote.ranges import RangeReader, open_ranges
from wsisr.slides.pixel_size import PixelSize, derive_pixel_size

_FIRST_VOLUME = 8
"""Where the first volume begins, behind the header of the TIFF."""

_VOLUME = struct.Struct("<HHIqI4x")
"""Bytes of this header, a constant, a version, where the first field begins, and the number of fields."""

_FIELD = struct.Struct("<IiII")
"""Type, tag, where the next field begins, and the bytes of the value, or the value itself."""

_VOLUME_HEADER_BYTES, _VOLUME_MAGIC = 24, 21321
_HAS_INDEX, _IS_EXTENDED, _IS_INLINE = 0x08000000, 0x10000000, 0x40000000
_VOLUMES, _PROPERTIES, _DIMENSIONS = 0, 1, 2
"""Types of extended fields whose values are volumes: any number of them, and one."""

_COLLECTION, _IMAGE, _FRAME, _EXTERNAL_FILE, _STACK = 2000, 2001, 2002, 2018, 2005
_BOUNDARY, _HAS_FILE, _SCALE, _UNIT, _NAME, _STACK_TYPE = 2053, 20005, 2019, 2020, 2030, 2074
_DEVICES, _DEVICE_PROPERTIES, _OBJECTIVE = 2043, 120114, 120060
_IMAGE_TYPES = (0, 1)
"""Values of the stack's type that are pictures of the specimen: an image and an overview; others are masks and maps."""

_MAX_DEPTH = 8
_MAX_VALUE_BYTES = 1024
_UM_PER_M = 1e6


class VsiError(Exception):
    """A file that contradicts the format."""


@dataclass(frozen=True, slots=True)
class VsiScan:
    """What a VSI says of one image whose pixels lie in a file of their own."""

    size: Size
    pixel_size: PixelSize
    objective: float | None
    name: str


class _Field(NamedTuple):
    tag: int
    value: int | bytes
    """The value itself where it is one number stored in place, else its bytes, at most `_MAX_VALUE_BYTES`."""
    parents: tuple[int, ...]
    """Tags of the volumes that it lies in, from the outermost."""
    image: int
    """Number of the image that it belongs to, from 1."""


def read_vsi_scans(path: Path) -> list[VsiScan]:
    """Read what a VSI says of its images with files of their own, in its order; none where it says nothing.

    Raises `VsiError` where it lists more than any slide has, and `OSError` where it cannot be read.
    """
    with closing(open_ranges(path)) as ranges:
        by_image: dict[int, list[_Field]] = {}
        for field in _FieldReader(ranges).read_fields():
            by_image.setdefault(field.image, []).append(field)
    return [scan for fields in by_image.values() if (scan := _make_scan(fields))]


class _FieldReader:
    """Walks the volumes down to the fields that are of use."""

    def __init__(self, ranges: RangeReader) -> None:
        self._ranges = ranges
        self._count = 0
        self._image = 0

    def read_fields(self) -> Iterator[_Field]:
        yield from self._read_volume(_FIRST_VOLUME, ())

    def _read_volume(self, start: int, parents: tuple[int, ...]) -> Iterator[_Field]:
        header = self._ranges.read_range(start, _VOLUME.size)
        if len(header) < _VOLUME.size or len(parents) > _MAX_DEPTH:
            return
        header_bytes, magic, _, first, flags = _VOLUME.unpack(header)
        if (header_bytes, magic) != (_VOLUME_HEADER_BYTES, _VOLUME_MAGIC) or first < header_bytes:
            return
        at = start + first
        for _ in range(flags & 0x0FFFFFFF):
            self._count += 1
            if self._count > MAX_VSI_FIELDS:
                raise VsiError(f"it has more than {MAX_VSI_FIELDS} fields")
            packed = self._ranges.read_range(at, _FIELD.size)
            if len(packed) < _FIELD.size:
                return
            kind, tag, following, count = _FIELD.unpack(packed)
            value_at = at + _FIELD.size + 4 * bool(kind & _HAS_INDEX)
            if kind & _IS_EXTENDED:
                if _leads_to_facts(tag, parents):
                    self._image += tag == _IMAGE
                    yield from self._read_volumes(value_at, kind & 0xFFFFFF, count, (*parents, tag))
            else:
                value = count if kind & _IS_INLINE else self._ranges.read_range(value_at, min(count, _MAX_VALUE_BYTES))
                yield _Field(tag, value, parents, self._image)
            if start + following <= at:  # 0 behind the last one
                return
            at = start + following

    def _read_volumes(self, start: int, kind: int, count: int, parents: tuple[int, ...]) -> Iterator[_Field]:
        """Read the volumes of a field. Of several only the first counts, as only that of an image has facts."""
        if kind in (_PROPERTIES, _DIMENSIONS) or (kind == _VOLUMES and count):
            yield from self._read_volume(start, parents)


def _leads_to_facts(tag: int, parents: tuple[int, ...]) -> bool:
    if parents and parents[-1] == _DEVICES:
        return True
    return tag in (_COLLECTION, _IMAGE, _FRAME, _EXTERNAL_FILE, _STACK, _DEVICES, _DEVICE_PROPERTIES)


def _make_scan(fields: list[_Field]) -> VsiScan | None:
    """Return the scan that the fields of an image tell of; None where it has no file of its own, or is no picture."""
    of_file = {field.tag: field for field in fields if field.parents and field.parents[-1] == _EXTERNAL_FILE}
    of_stack = {field.tag: field for field in fields if field.parents and field.parents[-1] == _STACK}
    kind = of_stack[_STACK_TYPE].value if _STACK_TYPE in of_stack else 0
    boundary = _unpack(of_file[_BOUNDARY], "<4i") if _BOUNDARY in of_file else None
    has_file = _HAS_FILE in of_file and of_file[_HAS_FILE].value not in (0, b"\0")
    if boundary is None or min(boundary[2:]) < 1 or not has_file or kind not in _IMAGE_TYPES:
        return None
    scales = _unpack(of_stack[_SCALE], "<2d") if _SCALE in of_stack else None
    factor = _parse_um_per_unit(_decode_text(of_stack.get(_UNIT)))
    objectives = {_unpack(field, "<d") for field in fields if field.tag == _OBJECTIVE}
    known = {values[0] for values in objectives if values and 0 < values[0] < 1000}
    return VsiScan(
        Size(int(boundary[2]), int(boundary[3])),
        derive_pixel_size(*(scale * factor for scale in scales)) if scales and factor else PixelSize(),
        known.pop() if len(known) == 1 else None,
        _decode_text(of_stack.get(_NAME)),
    )


def _unpack(field: _Field, form: str) -> tuple[float, ...] | None:
    """Unpack the numbers of a field; None where it has others."""
    is_right = isinstance(field.value, bytes) and len(field.value) == struct.calcsize(form)
    return struct.unpack(form, field.value) if is_right and isinstance(field.value, bytes) else None


def _decode_text(field: _Field | None) -> str:
    text = field.value.decode("utf-16-le", "replace") if field and isinstance(field.value, bytes) else ""
    return text.split("\0")[0].strip()


def _parse_um_per_unit(unit: str) -> float | None:
    """Parse a unit such as `10^-6m^1`; a micrometre where none is recorded, None for one of no length."""
    if not unit:
        return 1.0
    match = re.fullmatch(r"10\^(-?\d{1,2})m\^1", unit)
    return 10.0 ** int(match[1]) * _UM_PER_M if match else None
