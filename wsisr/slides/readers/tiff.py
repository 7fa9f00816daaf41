"""TIFF and OME-TIFF through tifffile: facts of one of the images; pixels from only the segments a box touches."""

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

from wsisr.errors import SlideError, in_words
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import Crew
from wsisr.slides.pixel_size import Pitch, pitch_of, pitch_of_resolution
from wsisr.slides.readers.ome_xml import OmeFacts, is_safe_xml, ome_facts
from wsisr.slides.readers.tiff_segments import (
    DECODING_ERRORS,
    DamagedSegmentError,
    Plane,
    has_monstrous_tiles,
    plane_of,
    rows_of_raw,
    why_undecodable,
)
from wsisr.slides.series import Scene, choose, said_of
from wsisr.slides.slide import Level, Slide, SlideInfo, downsamples, undecodable

CACHE_BYTES = 64 * 2**20
"""Decoded segments kept per slide: neighbouring boxes touch the same ones. Of strips, more (see `Plane.kept`)."""

GENERIC = "generic-tiff"
"""Vendor of a TIFF that no known scanner wrote; OpenSlide's word."""

_ICC = 34675
_HAMAMATSU_FILTER = 65434
"""NDPI names the fluorescence filter here. Its pixels are 8-bit RGB: nothing else tells them from brightfield."""

_KINDS = ("ome", "generic", "uniform", "shaped")
"""Of tifffile's series: what is no scanner's file, whose other images are label and macro, may hold several slides."""

_PALETTE = 3
_COLOURS = (2, 6)
"""PhotometricInterpretation: RGB, YCbCr."""
_WORDS = ("ImageDescription", "Software", "Make", "Model", "DateTime", "XResolution", "YResolution", "ResolutionUnit")
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
    """tifffile cannot make sense of a TIFF; OpenSlide still might."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a TIFF, 8-bit RGB."""

    info: SlideInfo
    planes: tuple[Plane, ...]
    """One for each level; none where `undecodable` says why."""
    undecodable: str | None

    @property
    def is_whole(self) -> bool:
        """Whether all of its segments are stored: what stands for a missing one is up to the vendor."""
        return all(all(plane.counts) for plane in self.planes)


class TiffSlide(Slide):
    """Pixels of planes. One file handle behind a lock; decoding runs in the threads that ask for it, and in others."""

    def __init__(self, info: SlideInfo, planes: tuple[Plane, ...]) -> None:
        self._info, self._planes = info, planes
        self._file = info.path.open("rb")
        self._bytes = info.path.stat().st_size
        self._lock = threading.Lock()
        largest = max(plane.segment_bytes for plane in planes)
        kept = max(1, CACHE_BYTES // largest, *(plane.kept for plane in planes))
        self._decoded = lru_cache(maxsize=kept)(self._decode)
        self._crew = Crew(min(plane.threads for plane in planes), "wsisr-decode")

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        if self._file.closed:
            raise ValueError(f"{self.info.path}: read after close")
        self.info.level(level)
        try:
            return self._planes[level].read(box, lambda index, place: self._part(level, index, place), self._crew)
        except DECODING_ERRORS as error:
            raise undecodable(self.info.path, level, box, error) from error

    def close(self) -> None:
        self._crew.close()
        self._decoded.cache_clear()
        self._file.close()

    def _part(self, level: int, index: int, box: Box) -> Rgb | None:
        return self._rows(level, index, box)[:, box.columns] if self._planes[level].counts[index] else None

    def _rows(self, level: int, index: int, box: Box) -> Rgb:
        """The rows of a segment that a box covers, over the whole width of the segment."""
        plane = self._planes[level]
        if plane.decode is not None:
            return self._decoded(level, index)[box.rows]
        row = plane.segment.width * 3
        if box.bottom * row > plane.counts[index]:
            raise DamagedSegmentError("a segment that is cut off")
        return rows_of_raw(self._stored(plane.offsets[index] + box.top * row, box.height * row), plane.segment.width)

    def _decode(self, level: int, index: int) -> Rgb:
        plane = self._planes[level]
        assert plane.decode is not None
        return plane.decode(self._stored(plane.offsets[index], plane.counts[index]), index)

    def _stored(self, offset: int, count: int) -> bytes:
        if offset + count > self._bytes:
            raise DamagedSegmentError(f"the file ends {offset + count - self._bytes} bytes too early")
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)


