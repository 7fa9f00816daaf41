"""Small DICOM slides, written element by element: one file a level, in JPEG tiles (PS3.3, A.32.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import imagecodecs
import numpy as np

from wsisr.imaging.pixels import Rgb

WHOLE_SLIDE, ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.5.1.4.1.1.91.1"
JPEG_SYNTAX = "1.2.840.10008.1.2.4.50"

Elements: TypeAlias = Mapping[tuple[int, str], Any]
"""Tag and value representation to the value: text, a number, or the items of a sequence."""


@dataclass(frozen=True)
class DicomLevel:
    """What the header of a level says."""

    mpp: float | None = 0.5
    """um/px in PixelSpacing; None to leave it out."""
    volume_mpp: float = 0.5
    """um/px by the size of the imaged area."""
    series: str = "1.2.3.4"
    kind: str = "VOLUME"
    """Third value of ImageType."""
    tile: int = 128
    origin: tuple[float, float] = (0.0, 0.0)
    """Place of the first pixel in mm."""
    undefined_lengths: bool = False
    """Whether sequences and items end by a mark instead of a length."""
    more: Elements = field(default_factory=dict)


def write_dicom_level(path: Path, pixels: Rgb, level: DicomLevel | None = None) -> Path:
    """Write (h, w, 3) as one level; tiles that reach over its border are white there."""
    level = level or DicomLevel()
    frames = [
        bytes(imagecodecs.jpeg8_encode(tile, level=95, subsampling="444")) for tile in _cut_tiles(pixels, level.tile)
    ]
    return write_dicom(path, _describe_level(pixels, level, len(frames)), frames, level.undefined_lengths)


def write_dicom(path: Path, elements: Elements, frames: list[bytes], undefined_lengths: bool = False) -> Path:
    """Write a DICOM file of these elements; without frames it holds no pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        (0x00020001, "OB"): b"\0\1",
        (0x00020002, "UI"): elements[0x00080016, "UI"],
        (0x00020003, "UI"): elements[0x00080018, "UI"],
        (0x00020010, "UI"): JPEG_SYNTAX,
        (0x00020012, "UI"): "1.2.3",
    }
    meta = _encode_elements(facts, False)
    pixels = b""
    if frames:
        items = b"".join(_ITEM + struct.pack("<I", len(frame) + len(frame) % 2) + _pad(frame) for frame in frames)
        pixels = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + _ITEM + bytes(4) + items + _SEQUENCE_END + bytes(4)
    head = bytes(128) + b"DICM" + _encode_elements({(0x00020000, "UL"): len(meta)}, False) + meta
    path.write_bytes(head + _encode_elements(elements, undefined_lengths) + pixels)
    return path


_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"


def _cut_tiles(pixels: Rgb, side: int) -> Iterator[Rgb]:
    height, width = pixels.shape[:2]
    padded = np.full((-(-height // side) * side, -(-width // side) * side, 3), 255, np.uint8)
    padded[:height, :width] = pixels
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield np.ascontiguousarray(padded[top : top + side, left : left + side])


def _describe_level(pixels: Rgb, level: DicomLevel, frames: int) -> Elements:
    height, width = pixels.shape[:2]
    spacing = None if level.mpp is None else f"{level.mpp / 1000:.8g}\\{level.mpp / 1000:.8g}"
    measures = {} if spacing is None else {(0x00289110, "SQ"): [{(0x00280030, "DS"): spacing}]}
    light = {(0x00080100, "SH"): "111744", (0x00080102, "SH"): "DCM", (0x00080104, "LO"): "Brightfield illumination"}
    origin = {(0x0040072A, "DS"): f"{level.origin[0]:g}", (0x0040073A, "DS"): f"{level.origin[1]:g}"}
    path = {(0x00220016, "SQ"): [light], (0x00480106, "SH"): "1", (0x00480112, "DS"): "20"}
    original = level.mpp is None or level.mpp == 0.5
    elements = {
        (0x00080008, "CS"): f"{'ORIGINAL' if original else 'DERIVED'}\\PRIMARY\\{level.kind}\\"
        + ("NONE" if original or level.kind != "VOLUME" else "RESAMPLED"),
        (0x00080016, "UI"): WHOLE_SLIDE,
        (0x00080018, "UI"): f"{level.series}.{width}.{height}.{len(level.kind)}",
        (0x00080023, "DA"): "20200101",
        (0x00080060, "CS"): "SM",
        (0x0020000D, "UI"): "1.2.3",
        (0x0020000E, "UI"): level.series,
        (0x00200052, "UI"): "1.2.3.9",
        (0x00209311, "CS"): "TILED_FULL",
        (0x00280002, "US"): 3,
        (0x00280004, "CS"): "YBR_FULL_422",
        (0x00280006, "US"): 0,
        (0x00280008, "IS"): str(frames),
        (0x00280010, "US"): level.tile,
        (0x00280011, "US"): level.tile,
        (0x00280100, "US"): 8,
        (0x00280101, "US"): 8,
        (0x00280102, "US"): 7,
        (0x00280103, "US"): 0,
        (0x00480001, "FL"): width * level.volume_mpp / 1000,
        (0x00480002, "FL"): height * level.volume_mpp / 1000,
        (0x00480006, "UL"): width,
        (0x00480007, "UL"): height,
        (0x00480008, "SQ"): [origin],
        (0x00480102, "DS"): "0\\-1\\0\\-1\\0\\0",
        (0x00480105, "SQ"): [path],
        (0x00480302, "UL"): 1,
        (0x00480303, "UL"): 1,
        (0x52009229, "SQ"): [measures],
    }
    return dict(sorted((elements | dict(level.more)).items()))


def _encode_elements(elements: Elements, undefined_lengths: bool) -> bytes:
    return b"".join(
        struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind.encode() + _encode_value(kind, value, undefined_lengths)
        for (tag, kind), value in elements.items()
    )


def _encode_value(kind: str, value: Any, undefined_lengths: bool) -> bytes:
    """Encode length and value."""
    if kind == "SQ":
        items = b"".join(_encode_item(item, undefined_lengths) for item in value)
        if undefined_lengths:
            return b"\0\0\xff\xff\xff\xff" + items + _SEQUENCE_END + bytes(4)
        return b"\0\0" + struct.pack("<I", len(items)) + items
    if kind == "OB":
        return b"\0\0" + struct.pack("<I", len(value)) + bytes(value)
    numbers = {"US": "<H", "UL": "<I", "FL": "<f"}
    data = (
        struct.pack(numbers[kind], value) if kind in numbers else _pad(value.encode(), b"\0" if kind == "UI" else b" ")
    )
    return struct.pack("<H", len(data)) + data


def _encode_item(item: Elements, undefined_lengths: bool) -> bytes:
    content = _encode_elements(item, undefined_lengths)
    if undefined_lengths:
        return _ITEM + b"\xff\xff\xff\xff" + content + _ITEM_END + bytes(4)
    return _ITEM + struct.pack("<I", len(content)) + content


def _pad(data: bytes, padding: bytes = b"\0") -> bytes:
    return data + padding * (len(data) % 2)
