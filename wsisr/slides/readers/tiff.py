"""Reading TIFF and OME-TIFF: facts of one image through tifffile; pixels from only the segments that a box touches."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.remote.ranges import open_ranges
from wsisr.slides.level_geometry import LevelRecord
from wsisr.slides.pixel_size import PixelSize, check_unit, convert_resolution_to_mpp, derive_pixel_size
from wsisr.slides.readers.image_codecs import DamagedSegmentError
from wsisr.slides.readers.ome_xml import OmeFacts, describe_excess
from wsisr.slides.readers.tiff_contradictions import Contradiction, find_contradiction
from wsisr.slides.readers.tiff_description import parse_description
from wsisr.slides.readers.tiff_segments import (
    DECODING_ERRORS,
    Samples,
    TiffLevel,
    contradicts_in_colour,
    explain_undecodable,
    has_oversized_tiles,
    is_read_by_openslide,
    load_tiff_level,
    reshape_raw_rows,
)
from wsisr.slides.readers.tiff_series import TiffSeries, list_tiff_series, read_ome_facts
from wsisr.slides.readers.tiff_structure import DamagedTiffError, refuse_excessive_structure
from wsisr.slides.readers.tiled_slide import TiledSlide
from wsisr.slides.series import ImageSeries, choose_series, describe_default_choice
from wsisr.slides.slide import Level, SlideInfo, compute_downsamples, make_read_error

GENERIC_TIFF = "generic-tiff"
"""Vendor of a TIFF that no known scanner wrote, by OpenSlide's name."""

_ICC = 34675
_MULTI_IMAGE_KINDS = ("ome", "generic", "uniform", "shaped")
"""Kinds of tifffile's series whose files may hold several slides; others are a scanner's, with a label and a macro."""

ORIENTATION_PROPERTY = "tiff.Orientation"
"""Property for how the stored picture is to be turned, a number from 1 to 8."""

_PROPERTY_TAGS = {
    "ImageDescription": 270,
    "Software": 305,
    "Make": 271,
    "Model": 272,
    "DateTime": 306,
    "XResolution": 282,
    "YResolution": 283,
    "ResolutionUnit": 296,
    "Orientation": 274,
}
"""Names of tags that are kept to their numbers: by name, tifffile looks through all tags of a page."""

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
    contradiction: Contradiction | None
    """How a level's header and its table of segments contradict each other."""
    empty_segments: str
    """How many of its tiles or strips are not stored, in words; empty where all are."""
    has_other_colours: bool
    """Whether its JPEG tiles have colours other than the header says; OpenSlide shows those of the header."""
    is_common: bool
    """Whether its codec and its planes are such that OpenSlide can decode them too."""

    @property
    def is_complete(self) -> bool:
        """Whether all of its segments are stored; each vendor has its own meaning of a missing one."""
        return all(all(level.byte_counts) for level in self.levels)


class TiffSlide(TiledSlide[TiffLevel]):
    """A slide read from a TIFF's segments."""

    decoding_errors = DECODING_ERRORS

    def __init__(self, info: SlideInfo, levels: tuple[TiffLevel, ...]) -> None:
        self._ranges = open_ranges(info.path)
        super().__init__(info, levels, max(1, *(level.segments_to_cache for level in levels)))

    def get_jpeg_tile_size(self, level: int) -> Size | None:
        self.info.get_level(level)
        jpeg_tiles = self._levels[level].jpeg_tiles
        return None if jpeg_tiles is None else jpeg_tiles.tile

    def read_jpeg_tile(self, level: int, column: int, row: int) -> bytes | None:
        self._require_open()
        self.info.get_level(level)
        tiff_level, index = self._levels[level], row * self._levels[level].segments_per_row + column
        if tiff_level.jpeg_tiles is None or not tiff_level.byte_counts[index]:
            return None
        try:
            stored = self._read_stored(tiff_level.byte_offsets[index], tiff_level.byte_counts[index])
        except DECODING_ERRORS as error:
            box = Box.from_size(tiff_level.segment_size)
            raise make_read_error(
                self.info.path, level, box.translate(column * box.width, row * box.height), error
            ) from error
        return tiff_level.jpeg_tiles.complete_jpeg(stored)

    def close(self) -> None:
        super().close()
        self._ranges.close()

    def _read_segment_part(self, level: int, index: int, box: Box) -> Rgb | None:
        tiff_level = self._levels[level]
        planes = tiff_level.list_planes(index)
        if not all(tiff_level.byte_counts[plane] for plane in planes):
            return None
        parts = [self._read_rows(level, plane, box)[:, box.columns] for plane in planes]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _read_rows(self, level: int, index: int, box: Box) -> Samples:
        """Read the rows of a stored segment that a box covers, over the whole width of the segment."""
        tiff_level = self._levels[level]
        if tiff_level.decode_segment is not None:
            return self._decode_cached(level, index)[box.rows]
        width, samples = tiff_level.segment_size.width, 3 // tiff_level.plane_count
        row_bytes = width * samples
        if box.bottom * row_bytes > tiff_level.byte_counts[index]:
            raise DamagedSegmentError("a segment that is cut off")
        first_byte = tiff_level.byte_offsets[index] + box.top * row_bytes
        return reshape_raw_rows(self._read_stored(first_byte, box.height * row_bytes), width, samples)

    def _decode(self, level: int, index: int) -> Samples:
        tiff_level = self._levels[level]
        assert tiff_level.decode_segment is not None
        stored = self._read_stored(tiff_level.byte_offsets[index], tiff_level.byte_counts[index])
        return tiff_level.decode_segment(stored, index)

    def _read_stored(self, offset: int, count: int) -> bytes:
        missing_bytes = offset + count - self._ranges.file_bytes
        if missing_bytes > 0:
            raise DamagedSegmentError(f"the file ends {missing_bytes} bytes too early")
        return self._ranges.read_range(offset, count)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF or a BigTIFF does."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def read_tiff_image(path: Path, series: int | None = None) -> TiffImage:
    """Read facts and levels of one image of a TIFF; of several that number `series`, by default the largest.

    Raises `SlideError` where the file is damaged, or the image is not 8-bit RGB of one focal plane.
    """
    with open_tiff(path) as tiff:
        images = list_tiff_series(path, tiff)
        all_series = tuple(ImageSeries(image.name, image.size, image.refusal) for image in images)
        chosen = choose_series(path, all_series, series)
        image = images[chosen]
        if any(has_oversized_tiles(pages[0]) for any_image in images for pages in any_image.levels):
            raise SlideError(f"{path}: its tiles are larger than any scanner's; the file is damaged, copy it again")
        obstacle = _explain_undecodable(tiff, image)
        info = _build_info(path, tiff, image, [other for other in images if other is not image])
        if len(all_series) > 1 and image.kind in _MULTI_IMAGE_KINDS:
            warnings = describe_default_choice(all_series, chosen) if series is None and tiff.is_ome else ()
            info = replace(info, all_series=all_series, series_number=chosen, warnings=(*warnings, *info.warnings))
        if not any(count for page in image.levels[0] for count in page.databytecounts):
            raise SlideError(
                f"{path}: none of its picture is stored, a program stopped while writing it; copy it again"
            )
        pages = [page for group in image.levels for page in group]
        contradictions = filter(None, map(find_contradiction, pages))
        return TiffImage(
            info=info,
            levels=() if obstacle else tuple(map(load_tiff_level, image.levels)),
            obstacle=obstacle,
            page_records=tuple(
                _make_level_record(group[0]) for any_image in (image, *images) for group in any_image.levels
            ),
            contradiction=next(contradictions, None),
            empty_segments=_describe_empty_segments(pages),
            has_other_colours=contradicts_in_colour(image.page),
            is_common=all(map(is_read_by_openslide, image.levels)),
        )


