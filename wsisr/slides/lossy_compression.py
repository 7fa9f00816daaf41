"""Lossy compressions that the pixels of a slide went through; an image made from them still went through these."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wsisr.slides.files import list_slide_files
from wsisr.slides.readers.signatures import PNG
from wsisr.slides.readers.tiff import is_tiff, open_tiff
from wsisr.slides.slide import SlideInfo

_JPEG, _JPEG2000, _JPEG_XL = "ISO_10918_1", "ISO_15444_1", "ISO_18181_1"
"""Names of the standards, as DICOM has them (PS3.3, C.7.6.1.1.5.1)."""

_TIFF_METHODS = {
    **dict.fromkeys((6, 7, 33007), _JPEG),
    **dict.fromkeys((33003, 33004, 33005, 34712), _JPEG2000),
    50001: "WEBP",
    50002: _JPEG_XL,
}
"""TIFF compressions that are lossy, or may be: JPEG 2000, WebP and JPEG XL do not say it in a tag."""


@dataclass(frozen=True, slots=True)
class LossyCompression:
    """A lossy compression."""

    method: str
    """Name of its standard, such as ISO_10918_1."""
    ratio: float
    """Uncompressed over compressed bytes."""


def estimate_lossy_compression(info: SlideInfo) -> LossyCompression | None:
    """Return how a slide's file is compressed, the ratio over all of its levels; None where that loses nothing.

    Raises `SlideError` where the file cannot be read.
    """
    method = _find_method(info)
    stored_bytes = sum(file.stat().st_size for file in list_slide_files(info))
    if method is None or not stored_bytes:
        return None
    pixel_bytes = 3 * math.fsum(level.size.pixel_count for level in info.levels)
    return LossyCompression(method, max(1.0, pixel_bytes / stored_bytes))


def _find_method(info: SlideInfo) -> str | None:
    if info.path.is_dir() or not info.path.exists():
        return None  # OME-Zarr, whose codecs that wsisr reads lose nothing, or a slide in memory
    if info.vendor == PNG:
        return None
    if not is_tiff(info.path):
        return _JPEG  # what else OpenSlide reads is made of JPEG, with few exceptions
    with open_tiff(info.path) as tiff:
        return _TIFF_METHODS.get(int(tiff.pages.first.aspage().compression))
