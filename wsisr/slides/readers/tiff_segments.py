"""One image of a TIFF as segments: where they lie and how each decodes. A strip is a tile as wide as the image.

Of a compressed segment all is decoded; of an uncompressed one only the rows that are asked for are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tifffile

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.readers.tiled_level import Mosaic

Decode: TypeAlias = Callable[[bytes, int], Rgb]
"""(stored bytes, index of the segment) to (h, w, 3)."""

LARGEST_SEGMENT = 256 * 2**20
"""Bytes that one compressed segment may decode to: more than any slide has, less than a small machine has."""

LARGEST_ROW = 768 * 2**20
"""Bytes of the strips that a row of boxes touches, all of which are kept."""

_ROW_PX = 1024
"""Height of a row of boxes, at most, for which strips are kept."""

_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE = 1, 5, 7, 8, 32946
_CODECS = (_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE)
_RGB, _YCBCR = 2, 6

# JPEG's start-of-frame markers; 0xC4, 0xC8 and 0xCC in their midst are others.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END_OF_IMAGE = b"\xff\xd9"


class DamagedSegmentError(Exception):
    """Bytes that cannot be what the header says they are."""


DECODING_ERRORS = (DamagedSegmentError, tifffile.TiffFileError, RuntimeError, ValueError, OSError)
"""What reading and decoding a segment raises where the file is damaged; codecs derive theirs from RuntimeError."""


@dataclass(frozen=True, slots=True)
class Plane(Mosaic):
    """One resolution of a TIFF."""

    offsets: Sequence[int]
    """Of each segment, row by row, in bytes from the start of the file."""
    counts: Sequence[int]
    """Stored bytes of each segment; 0 where it was left out."""
    decode: Decode | None
    """None where the stored bytes are the pixels."""

    @property
    def kept(self) -> int:
        """Segments to keep for the next box of the same row: of strips all that the row has, else each box would decode
        them anew and a slide cost the square of its width."""
        if self.decode is None or self.segment.width < self.size.width:
            return 0
        return _strips_of_a_row(self.size.height, self.segment.height)


def plane_of(page: Any) -> Plane:
    """The plane of a `tifffile.TiffPage` for which `why_undecodable` finds nothing. All that it needs is loaded now."""
    return Plane(
        size=Size(page.imagewidth, page.imagelength),
        segment=_segment_size(page),
        offsets=page.dataoffsets,
        counts=page.databytecounts,
        decode=_decoder(page),
    )


def why_undecodable(page: Any) -> str | None:
    """What keeps an 8-bit RGB `tifffile.TiffPage` from being read here; None where nothing does."""
    segment = _segment_size(page)
    expected = -(-page.imagewidth // segment.width) * -(-page.imagelength // segment.height)
    reasons = {
        "has an alpha channel": page.samplesperpixel != 3,
        "stores its colours in separate planes": page.planarconfig != 1,
        "is a volume": page.imagedepth != 1 or page.tiledepth > 1,
        f"is compressed with codec {page.compression:d}": page.compression not in _CODECS,
        "is YCbCr without JPEG": page.photometric == _YCBCR and page.compression != _JPEG,
        f"lists {len(page.dataoffsets)} of {expected} segments": len(page.dataoffsets) != expected,
        f"lists {len(page.databytecounts)} of {expected} segment lengths": len(page.databytecounts) != expected,
        f"is compressed in segments of {segment} px": segment.pixels * 3 > LARGEST_SEGMENT and not _is_raw(page),
        f"is compressed in strips that are {segment.width} px wide": _row_bytes(page, segment) > LARGEST_ROW,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def has_monstrous_tiles(page: Any) -> bool:
    """Whether its tiles are larger than any scanner's, for which OpenSlide would end the process, out of memory."""
    return bool(page.is_tiled) and _segment_size(page).pixels * 3 > LARGEST_SEGMENT


def rows_of_raw(data: bytes, width: int) -> Rgb:
    """Stored bytes of whole rows to (h, width, 3)."""
    return np.frombuffer(data, np.uint8).reshape(-1, width, 3)


def _segment_size(page: Any) -> Size:
    if page.is_tiled:
        return Size(max(page.tilewidth, 1), max(page.tilelength, 1))
    return Size(page.imagewidth, max(min(page.rowsperstrip, page.imagelength), 1))


def _strips_of_a_row(height: int, strip: int) -> int:
    return min(-(-height // strip), -(-_ROW_PX // strip) + 1)


def _row_bytes(page: Any, segment: Size) -> int:
    kept = not (page.is_tiled or _is_raw(page))
    return _strips_of_a_row(page.imagelength, segment.height) * segment.pixels * 3 if kept else 0


def _is_raw(page: Any) -> bool:
    return bool(page.compression == _NONE and page.predictor == 1 and page.fillorder == 1)


def _decoder(page: Any) -> Decode | None:
    if _is_raw(page):
        return None
    decode, tables, segment = page.decode, page.jpegtables, _segment_size(page)
    if page.compression == _JPEG:
        return lambda data, index: _decoded(decode(_checked_jpeg(data, segment), index, jpegtables=tables))
    return lambda data, index: _decoded(decode(data, index))


def _decoded(result: tuple[Any, Any, Any]) -> Rgb:
    pixels: Rgb = result[0][0]
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DamagedSegmentError(f"a segment of shape {pixels.shape}")
    return pixels


def _checked_jpeg(data: bytes, segment: Size) -> bytes:
    """The same bytes. The decoder allocates what the JPEG's own header says, and fills a cut-off image with grey."""
    frame = _jpeg_size(data)
    # Rows and columns are padded to whole blocks by some encoders.
    if frame is None or frame.width > segment.width + 15 or frame.height > segment.height + 15:
        raise DamagedSegmentError(f"a JPEG of {frame or 'no size'} where {segment} px are expected")
    if not data.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise DamagedSegmentError("a JPEG that is cut off")
    return data


def _jpeg_size(data: bytes) -> Size | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _FRAMES:
            return Size(int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big"))
        # A marker may be preceded by any number of 0xFF.
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
