"""Reading TIFF and OME-TIFF: facts of one image through tifffile; pixels from only the segments that a box touches."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import ThreadTeam
from wsisr.slides.level_geometry import LevelRecord
from wsisr.slides.pixel_size import PixelSize, convert_resolution_to_mpp, derive_pixel_size
from wsisr.slides.readers.ome_xml import OmeFacts, is_safe_xml, parse_ome_facts
from wsisr.slides.readers.tiff_segments import (
    DECODING_ERRORS,
    DamagedSegmentError,
    TiffLevel,
    explain_undecodable,
    has_oversized_tiles,
    load_tiff_level,
    reshape_raw_rows,
)
from wsisr.slides.series import ImageSeries, choose_series, describe_default_choice
from wsisr.slides.slide import Level, Slide, SlideInfo, compute_downsamples, make_read_error

CACHE_BYTES = 64 * 2**20
"""Decoded segments cached per slide, as neighbouring boxes touch the same ones; of strips, more (see
`TiffLevel.segments_to_cache`)."""

GENERIC_TIFF = "generic-tiff"
"""Vendor of a TIFF that no known scanner wrote, by OpenSlide's name."""

_ICC = 34675
_HAMAMATSU_FILTER = 65434
"""NDPI's tag for the fluorescence filter: the pixels are 8-bit RGB, and nothing else tells them from brightfield."""

_MULTI_IMAGE_KINDS = ("ome", "generic", "uniform", "shaped")
"""Kinds of tifffile's series whose files may hold several slides; others are a scanner's, with a label and a macro."""

_PALETTE = 3
_RGB_PHOTOMETRICS = (2, 6)
"""Values of PhotometricInterpretation: RGB and YCbCr."""
_PROPERTY_TAGS = (
    "ImageDescription",
    "Software",
    "Make",
    "Model",
    "DateTime",
    "XResolution",
    "YResolution",
    "ResolutionUnit",
)
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# tifffile checks little of a header before it computes with it; on damaged files it has been seen to raise these.
_PARSING_ERRORS = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    AssertionError,
    SyntaxError,
    struct.error,
)

# tifffile logs every oddity of a file; without a handler Python would print them between our own lines.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class DamagedTiffError(SlideError):
    """tifffile cannot parse a TIFF; OpenSlide still may."""


@dataclass(frozen=True, slots=True)
class TiffImage:
    """One 8-bit RGB image of a TIFF."""

    info: SlideInfo
    levels: tuple[TiffLevel, ...]
    """From fine to coarse; empty where `obstacle` says why they cannot be decoded here."""
    obstacle: str | None
    page_records: tuple[LevelRecord, ...]
    """What the file records of this image's levels and of those of its other images: OpenSlide may take these for
    levels of one pyramid."""

    @property
    def is_complete(self) -> bool:
        """Whether all of its segments are stored; each vendor has its own meaning of a missing one."""
        return all(all(level.byte_counts) for level in self.levels)


