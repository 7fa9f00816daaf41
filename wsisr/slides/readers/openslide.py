"""Reading through OpenSlide: facts of the formats that it recognises, and pixels composited over white."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.remote.path import is_url
from wsisr.slides.header_copy import provide_header
from wsisr.slides.pixel_size import derive_pixel_size, parse_number
from wsisr.slides.readers.mirax_index import refuse_unbounded_mirax
from wsisr.slides.series import ImageSeries, choose_series
from wsisr.slides.slide import Level, Slide, SlideInfo, make_read_error, read_on_white


class OpenSlideSlide(Slide):
    """A slide read through OpenSlide. One handle serves all threads.

    OpenSlide takes the location of a box in whole pixels of level 0. Where a level's downsample is not whole, a box can
    so begin between its pixels; OpenSlide then interpolates, and the result is shifted by up to half a level-0 pixel.
    Levels with whole downsamples are exact.
    """

    def __init__(self, info: SlideInfo) -> None:
        self._info = info
        self._handle: openslide.OpenSlide | None = _open_handle(info.path)
        self._lock = threading.Lock()
        self._closed = False

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        return read_on_white(box, self.info.get_level(level).size, lambda inside: self._read_region(inside, level))

    def close(self) -> None:
        with self._lock:
            handle, self._handle, self._closed = self._handle, None, True
        if handle is not None:
            handle.close()

    def _read_region(self, box: Box, level: int) -> Rgb:
        """Read a box within the level.

        After its first error an OpenSlide handle fails for ever, in every thread that uses it. So it is replaced, and
        the box is tried once more on a handle of its own: only the caller that reads damaged pixels gets the error.
        """
        handle = self._get_working_handle()
        try:
            return self._read_from_handle(handle, box, level)
        except openslide.OpenSlideError:
            self._discard_handle(handle)
        own_handle = _open_handle(self.info.path)  # outside `try`: a file that is gone now is not a damaged one
        try:
            with own_handle:
                return self._read_from_handle(own_handle, box, level)
        except openslide.OpenSlideError as error:
            raise make_read_error(self.info.path, level, box, error) from error

    def _read_from_handle(self, handle: openslide.OpenSlide, box: Box, level: int) -> Rgb:
        factor = self.info.levels[level].downsample
        location = round(box.left * factor), round(box.top * factor)
        return composite_over_white(np.asarray(handle.read_region(location, level, (box.width, box.height))))

    def _get_working_handle(self) -> openslide.OpenSlide:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.info.path}: read after close")
            if self._handle is None:
                self._handle = _open_handle(self.info.path)
            return self._handle

    def _discard_handle(self, dead: openslide.OpenSlide) -> None:
        """Drop a handle without closing it, as other threads may use it: it closes when the last reference is gone."""
        with self._lock:
            if self._handle is dead:
                self._handle = None


def detect_vendor(path: Path) -> str | None:
    """Return OpenSlide's name for the format of a file; None for a format that it does not recognise."""
    with provide_header(path) as header:
        vendor: str | None = openslide.OpenSlide.detect_format(header)
        return vendor


def read_openslide_info(path: Path, series: int | None = None) -> SlideInfo | None:
    """Read the facts of a slide; None where OpenSlide does not recognise the format.

    Where several regions of the glass were scanned, `series` is the number of the one that counts as scanned; by
    default all do. Raises `SlideError` where OpenSlide recognises the format and refuses the file.
    """
    vendor = detect_vendor(path)
    if vendor is None:
        return None
    if vendor == "dicom":
        # What TIFF does not need is imported where it is used: all readers together take a tenth of a second.
        from wsisr.slides.readers.dicom import complete_dicom_facts, refuse_excessive_tiles  # noqa: PLC0415

        refuse_excessive_tiles(path)
        return complete_dicom_facts(_read_info(path, series))
    if vendor == "mirax":
        refuse_unbounded_mirax(path)
    return _read_info(path, series)


def _read_info(path: Path, series: int | None) -> SlideInfo:
    """Return the facts that OpenSlide finds. Raises `SlideError` where it refuses the file."""
    with provide_header(path) as header, _open_handle(header, path) as handle:
        try:
            info = _build_info(path, handle, series)
            return replace(info, properties=_drop_pixel_digest(info.properties)) if is_url(path) else info
        except (KeyError, openslide.OpenSlideError) as error:  # a property that is listed but cannot be read
            raise _make_refusal_error(path, error) from error


