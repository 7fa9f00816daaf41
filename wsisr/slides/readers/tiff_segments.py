"""One level of a TIFF as segments, which are tiles or strips: where they lie and how they are decoded.

A strip is handled as a tile as wide as the image. A compressed segment is decoded as a whole; of an uncompressed one
only the requested rows are read. Where red, green and blue are stored apart, in planes of one page or in three pages, a
segment is three stored ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tifffile

from wsisr.bounds import MAX_CACHED_ROW_BYTES, MAX_TIFF_SEGMENT_BYTES
from wsisr.imaging.geometry import Size
from wsisr.slides.readers.image_codecs import (
    IMAGE_CODECS,
    DamagedSegmentError,
    ExpectedImage,
    ImageSizeError,
    require_complete_jpeg,
)
from wsisr.slides.readers.jpeg_tiles import JpegTileFormat, describe_jpeg_tiles
from wsisr.slides.readers.tiff_contradictions import count_segments, find_contradiction, read_segment_size
from wsisr.slides.readers.tiled_level import TiledLevel
from wsisr.slides.wrappers.ycbcr import convert_ycbcr_to_rgb, is_jfif, is_rgb_jpeg

Samples: TypeAlias = npt.NDArray[np.uint8]
"""(h, w, 3) of RGB, or (h, w, 1) of one plane."""

SegmentDecoder: TypeAlias = Callable[[bytes, int], Samples]
"""Decodes (stored bytes, index of the stored segment)."""

_ROW_PX = 1024
"""Largest height of a row of boxes for which strips are cached."""

_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _ZSTD, _OLD_ZSTD = 1, 5, 7, 8, 32946, 32773, 50000, 34926
_COMMON_CODECS = (_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE)
"""Codecs that OpenSlide decodes as well."""
_CODECS = (*_COMMON_CODECS, _PACKBITS, _ZSTD, _OLD_ZSTD, *IMAGE_CODECS)
_RGB, _YCBCR = 2, 6
_SEPARATE = 2
"""Value of PlanarConfiguration: each colour has segments of its own."""

PageGroup: TypeAlias = Sequence[Any]
"""The pages of a level, `tifffile.TiffPage` each: one of RGB, or three of one colour each, red first."""

_JPEG_HEAD_BYTES = 2**16
"""Bytes within which a JPEG says what its colours are."""

DECODING_ERRORS = (DamagedSegmentError, ImageSizeError, tifffile.TiffFileError, RuntimeError, ValueError, OSError)
"""Errors that reading and decoding a segment of a damaged file raise; imagecodecs derives its own from RuntimeError."""


@dataclass(frozen=True, slots=True)
class TiffLevel(TiledLevel):
    """One resolution of a TIFF."""

    byte_offsets: Sequence[int]
    """Where each stored segment begins, row by row and plane by plane, in bytes from the start of the file."""
    byte_counts: Sequence[int]
    """Bytes of each stored segment; 0 where it was left out."""
    decode_segment: SegmentDecoder | None
    """None where the stored bytes are the pixels."""
    plane_count: int = 1
    """3 where each colour is stored apart, else 1."""
    jpeg_tiles: JpegTileFormat | None = None
    """What all tiles have in common, where they are JPEGs that need no decoding to be shown."""

    def list_planes(self, index: int) -> range:
        """Return the indices of the stored segments of a segment: of its only plane, or of red, green and blue."""
        return range(index, len(self.byte_counts), len(self.byte_counts) // self.plane_count)

    @property
    def segments_to_cache(self) -> int:
        """Segments to cache for the next box of the same row.

        Of strips, all in the row: else each box would decode them again, and a slide would cost the square of its
        width.
        """
        if self.decode_segment is None or self.segment_size.width < self.size.width:
            return 0
        return _strips_per_box_row(self.size.height, self.segment_size.height)


def load_tiff_level(pages: PageGroup) -> TiffLevel:
    """Load a level that can be decoded (see `explain_undecodable`). The file may be closed afterwards."""
    page = pages[0]
    offsets, counts = page.dataoffsets, page.databytecounts
    for other in pages[1:]:
        offsets, counts = (*offsets, *other.dataoffsets), (*counts, *other.databytecounts)
    return TiffLevel(
        size=Size(page.imagewidth, page.imagelength),
        segment_size=read_segment_size(page),
        byte_offsets=offsets,
        byte_counts=counts,
        decode_segment=_make_decoder(pages),
        plane_count=3 if len(pages) > 1 or page.planarconfig == _SEPARATE else 1,
        jpeg_tiles=describe_jpeg_tiles(page) if len(pages) == 1 else None,
    )


def explain_undecodable(pages: PageGroup) -> str | None:
    """Return in words why an 8-bit RGB level cannot be decoded here; None where it can."""
    return next((reason for reason in (_explain_page(page, 3 // len(pages)) for page in pages) if reason), None)


def contradicts_in_colour(page: Any) -> bool:
    """Whether the first JPEG of a page has colours other than its header says: OpenSlide shows those of the header."""
    if page.compression != _JPEG or page.planarconfig == _SEPARATE or not (page.dataoffsets and page.databytecounts):
        return False
    place = next(((at, size) for at, size in zip(page.dataoffsets, page.databytecounts, strict=False) if size), None)
    if place is None:
        return False
    file = page.parent.filehandle
    file.seek(place[0])
    head = file.read(min(place[1], _JPEG_HEAD_BYTES))
    return is_jfif(head) if page.photometric == _RGB else page.photometric == _YCBCR and is_rgb_jpeg(head)


def is_read_by_openslide(pages: PageGroup) -> bool:
    """Whether OpenSlide can decode a level as well, for all that its codec and its planes tell."""
    return len(pages) == 1 and pages[0].planarconfig != _SEPARATE and pages[0].compression in _COMMON_CODECS


def _explain_page(page: Any, samples: int) -> str | None:
    segment, contradiction = read_segment_size(page), find_contradiction(page)
    reasons = {
        "has an alpha channel": page.samplesperpixel != samples,
        "is a volume": page.imagedepth != 1 or page.tiledepth > 1,
        f"is compressed with codec {page.compression:d}": page.compression not in _CODECS,
        "is YCbCr without JPEG": page.photometric == _YCBCR and page.compression not in (_JPEG, *IMAGE_CODECS),
        f"lists {len(page.dataoffsets)} of {count_segments(page)} segments": contradiction is not None,
        f"is compressed in segments of {segment} px": segment.pixel_count * 3 > MAX_TIFF_SEGMENT_BYTES
        and not _is_raw(page),
        f"is compressed in strips that are {segment.width} px wide": not _is_row_cacheable(page, segment),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def has_oversized_tiles(page: Any) -> bool:
    """Whether a page's tiles are larger than any scanner's: for such tiles OpenSlide runs out of memory and aborts."""
    return bool(page.is_tiled) and read_segment_size(page).pixel_count * 3 > MAX_TIFF_SEGMENT_BYTES


def reshape_raw_rows(data: bytes, width: int, samples: int) -> Samples:
    """Reshape the stored bytes of whole rows to (h, width, samples)."""
    return np.frombuffer(data, np.uint8).reshape(-1, width, samples)


def _strips_per_box_row(height: int, strip: int) -> int:
    return min(-(-height // strip), -(-_ROW_PX // strip) + 1)


def _is_row_cacheable(page: Any, segment: Size) -> bool:
    """Whether the decoded strips of a row of boxes fit the cache; tiles and uncompressed strips need none."""
    row_bytes = _strips_per_box_row(page.imagelength, segment.height) * segment.pixel_count * 3
    return bool(page.is_tiled) or _is_raw(page) or row_bytes <= MAX_CACHED_ROW_BYTES


def _is_raw(page: Any) -> bool:
    return bool(page.compression == _NONE and page.predictor == 1 and page.fillorder == 1)


def _make_decoder(pages: PageGroup) -> SegmentDecoder | None:
    if _is_raw(pages[0]):
        return None
    decoders = [_make_page_decoder(page) for page in pages]
    count = len(pages[0].dataoffsets)
    return decoders[0] if len(pages) == 1 else lambda data, index: decoders[index // count](data, index % count)


def _make_page_decoder(page: Any) -> SegmentDecoder:
    decode, tables, segment = page.decode, page.jpegtables, read_segment_size(page)
    samples = 1 if page.planarconfig == _SEPARATE else page.samplesperpixel
    visible = _make_visible_size(page, segment)
    decode_image = IMAGE_CODECS.get(page.compression)
    if decode_image is not None:
        is_ycbcr = page.photometric == _YCBCR
        return lambda data, index: decode_image(data, ExpectedImage(segment, visible(index), samples, is_ycbcr))
    if page.compression == _JPEG:
        # tifffile looks for JFIF's marker, which stands for YCbCr, at the first segment only, which may be empty.
        is_unseen_ycbcr = page.photometric == _RGB and samples == 3 and not page.is_jfif

        def decode_jpeg(data: bytes, index: int) -> Samples:
            jpeg = require_complete_jpeg(data, segment, visible(index))
            pixels = _require_samples(decode(jpeg, index, jpegtables=tables), samples)
            return convert_ycbcr_to_rgb(pixels) if is_unseen_ycbcr and is_jfif(data) else pixels

        return decode_jpeg
    return lambda data, index: _require_samples(decode(data, index), samples)


def _make_visible_size(page: Any, segment: Size) -> Callable[[int], Size]:
    """Return the function that gives the part of a segment within the image."""
    level = TiledLevel(Size(page.imagewidth, page.imagelength), segment)
    return lambda index: level.find_visible_size(index % level.segment_count)


def _require_samples(result: tuple[Any, Any, Any], samples: int) -> Samples:
    pixels: Samples = result[0][0]
    if pixels.ndim != 3 or pixels.shape[2] != samples:
        raise DamagedSegmentError(f"a segment of shape {pixels.shape}")
    return pixels
