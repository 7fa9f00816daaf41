"""Slides through OpenSlide: facts of what it recognises, and pixels composited over white."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide

from wsisr.errors import SlideError, in_words
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.pixel_size import number, pitch_of
from wsisr.slides.series import Scene, choose
from wsisr.slides.slide import Level, Slide, SlideInfo, on_white, undecodable


class OpenSlideSlide(Slide):
    """Pixels as OpenSlide paints them. One handle serves all threads.

    Where a level's downsample is not whole, OpenSlide places boxes between its pixels (its locations are whole pixels
    of level 0) and interpolates: what is read is shifted by up to half a level-0 pixel. Whole downsamples are exact.
    """

    def __init__(self, info: SlideInfo) -> None:
        self._info = info
        self._handle: openslide.OpenSlide | None = _opened(info.path)
        self._lock = threading.Lock()
        self._closed = False

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        return on_white(box, self.info.level(level).size, lambda inside: self._pixels(inside, level))

    def close(self) -> None:
        with self._lock:
            handle, self._handle, self._closed = self._handle, None, True
        if handle is not None:
            handle.close()

    def _pixels(self, box: Box, level: int) -> Rgb:
        """A box within the level.

        An OpenSlide handle stays dead after its first error, in every thread that uses it: it is replaced, and the box
        is tried once more on a handle of its own, so that only who asks for damaged pixels gets the error.
        """
        handle = self._living()
        try:
            return self._painted(handle, box, level)
        except openslide.OpenSlideError:
            self._discard(handle)
        own = _opened(self.info.path)  # what has gone away is another matter than what is damaged
        try:
            with own:
                return self._painted(own, box, level)
        except openslide.OpenSlideError as error:
            raise undecodable(self.info.path, level, box, error) from error

    def _painted(self, handle: openslide.OpenSlide, box: Box, level: int) -> Rgb:
        factor = self.info.levels[level].downsample
        location = round(box.left * factor), round(box.top * factor)
        return over_white(np.asarray(handle.read_region(location, level, (box.width, box.height))))

    def _living(self) -> openslide.OpenSlide:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.info.path}: read after close")
            if self._handle is None:
                self._handle = _opened(self.info.path)
            return self._handle

    def _discard(self, dead: openslide.OpenSlide) -> None:
        """Let go of a handle without closing it: other threads may be in it; it closes when the last has left."""
        with self._lock:
            if self._handle is dead:
                self._handle = None


def vendor_in_openslide(path: Path) -> str | None:
    """None for what OpenSlide does not know."""
    vendor: str | None = openslide.OpenSlide.detect_format(path)
    return vendor


def openslide_info(path: Path, series: int | None = None) -> SlideInfo | None:
    """Facts of a slide; None where OpenSlide does not know the format.

    Where several regions of the glass were scanned, `series` is the number of the one that counts as scanned; by
    default all do. Raises `SlideError` where it knows the format and refuses the file.
    """
    if vendor_in_openslide(path) is None:
        return None
    with _opened(path) as handle:
        try:
            return _info(path, handle, series)
        except (KeyError, openslide.OpenSlideError) as error:  # a property that is named and cannot be had
            raise _refused(path, error) from error


def over_white(rgba: npt.NDArray[np.uint8]) -> Rgb:
    """(h, w, 4) sRGB with straight alpha to (h, w, 3): what is transparent becomes white."""
    alpha = rgba[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    weight = alpha.astype(np.uint16)
    return ((rgba[..., :3] * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def _opened(path: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> SlideError:
    reason = in_words(error).replace(f"Reading {path}: ", "").replace(f" {path}", "")
    return SlideError(f"{path}: OpenSlide refuses it ({reason}); give a whole slide of 8-bit RGB")


def _info(path: Path, handle: openslide.OpenSlide, series: int | None) -> SlideInfo:
    properties = dict(handle.properties)
    canvas = Size(*handle.dimensions)
    regions = list(_regions(properties, canvas))
    scenes = tuple(Scene(f"region {number}", box.size) for number, box in enumerate(regions))
    chosen = None if series is None or len(regions) < 2 else choose(path, scenes, series)
    sizes = zip(handle.level_dimensions, handle.level_downsamples, strict=True)
    pitch = pitch_of(*(number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy"))
    return SlideInfo(
        path=path,
        reader="openslide",
        vendor=properties.get("openslide.vendor", "unknown"),
        levels=tuple(Level(Size(*size), factor) for size, factor in sizes),
        mpp=pitch.mpp,
        finer=pitch.finer,
        objective=number(properties.get("openslide.objective-power")),
        icc=_icc(handle),
        associated=_associated(properties),
        properties=properties,
        bounds=_bounds(properties, canvas) if chosen is None else regions[chosen],
        scenes=scenes if len(scenes) > 1 else (),
        series=chosen,
    )


def _regions(properties: dict[str, str], canvas: Size) -> Iterator[Box]:
    """What was scanned, piece by piece, as far as the format tells."""
    for index in count():
        sides = [number(properties.get(f"openslide.region[{index}].{side}")) for side in ("x", "y", "width", "height")]
        left, top, width, height = (int(value) if value is not None else 0 for value in sides)
        region = Box(left, top, left + width, top + height).intersection(Box.of(canvas))
        if not region.size.pixels:
            return
        yield region


def _bounds(properties: dict[str, str], size: Size) -> Box | None:
    """None where they are not recorded, lie outside, or say nothing."""
    found = [number(properties.get(f"openslide.bounds-{side}")) for side in ("x", "y", "width", "height")]
    left, top, width, height = (int(value) if value is not None else 0 for value in found)
    inside = Box(left, top, left + width, top + height).intersection(Box.of(size))
    return inside if inside.size.pixels and inside != Box.of(size) else None


def _icc(handle: openslide.OpenSlide) -> bytes | None:
    """The profile as stored; `color_profile` would parse it, and raise where it is damaged."""
    profile: bytes | None = handle.read_region((0, 0), 0, (0, 0)).info.get("icc_profile")
    return profile


def _associated(properties: dict[str, str]) -> dict[str, Size]:
    """From the properties: `associated_images` would decode the label to tell its size."""
    prefix, suffix = "openslide.associated.", ".width"
    names = [key[len(prefix) : -len(suffix)] for key in properties if key.startswith(prefix) and key.endswith(suffix)]
    return {name: Size(*(int(properties[f"{prefix}{name}.{side}"]) for side in ("width", "height"))) for name in names}