def composite_over_white(rgba: npt.NDArray[np.uint8]) -> Rgb:
    """Composite (h, w, 4) sRGB with straight alpha over white, to (h, w, 3)."""
    alpha = rgba[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    weight = alpha.astype(np.uint16)
    return ((rgba[..., :3] * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def _open_handle(path: Path, named: Path | None = None) -> openslide.OpenSlide:
    """Open a file; `named` is the slide of which it holds the directories, for errors."""
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise _make_refusal_error(named or path, error) from error


def _drop_pixel_digest(properties: Mapping[str, str]) -> dict[str, str]:
    """Return properties without OpenSlide's digest of the lowest level, which a copy of the directories lacks."""
    return {name: text for name, text in properties.items() if name != "openslide.quickhash-1"}


def _make_refusal_error(path: Path, error: Exception) -> SlideError:
    reason = describe_error(error).replace(f"Reading {path}: ", "").replace(f" {path}", "")
    return SlideError(f"{path}: OpenSlide refuses it ({reason}); copy it again, or give a whole slide of 8-bit RGB")


def _build_info(path: Path, handle: openslide.OpenSlide, series: int | None) -> SlideInfo:
    properties = dict(handle.properties)
    canvas = Size(*handle.dimensions)
    regions = list(_find_scanned_regions(properties, canvas))
    all_series = tuple(ImageSeries(f"region {number}", box.size) for number, box in enumerate(regions))
    chosen = None if series is None or len(regions) < 2 else choose_series(path, all_series, series)
    sizes = zip(handle.level_dimensions, handle.level_downsamples, strict=True)
    pixel_size = derive_pixel_size(*(parse_number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy"))
    return SlideInfo(
        path=path,
        reader="openslide",
        vendor=properties.get("openslide.vendor", "unknown"),
        levels=tuple(Level(Size(*size), factor) for size, factor in sizes),
        mpp=pixel_size.mpp,
        pixel_aspect=pixel_size.pixel_aspect,
        objective=parse_number(properties.get("openslide.objective-power")),
        icc=_read_icc_profile(handle),
        associated=_parse_associated_sizes(properties),
        properties=properties,
        bounds=_parse_bounds(properties, canvas) if chosen is None else regions[chosen],
        all_series=all_series if len(all_series) > 1 else (),
        series_number=chosen,
    )


def _find_scanned_regions(properties: dict[str, str], canvas: Size) -> Iterator[Box]:
    """Yield the regions of the glass that were scanned, as far as the format records them."""
    for index in count():
        sides = [
            parse_number(properties.get(f"openslide.region[{index}].{side}")) for side in ("x", "y", "width", "height")
        ]
        left, top, width, height = (int(value) if value is not None else 0 for value in sides)
        region = Box(left, top, left + width, top + height).intersection(Box.from_size(canvas))
        if not region.size.pixel_count:
            return
        yield region


def _parse_bounds(properties: dict[str, str], size: Size) -> Box | None:
    """Parse the bounds of the scanned area; None where they are not recorded, lie outside, or are the whole canvas."""
    sides = [parse_number(properties.get(f"openslide.bounds-{side}")) for side in ("x", "y", "width", "height")]
    left, top, width, height = (int(value) if value is not None else 0 for value in sides)
    inside = Box(left, top, left + width, top + height).intersection(Box.from_size(size))
    return inside if inside.size.pixel_count and inside != Box.from_size(size) else None


def _read_icc_profile(handle: openslide.OpenSlide) -> bytes | None:
    """Read the ICC profile as stored; `color_profile` would parse it, and raise where it is damaged."""
    profile: bytes | None = handle.read_region((0, 0), 0, (0, 0)).info.get("icc_profile")
    return profile


def _parse_associated_sizes(properties: dict[str, str]) -> dict[str, Size]:
    """Read the sizes of associated images from the properties; `associated_images` would decode the images for it."""
    prefix, suffix = "openslide.associated.", ".width"
    names = [key[len(prefix) : -len(suffix)] for key in properties if key.startswith(prefix) and key.endswith(suffix)]
    return {name: Size(*(int(properties[f"{prefix}{name}.{side}"]) for side in ("width", "height"))) for name in names}