def is_tiff(path: Path) -> bool:
    """Whether a file starts as a TIFF or a BigTIFF does."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def read_picture(path: Path, series: int | None = None) -> Picture:
    """Facts and planes of one image of a TIFF; of several the largest, unless another is asked for.

    Raises `SlideError` where the file is damaged, or the image is not 8-bit RGB of one focal plane.
    """
    with opened_tiff(path) as tiff:
        scenes = tuple(map(_scene, tiff.series))
        chosen = choose(path, scenes, series)
        image = tiff.series[chosen]
        planes = [level.keyframe for level in image.levels]
        if any(has_monstrous_tiles(level.keyframe) for series in tiff.series for level in series.levels):
            raise SlideError(f"{path}: its tiles are larger than any scanner's; the file is damaged, copy it again")
        reason = _why_undecodable(tiff, planes)
        info = _info(path, tiff, image, image.keyframe)
        if len(scenes) > 1 and image.kind in _KINDS:
            remarks = said_of(scenes, chosen) if series is None and tiff.is_ome else ()
            info = replace(info, scenes=scenes, series=chosen, remarks=remarks)
        return Picture(
            info=info,
            planes=() if reason else tuple(map(plane_of, planes)),
            undecodable=reason,
        )


@contextmanager
def opened_tiff(path: Path) -> Iterator[Any]:
    """A `tifffile.TiffFile` that has been made safe to look into; what it stumbles over becomes a `SlideError`."""
    try:
        # The XML of an OME-TIFF may name other files: they are not what the person asked for.
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            if not len(tiff.pages) or not is_safe_xml(tiff.pages.first.description):
                raise ValueError("no image" if not len(tiff.pages) else "its description is no plain text or XML")
            yield tiff
    except _PARSING_ERRORS as error:
        raise DamagedTiffError(f"{path}: a damaged TIFF ({in_words(error)}); copy it again") from error


def _scene(series: Any) -> Scene:
    page = series.keyframe
    return Scene(series.name, Size(page.imagewidth, page.imagelength), _refusal(series))


def _refusal(series: Any) -> str:
    """Why it is no brightfield image; empty where it is one."""
    page = series.keyframe
    kinds = {
        "a fluorescence image": page.parent.is_ndpi and bool(page.tags.valueof(_HAMAMATSU_FILTER)),
        "a palette image": page.photometric == _PALETTE,
        f"{page.bitspersample}-bit pixels": page.dtype != np.uint8 or page.bitspersample != 8,
        "a grayscale image (one sample per pixel, as in fluorescence)": page.samplesperpixel == 1,
        f"{page.samplesperpixel} samples per pixel": page.samplesperpixel not in (3, 4),
        "a colour space that is not RGB": page.photometric not in _COLOURS,
        f"a stack of {series.size // page.size} images": series.size != page.size,
    }
    reasons = (kind for kind, holds in kinds.items() if holds)
    return "".join(f"holds {kind}; give a brightfield slide of 8-bit RGB" for kind in islice(reasons, 1))


def _why_undecodable(tiff: Any, planes: list[Any]) -> str | None:
    if tiff.is_ndpi:
        # Its tiles are pieces of one JPEG, with tables and end markers elsewhere.
        return "is in Hamamatsu's NDPI format"
    return next((reason for reason in map(why_undecodable, planes) if reason), None)


def _info(path: Path, tiff: Any, series: Any, page: Any) -> SlideInfo:
    sizes = [Size(level.keyframe.imagewidth, level.keyframe.imagelength) for level in series.levels]
    ome = ome_facts(tiff.pages.first.description, sizes[0]) if tiff.is_ome else OmeFacts()
    pitch = ome.pitch if ome.pitch.mpp else _pitch_of_tags(page)
    return SlideInfo(
        path=path,
        reader="tifffile",
        vendor="ome" if tiff.is_ome else GENERIC,
        levels=tuple(Level(size, factor) for size, factor in zip(sizes, downsamples(sizes), strict=True)),
        mpp=pitch.mpp,
        finer=pitch.finer,
        objective=ome.objective,
        icc=_icc(page),
        associated=_associated(tiff, series),
        properties={f"tiff.{word}": str(page.tags.valueof(word)) for word in _WORDS if word in page.tags}
        | dict(ome.properties),
    )


def _pitch_of_tags(page: Any) -> Pitch:
    unit = page.tags.valueof("ResolutionUnit")
    return pitch_of(*(pitch_of_resolution(page.tags.valueof(name), unit) for name in ("XResolution", "YResolution")))


def _icc(page: Any) -> bytes | None:
    profile = page.tags.valueof(_ICC)
    return profile if isinstance(profile, bytes) else None


def _associated(tiff: Any, main: Any) -> dict[str, Size]:
    others = [series for series in tiff.series if series is not main]
    return {
        series.name.lower() or f"image {number}": Size(series.keyframe.imagewidth, series.keyframe.imagelength)
        for number, series in enumerate(others, start=1)
    }
