"""One level of a TIFF as segments, which are tiles or strips: where they lie and how they are decoded.

A strip is handled as a tile as wide as the image. A compressed segment is decoded as a whole; of an uncompressed one
only the requested rows are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tifffile

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.readers.tiled_level import TiledLevel

SegmentDecoder: TypeAlias = Callable[[bytes, int], Rgb]
"""Decodes (stored bytes, index of the segment) to (h, w, 3)."""

MAX_SEGMENT_BYTES = 256 * 2**20
"""Bytes that one compressed segment may decode to: more than any slide needs, less than a small machine has."""

MAX_CACHED_ROW_BYTES = 768 * 2**20
"""Limit in bytes for the strips that a row of boxes touches, all of which are cached."""

_ROW_PX = 1024
"""Largest height of a row of boxes for which strips are cached."""

_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE = 1, 5, 7, 8, 32946
_CODECS = (_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE)
_RGB, _YCBCR = 2, 6

# JPEG's start-of-frame markers; 0xC4, 0xC8 and 0xCC among them mean something else.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END_OF_IMAGE = b"\xff\xd9"


class DamagedSegmentError(Exception):
    """Stored bytes that contradict the header."""


DECODING_ERRORS = (DamagedSegmentError, tifffile.TiffFileError, RuntimeError, ValueError, OSError)
"""Errors that reading and decoding a segment of a damaged file raise; imagecodecs derives its own from RuntimeError."""


@dataclass(frozen=True, slots=True)
class TiffLevel(TiledLevel):
    """One resolution of a TIFF."""

    byte_offsets: Sequence[int]
    """Where each segment begins, row by row, in bytes from the start of the file."""
    byte_counts: Sequence[int]
    """Stored bytes of each segment; 0 where it was left out."""
    decode_segment: SegmentDecoder | None
    """None where the stored bytes are the pixels."""

    @property
    def segments_to_cache(self) -> int:
        """Segments to cache for the next box of the same row.

        Of strips, all in the row: else each box would decode them again, and a slide would cost the square of its
        width.
        """
        if self.decode_segment is None or self.segment_size.width < self.size.width:
            return 0
        return _strips_per_box_row(self.size.height, self.segment_size.height)


def load_tiff_level(page: Any) -> TiffLevel:
    """Load a level from a `tifffile.TiffPage` that can be decoded (see `explain_undecodable`).

    The file may be closed afterwards.
    """
    return TiffLevel(
        size=Size(page.imagewidth, page.imagelength),
        segment_size=_read_segment_size(page),
        byte_offsets=page.dataoffsets,
        byte_counts=page.databytecounts,
        decode_segment=_make_decoder(page),
    )


def explain_undecodable(page: Any) -> str | None:
    """Return in words why an 8-bit RGB `tifffile.TiffPage` cannot be decoded here; None where it can."""
    segment = _read_segment_size(page)
    segments = -(-page.imagewidth // segment.width) * -(-page.imagelength // segment.height)
    reasons = {
        "has an alpha channel": page.samplesperpixel != 3,
        "stores its colours in separate planes": page.planarconfig != 1,
        "is a volume": page.imagedepth != 1 or page.tiledepth > 1,
        f"is compressed with codec {page.compression:d}": page.compression not in _CODECS,
        "is YCbCr without JPEG": page.photometric == _YCBCR and page.compression != _JPEG,
        f"lists {len(page.dataoffsets)} of {segments} segments": len(page.dataoffsets) != segments,
        f"lists {len(page.databytecounts)} of {segments} segment lengths": len(page.databytecounts) != segments,
        f"is compressed in segments of {segment} px": segment.pixel_count * 3 > MAX_SEGMENT_BYTES and not _is_raw(page),
        f"is compressed in strips that are {segment.width} px wide": not _is_row_cacheable(page, segment),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def has_oversized_tiles(page: Any) -> bool:
    """Whether a page's tiles are larger than any scanner's: for such tiles OpenSlide runs out of memory and aborts."""
    return bool(page.is_tiled) and _read_segment_size(page).pixel_count * 3 > MAX_SEGMENT_BYTES


def reshape_raw_rows(data: bytes, width: int) -> Rgb:
    """Reshape the stored bytes of whole rows to (h, width, 3)."""
    return np.frombuffer(data, np.uint8).reshape(-1, width, 3)


def _read_segment_size(page: Any) -> Size:
    if page.is_tiled:
        return Size(max(page.tilewidth, 1), max(page.tilelength, 1))
    return Size(page.imagewidth, max(min(page.rowsperstrip, page.imagelength), 1))


def _strips_per_box_row(height: int, strip: int) -> int:
    return min(-(-height // strip), -(-_ROW_PX // strip) + 1)


def _is_row_cacheable(page: Any, segment: Size) -> bool:
    """Whether the decoded strips of a row of boxes fit the cache; tiles and uncompressed strips need none."""
    row_bytes = _strips_per_box_row(page.imagelength, segment.height) * segment.pixel_count * 3
    return bool(page.is_tiled) or _is_raw(page) or row_bytes <= MAX_CACHED_ROW_BYTES


def _is_raw(page: Any) -> bool:
    return bool(page.compression == _NONE and page.predictor == 1 and page.fillorder == 1)


def _make_decoder(page: Any) -> SegmentDecoder | None:
    if _is_raw(page):
        return None
    decode, tables, segment = page.decode, page.jpegtables, _read_segment_size(page)
    if page.compression == _JPEG:
        return lambda data, index: _require_rgb(decode(_require_complete_jpeg(data, segment), index, jpegtables=tables))
    return lambda data, index: _require_rgb(decode(data, index))


def _require_rgb(result: tuple[Any, Any, Any]) -> Rgb:
    pixels: Rgb = result[0][0]
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DamagedSegmentError(f"a segment of shape {pixels.shape}")
    return pixels


def _require_complete_jpeg(data: bytes, segment: Size) -> bytes:
    """Return the same bytes, or raise `DamagedSegmentError`.

    The decoder does not check: it allocates the size in the JPEG's own header, and fills a cut-off image with grey.
    """
    frame = _parse_jpeg_size(data)
    # Some encoders pad rows and columns to whole blocks.
    if frame is None or frame.width > segment.width + 15 or frame.height > segment.height + 15:
        raise DamagedSegmentError(f"a JPEG of {frame or 'no size'} where {segment} px are expected")
    if not data.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise DamagedSegmentError("a JPEG that is cut off")
    return data


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
