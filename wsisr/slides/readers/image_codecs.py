"""Codecs of TIFF segments that are whole images with a size of their own: WebP, JPEG 2000 and JPEG XL.

libtiff, and with it OpenSlide, has none of them in most builds. The size that a stored image claims is compared with
the one that the TIFF expects before any pixel is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import imagecodecs
import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Size
from wsisr.slides.wrappers.ycbcr import convert_ycbcr_to_rgb, parse_component_transform


class ExpectedImage(NamedTuple):
    """What the header of a TIFF says of a stored image."""

    segment: Size
    visible: Size
    """The part of the segment that lies within the picture; an image may end there."""
    samples: int
    """3 for RGB, 1 for one of its planes."""
    is_ycbcr: bool


ImageDecoder: TypeAlias = Callable[[bytes, ExpectedImage], npt.NDArray[np.uint8]]
"""Decodes stored bytes to (h, w, samples)."""

_CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream and the marker of its size; boxes of a JP2 file may come before."""


# JPEG's start-of-frame markers; 0xC4, 0xC8 and 0xCC among them mean something else.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END_OF_IMAGE = b"\xff\xd9"
_BLOCK_PX = 16
"""Largest side of JPEG's blocks."""


class DamagedSegmentError(Exception):
    """Stored bytes that contradict the header."""


class ImageSizeError(Exception):
    """A stored image whose size is not that of its segment."""


def require_complete_jpeg(data: bytes, segment: Size, visible: Size) -> bytes:
    """Return the same bytes, or raise `DamagedSegmentError`.

    The decoder does not check: it allocates the size in the JPEG's own header, fills a cut-off image with grey, and one
    that is smaller than its segment with black.
    """
    frame = _parse_jpeg_size(data)
    # Some encoders pad rows and columns to whole blocks.
    whole = [-(-side // _BLOCK_PX) * _BLOCK_PX for side in (segment.width, segment.height)]
    if frame is None or frame.width > whole[0] or frame.height > whole[1]:
        raise DamagedSegmentError(f"a JPEG of {frame or 'no size'} where {segment} px are expected")
    if frame.width < visible.width or frame.height < visible.height:
        raise DamagedSegmentError(f"a JPEG of {frame} where {visible} px are seen")
    if not data.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise DamagedSegmentError("a JPEG that is cut off")
    return data


def decode_webp(data: bytes, expected: ExpectedImage) -> npt.NDArray[np.uint8]:
    """Decode WebP, which is RGB whatever the header says."""
    return _decode_to_size(imagecodecs.webp_decode, data, expected, hasalpha=False)


def decode_jpeg(data: bytes, expected: ExpectedImage) -> npt.NDArray[np.uint8]:
    """Decode a JPEG with tables of its own, whose markers say what its colours are; one that is cut off is refused."""
    jpeg = require_complete_jpeg(data, expected.segment, expected.visible)
    return _decode_to_size(imagecodecs.jpeg8_decode, jpeg, expected)


def decode_jpegxl(data: bytes, expected: ExpectedImage) -> npt.NDArray[np.uint8]:
    """Decode JPEG XL, which is RGB whatever the header says."""
    return _decode_to_size(imagecodecs.jpegxl_decode, data, expected)


def decode_jpeg2k(data: bytes, expected: ExpectedImage) -> npt.NDArray[np.uint8]:
    """Decode JPEG 2000. Where it has no component transform, its colours are what the header says."""
    size, segment, visible = _parse_jpeg2k_size(data), expected.segment, expected.visible
    fits = size and visible.width <= size.width <= segment.width and visible.height <= size.height <= segment.height
    if not fits:
        raise ImageSizeError(f"an image of {size or 'no size'} where {segment} px are expected")
    pixels = _require_shape(imagecodecs.jpeg2k_decode(data), expected.samples)
    is_stored_as_ycbcr = expected.is_ycbcr and expected.samples == 3 and parse_component_transform(data) == 0
    return convert_ycbcr_to_rgb(pixels) if is_stored_as_ycbcr else pixels


IMAGE_CODECS: Mapping[int, ImageDecoder] = {
    33005: decode_jpeg2k,
    34712: decode_jpeg2k,
    50001: decode_webp,
    50002: decode_jpegxl,
    52546: decode_jpegxl,
}
"""Values of TIFF's Compression. Aperio's 33003, YCbCr with fewer colours than pixels, is left to OpenSlide."""


def _decode_to_size(
    decode: Callable[..., Any], data: bytes, expected: ExpectedImage, **options: Any
) -> npt.NDArray[np.uint8]:
    """Decode into an array of a size that is allowed: a decoder compares it before it decodes any pixel."""
    problem: ValueError | None = None
    for size in dict.fromkeys((expected.segment, expected.visible)):
        shape = (size.height, size.width)
        out = np.empty((*shape, expected.samples) if expected.samples > 1 else shape, np.uint8)
        try:
            return _require_shape(decode(data, out=out, **options), expected.samples)
        except ValueError as error:
            problem = error
    raise ImageSizeError(f"an image that is not of {expected.segment} px ({problem})") from problem


def _require_shape(pixels: Any, samples: int) -> npt.NDArray[np.uint8]:
    array = np.asarray(pixels)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != samples:
        raise ImageSizeError(f"an image of shape {array.shape} and {array.dtype}")
    return array


def _parse_jpeg2k_size(data: bytes) -> Size | None:
    """Parse the size of a codestream: its reference grid less its offset."""
    at = data.find(_CODESTREAM)
    if at < 0 or at + 24 > len(data):
        return None
    right, bottom, left, top = (int.from_bytes(data[at + start : at + start + 4], "big") for start in (8, 12, 16, 20))
    return Size(right - left, bottom - top)


def _parse_jpeg_size(data: bytes) -> Size | None:
    marker = 2
    while marker + 9 <= len(data) and data[marker] == 0xFF:
        code, length = data[marker + 1], int.from_bytes(data[marker + 2 : marker + 4], "big")
        if code in _START_OF_FRAME:
            height, width = data[marker + 5 : marker + 7], data[marker + 7 : marker + 9]
            return Size(int.from_bytes(width, "big"), int.from_bytes(height, "big"))
        # A marker may be preceded by any number of 0xFF.
        marker += 1 if code == 0xFF else 2 + length
    return None
