"""DICOM slides whose header and frames contradict each other about colour; OpenSlide follows the header alone.

- The header says RGB, and JPEG frames have a JFIF marker: they are YCbCr by that marker's definition, and libjpeg
  writes it for nothing else but grey; for RGB it writes Adobe's. The frames are followed, and a warning says so.
- The header says YCbCr, and JPEG frames have Adobe's marker of RGB: refused. OpenSlide's conversion cannot be undone.
- The header says that JPEG 2000 frames have a component transform, and they have none (openslide#772): what is stored
  is YCbCr, as the header says, or RGB. Glass in RGB, taken for YCbCr, is a colour that does not exist: the pixels tell.
"""

from __future__ import annotations

import mmap
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides.slide import Slide, SlideInfo, SlideWrapper

UNTRANSFORMED_WARNING = "the header says that its JPEG 2000 frames are transformed, but they hold YCbCr as it is"
MISLABELLED_WARNING = "the header calls its JPEG frames RGB, their JFIF marker YCbCr; the marker is believed"

_FRAMES = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
"""Head of the element of encapsulated pixels, of undefined length. Items follow; the first is a table of offsets."""

_PHOTOMETRIC = "dicom.PhotometricInterpretation"
_TRANSFORMED = ("YBR_ICT", "YBR_RCT")
"""Photometric interpretations of JPEG 2000 with a component transform, irreversible and reversible."""

_SAMPLE_PX = 128
"""Side of the nine boxes by whose pixels RGB is told from YCbCr."""

_GAMUT_TOLERANCE, _MAX_OUTSIDE = 16, 0.1
"""Grey levels outside of 0 to 255 that compression may cause, and the share of pixels beyond them: true YCbCr has
none but for noise, glass in RGB has nothing else."""

_ITEM = b"\xfe\xff\x00\xe0"
_ADOBE, _SCAN = 0xEE, 0xDA
_CODESTREAM, _CODING_STYLE = b"\xff\x4f\xff\x51", 0x52
_LONGEST_HEAD = 2**16


class YcbcrToRgbSlide(SlideWrapper):
    """A slide whose pixels were read as RGB but are YCbCr, converted as libjpeg converts them, to the bit."""

    def __init__(self, slide: Slide, warning: str = MISLABELLED_WARNING) -> None:
        info = slide.info
        warnings = (*info.warnings, warning)
        super().__init__(slide, replace(info, colour_handling="YCbCr to RGB, against the header", warnings=warnings))

    def read(self, box: Box, level: int) -> Rgb:
        pixels = self._slide.read(box, level)
        converted = convert_ycbcr_to_rgb(pixels)
        converted[(pixels == WHITE).all(axis=2)] = WHITE  # unscanned area, which OpenSlide paints, stays white
        return converted


def correct_colours(slide: Slide) -> Slide:
    """Return a slide read through OpenSlide in the colours of its frames, where these contradict a DICOM header.

    Raises `SlideError` where that cannot be done.
    """
    info = slide.info
    if info.vendor != "dicom":
        return slide
    if has_mislabelled_ycbcr(info):
        return YcbcrToRgbSlide(slide)
    photometric = info.properties.get(_PHOTOMETRIC)
    if photometric in _TRANSFORMED and parse_component_transform(_read_first_frame(info.path)) == 0:
        return YcbcrToRgbSlide(slide, UNTRANSFORMED_WARNING) if _looks_like_ycbcr(slide) else slide
    if photometric == "YBR_FULL_422" and is_rgb_jpeg(_read_first_frame(info.path)):
        raise SlideError(
            f"{info.path}: its header says YCbCr, its JPEG frames say RGB, and OpenSlide shows wrong colours; "
            "correct its PhotometricInterpretation to RGB"
        )
    return slide


def has_mislabelled_ycbcr(info: SlideInfo) -> bool:
    """Whether the header of a DICOM slide says RGB while its first frame is a YCbCr JPEG."""
    says_rgb = info.vendor == "dicom" and info.properties.get(_PHOTOMETRIC) == "RGB"
    return says_rgb and is_jfif(_read_first_frame(info.path))


def _looks_like_ycbcr(slide: Slide) -> bool:
    """Whether pixels that were read as RGB become colours that exist when they are taken for YCbCr.

    Grey of 240 in RGB would be a blue of 438. The coarsest level shows most at once.
    """
    number = len(slide.info.levels) - 1
    size = slide.info.levels[number].size
    corners = (
        (max(0, size.width - _SAMPLE_PX) * column // 2, max(0, size.height - _SAMPLE_PX) * row // 2)
        for row in range(3)
        for column in range(3)
    )
    boxes = (Box(left, top, left + _SAMPLE_PX, top + _SAMPLE_PX) for left, top in corners)
    pixels = np.concatenate([slide.read(box, number).reshape(-1, 3) for box in boxes]).astype(np.int32)
    y, blue, red = pixels[(pixels != WHITE).any(axis=1)].T  # unscanned area, which OpenSlide paints, tells nothing
    converted = np.stack([y + 1.402 * (red - 128), y + 1.772 * (blue - 128)])
    outside = (converted < -_GAMUT_TOLERANCE) | (converted > WHITE + _GAMUT_TOLERANCE)
    return not y.size or bool(outside.any(axis=0).mean() < _MAX_OUTSIDE)


def parse_component_transform(jpeg2k: bytes) -> int | None:
    """Parse whether a JPEG 2000 codestream has a component transform: 1, or 0 for none.

    None where it is damaged, or its beginning does not hold the marker.
    """
    at = jpeg2k.find(_CODESTREAM)
    marker = at + 2
    while at >= 0 and marker + 9 <= len(jpeg2k) and jpeg2k[marker] == 0xFF:
        if jpeg2k[marker + 1] == _CODING_STYLE:
            return jpeg2k[marker + 8]
        marker += 2 + int.from_bytes(jpeg2k[marker + 2 : marker + 4], "big")
    return None


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


def is_jfif(jpeg: bytes) -> bool:
    """Whether a JPEG begins with a JFIF marker and has no marker of Adobe's before its scan."""
    return jpeg[:3] == b"\xff\xd8\xff" and jpeg[6:11] == b"JFIF\0" and _find_adobe_transform(jpeg) is None


def is_rgb_jpeg(jpeg: bytes) -> bool:
    """Whether a JPEG has Adobe's marker of RGB."""
    return jpeg[:2] == b"\xff\xd8" and _find_adobe_transform(jpeg) == 0


def _find_adobe_transform(jpeg: bytes) -> int | None:
    """Return the transform of Adobe's marker before the scan, 0 for RGB; None where there is no such marker."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at + 1] not in (_ADOBE, _SCAN):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[at + 15] if jpeg[at + 1 : at + 2] == bytes([_ADOBE]) and at + 15 < len(jpeg) else None