class TiffSlide(Slide):
    """A slide read from a TIFF's segments: one file handle behind a lock, decoding in several threads."""

    def __init__(self, info: SlideInfo, levels: tuple[TiffLevel, ...]) -> None:
        self._info, self._levels = info, levels
        self._file = info.path.open("rb")
        self._file_bytes = info.path.stat().st_size
        self._lock = threading.Lock()
        largest = max(level.segment_bytes for level in levels)
        segments = max(1, CACHE_BYTES // largest, *(level.segments_to_cache for level in levels))
        self._decode_cached = lru_cache(maxsize=segments)(self._decode)
        self._team = ThreadTeam(min(level.max_threads for level in levels), "wsisr-decode")

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        if self._file.closed:
            raise ValueError(f"{self.info.path}: read after close")
        self.info.get_level(level)
        try:
            return self._levels[level].read_box(
                box, lambda index, place: self._read_segment_part(level, index, place), self._team
            )
        except DECODING_ERRORS as error:
            raise make_read_error(self.info.path, level, box, error) from error

    def close(self) -> None:
        self._team.close()
        self._decode_cached.cache_clear()
        self._file.close()

    def _read_segment_part(self, level: int, index: int, box: Box) -> Rgb | None:
        return self._read_rows(level, index, box)[:, box.columns] if self._levels[level].byte_counts[index] else None

    def _read_rows(self, level: int, index: int, box: Box) -> Rgb:
        """Read the rows of a segment that a box covers, over the whole width of the segment."""
        tiff_level = self._levels[level]
        if tiff_level.decode_segment is not None:
            return self._decode_cached(level, index)[box.rows]
        width = tiff_level.segment_size.width
        row_bytes = width * 3
        if box.bottom * row_bytes > tiff_level.byte_counts[index]:
            raise DamagedSegmentError("a segment that is cut off")
        first_byte = tiff_level.byte_offsets[index] + box.top * row_bytes
        return reshape_raw_rows(self._read_stored(first_byte, box.height * row_bytes), width)

    def _decode(self, level: int, index: int) -> Rgb:
        tiff_level = self._levels[level]
        assert tiff_level.decode_segment is not None
        stored = self._read_stored(tiff_level.byte_offsets[index], tiff_level.byte_counts[index])
        return tiff_level.decode_segment(stored, index)

    def _read_stored(self, offset: int, count: int) -> bytes:
        if offset + count > self._file_bytes:
            raise DamagedSegmentError(f"the file ends {offset + count - self._file_bytes} bytes too early")
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF or a BigTIFF does."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def read_tiff_image(path: Path, series: int | None = None) -> TiffImage:
    """Read facts and levels of one image of a TIFF; of several that number `series`, by default the largest.

    Raises `SlideError` where the file is damaged, or the image is not 8-bit RGB of one focal plane.
    """
    with open_tiff(path) as tiff:
        all_series = tuple(map(_make_series, tiff.series))
        chosen = choose_series(path, all_series, series)
        image = tiff.series[chosen]
        pages = [level.keyframe for level in image.levels]
        if any(has_oversized_tiles(level.keyframe) for any_image in tiff.series for level in any_image.levels):
            raise SlideError(f"{path}: its tiles are larger than any scanner's; the file is damaged, copy it again")
        obstacle = _explain_undecodable(tiff, pages)
        info = _build_info(path, tiff, image, image.keyframe)
        if len(all_series) > 1 and image.kind in _MULTI_IMAGE_KINDS:
            warnings = describe_default_choice(all_series, chosen) if series is None and tiff.is_ome else ()
            info = replace(info, all_series=all_series, series_number=chosen, warnings=warnings)
        return TiffImage(
            info=info,
            levels=() if obstacle else tuple(map(load_tiff_level, pages)),
            obstacle=obstacle,
            page_records=tuple(
                _make_level_record(level.keyframe) for any_image in (image, *tiff.series) for level in any_image.levels
            ),
        )


@contextmanager
def open_tiff(path: Path) -> Iterator[Any]:
    """Context: an open `tifffile.TiffFile`; whatever error parsing it raises inside becomes a `DamagedTiffError`."""
    try:
        # The XML of an OME-TIFF may name other files, which are none of the user's choice.
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            if not len(tiff.pages) or not is_safe_xml(tiff.pages.first.description):
                raise ValueError("no image" if not len(tiff.pages) else "its description is no plain text or XML")
            yield tiff
    except _PARSING_ERRORS as error:
        raise DamagedTiffError(f"{path}: a damaged TIFF ({describe_error(error)}); copy it again") from error


def _make_series(series: Any) -> ImageSeries:
    page = series.keyframe
    return ImageSeries(series.name, Size(page.imagewidth, page.imagelength), _explain_refusal(series))


def _explain_refusal(series: Any) -> str:
    """Return in words why a series is no brightfield image; empty where it is one."""
    page = series.keyframe
    kinds = {
        "a fluorescence image": page.parent.is_ndpi and bool(page.tags.valueof(_HAMAMATSU_FILTER)),
        "a palette image": page.photometric == _PALETTE,
        f"{page.bitspersample}-bit pixels": page.dtype != np.uint8 or page.bitspersample != 8,
        "a grayscale image (one sample per pixel, as in fluorescence)": page.samplesperpixel == 1,
        f"{page.samplesperpixel} samples per pixel": page.samplesperpixel not in (3, 4),
        "a colour space that is not RGB": page.photometric not in _RGB_PHOTOMETRICS,
        f"a stack of {series.size // page.size} images": series.size != page.size,
    }
    reasons = (kind for kind, holds in kinds.items() if holds)
    return "".join(f"holds {kind}; give a brightfield slide of 8-bit RGB" for kind in islice(reasons, 1))


def _explain_undecodable(tiff: Any, pages: list[Any]) -> str | None:
    if tiff.is_ndpi:
        # Its tiles are pieces of one JPEG, with tables and end markers elsewhere.
        return "is in Hamamatsu's NDPI format"
    return next((reason for reason in map(explain_undecodable, pages) if reason), None)


def _build_info(path: Path, tiff: Any, series: Any, page: Any) -> SlideInfo:
    sizes = [Size(level.keyframe.imagewidth, level.keyframe.imagelength) for level in series.levels]
    ome = parse_ome_facts(tiff.pages.first.description, sizes[0]) if tiff.is_ome else OmeFacts()
    pixel_size = ome.pixel_size if ome.pixel_size.mpp else _read_pixel_size_tags(page)
    return SlideInfo(
        path=path,
        reader="tifffile",
        vendor="ome" if tiff.is_ome else GENERIC_TIFF,
        levels=tuple(Level(size, factor) for size, factor in zip(sizes, compute_downsamples(sizes), strict=True)),
        mpp=pixel_size.mpp,
        pixel_aspect=pixel_size.pixel_aspect,
        objective=ome.objective,
        icc=_read_icc_profile(page),
        associated=_list_associated_sizes(tiff, series),
        properties={f"tiff.{tag}": str(page.tags.valueof(tag)) for tag in _PROPERTY_TAGS if tag in page.tags}
        | dict(ome.properties),
        level_records=tuple(_make_level_record(level.keyframe) for level in series.levels),
    )


def _make_level_record(page: Any) -> LevelRecord:
    """Return what a page records of its level; its resolution counts in whatever unit, as ratios are all it is for."""
    resolutions = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    sides = [units / pixels for pixels, units in filter(_is_ratio, resolutions) if pixels]
    return LevelRecord(
        Size(page.imagewidth, page.imagelength),
        Size(page.tilewidth, page.tilelength) if page.is_tiled else None,
        (sides[0], sides[1]) if len(sides) == 2 else None,
    )


def _is_ratio(resolution: object) -> bool:
    return isinstance(resolution, tuple) and len(resolution) == 2


def _read_pixel_size_tags(page: Any) -> PixelSize:
    unit = page.tags.valueof("ResolutionUnit")
    return derive_pixel_size(
        *(convert_resolution_to_mpp(page.tags.valueof(name), unit) for name in ("XResolution", "YResolution"))
    )


def _read_icc_profile(page: Any) -> bytes | None:
    profile = page.tags.valueof(_ICC)
    return profile if isinstance(profile, bytes) else None


def _list_associated_sizes(tiff: Any, main: Any) -> dict[str, Size]:
    others = [series for series in tiff.series if series is not main]
    return {
        series.name.lower() or f"image {number}": Size(series.keyframe.imagewidth, series.keyframe.imagelength)
        for number, series in enumerate(others, start=1)
    }
