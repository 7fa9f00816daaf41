"""DICOM slides whose header calls YCbCr JPEG frames RGB: OpenSlide follows the header, and glass turns pink.

A JPEG with a JFIF marker is YCbCr by that marker's definition, and libjpeg writes the marker for nothing else but grey;
for RGB it writes Adobe's. Following the frame instead of the header is our choice, and a warning says so.
"""

from __future__ import annotations

import mmap
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides.slide import Slide, SlideInfo, SlideWrapper

MISLABELLED_WARNING = "the header calls its JPEG frames RGB, their JFIF marker YCbCr; the marker is believed"

_FRAMES = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
"""Head of the element of encapsulated pixels, of undefined length. Items follow; the first is a table of offsets."""

_ITEM = b"\xfe\xff\x00\xe0"
_ADOBE, _SCAN = 0xEE, 0xDA
_LONGEST_HEAD = 2**16


class YcbcrToRgbSlide(SlideWrapper):
    """A slide whose pixels were read as RGB but are YCbCr, converted as libjpeg converts them, to the bit."""

    def __init__(self, slide: Slide) -> None:
        info = slide.info
        warnings = (*info.warnings, MISLABELLED_WARNING)
        super().__init__(slide, replace(info, colour_handling="YCbCr to RGB, against the header", warnings=warnings))

    def read(self, box: Box, level: int) -> Rgb:
        pixels = self._slide.read(box, level)
        converted = convert_ycbcr_to_rgb(pixels)
        converted[(pixels == WHITE).all(axis=2)] = WHITE  # unscanned area, which OpenSlide paints, stays white
        return converted


def has_mislabelled_ycbcr(info: SlideInfo) -> bool:
    """Whether the header of a DICOM slide says RGB while its first frame is a YCbCr JPEG."""
    says_rgb = info.vendor == "dicom" and info.properties.get("dicom.PhotometricInterpretation") == "RGB"
    return says_rgb and _is_jfif(_read_first_frame(info.path))


def convert_ycbcr_to_rgb(ycbcr: Rgb) -> Rgb:
    """Convert (h, w, 3) of full-range YCbCr to sRGB, in libjpeg's fixed-point arithmetic (JFIF 1.02)."""
    y, blue, red = (ycbcr[..., channel].astype(np.int32) - shift for channel, shift in enumerate((0, 128, 128)))
    half = 1 << 15
    channels = (
        y + ((91881 * red + half) >> 16),
        y + ((-22554 * blue - 46802 * red + half) >> 16),
        y + ((116130 * blue + half) >> 16),
    )
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def _read_first_frame(path: Path) -> bytes:
    """Read the beginning of the first frame of a DICOM file; empty where its pixels are not encapsulated."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_FRAMES)
        if at < 0:
            return b""
        table = at + len(_FRAMES)
        frame = table + 8 + int.from_bytes(data[table + 4 : table + 8], "little")
        return data[frame + 8 : frame + _LONGEST_HEAD] if data[frame : frame + 4] == _ITEM else b""


def _is_jfif(jpeg: bytes) -> bool:
    """Whether a JPEG begins with a JFIF marker and has no marker of Adobe's before its scan."""
    if jpeg[:3] != b"\xff\xd8\xff" or jpeg[6:11] != b"JFIF\0":
        return False
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at + 1] not in (_ADOBE, _SCAN):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[at + 1 : at + 2] != bytes([_ADOBE])