class _SlideTiff(tifffile.TiffFile):  # type: ignore[misc] # final, and no other way turns kinds off
    """A TIFF without the kinds that are no slides: tifffile looks for their other files, and believes their counts."""

    is_lsm = is_mmstack = is_ndtiff = is_fluoview = is_stk = is_sis = is_avs = is_eer = is_scanimage = is_nih = False
    is_mdgel = False


@contextmanager
def open_tiff(path: Path) -> Iterator[Any]:
    """Context: an open `tifffile.TiffFile`; whatever error parsing it raises inside becomes a `DamagedTiffError`.

    The same is raised where it claims more than any slide has.
    """
    refuse_excessive_structure(path)
    try:
        # The XML of an OME-TIFF may name other files, which are none of the user's choice.
        with path.open("rb") as file, _SlideTiff(file, _multifile=False) as tiff:
            if not len(tiff.pages):
                raise ValueError("no image")
            excess = describe_excess(tiff.pages.first.description)
            if excess:
                raise DamagedTiffError(f"{path}: its description {excess}; give a slide as its scanner wrote it")
            yield tiff
    except _PARSING_ERRORS as error:
        raise DamagedTiffError(f"{path}: a damaged TIFF ({describe_error(error)}); copy it again") from error


def _describe_empty_segments(pages: Sequence[Any]) -> str:
    counts = [count for page in pages for count in page.databytecounts]
    empty = counts.count(0)
    kind = "tiles" if pages[0].is_tiled else "strips"
    return f"{empty} of {len(counts)} {kind} of this TIFF have no bytes, and are shown white" if empty else ""


def _explain_undecodable(tiff: Any, image: TiffSeries) -> str | None:
    if tiff.is_ndpi:
        # Its tiles are pieces of one JPEG, with tables and end markers elsewhere.
        return "is in Hamamatsu's NDPI format"
    return next((reason for reason in map(explain_undecodable, image.levels) if reason), None)


def _build_info(path: Path, tiff: Any, image: TiffSeries, others: Sequence[TiffSeries]) -> SlideInfo:
    page, sizes = image.page, [Size(pages[0].imagewidth, pages[0].imagelength) for pages in image.levels]
    ome = read_ome_facts(path, tiff, page) if tiff.is_ome else OmeFacts()
    words = parse_description(tiff.pages.first.description)
    recorded = (ome.pixel_size, _read_pixel_size_tags(page), words.read_pixel_size(page))
    pixel_size = next((size for size in recorded if size.mpp), PixelSize())
    return SlideInfo(
        path=path,
        reader="tifffile",
        vendor="ome" if tiff.is_ome else GENERIC_TIFF,
        levels=tuple(Level(size, factor) for size, factor in zip(sizes, compute_downsamples(sizes), strict=True)),
        mpp=pixel_size.mpp,
        pixel_aspect=pixel_size.pixel_aspect,
        objective=ome.objective or words.objective,
        icc=_read_icc_profile(page),
        associated={other.name.lower() or f"image {number}": other.size for number, other in enumerate(others, 1)},
        properties={
            f"tiff.{name}": str(page.tags.valueof(tag)) for name, tag in _PROPERTY_TAGS.items() if tag in page.tags
        }
        | dict(ome.properties),
        warnings=() if pixel_size.mpp else tuple(check_unit(ome.unknown_unit or words.unknown_unit)),
        level_records=tuple(_make_level_record(pages[0]) for pages in image.levels),
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
