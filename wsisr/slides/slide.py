"""The `Slide` protocol: facts, levels and boxes of pixels. One adapter per library implements it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from wsisr.errors import SlideError, describe_error, describe_shortage
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.remote.path import is_url
from wsisr.slides.level_geometry import LevelRecord
from wsisr.slides.series import ImageSeries
from wsisr.slides.unreadable import UnreadableRegion


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide; level 0 is the finest."""

    size: Size
    downsample: float
    """Level-0 pixels per pixel of this level, mean of both axes."""


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """Facts of a slide, from its metadata and from what the user gave."""

    path: Path
    reader: str
    """Library that reads the pixels: `openslide`, `tifffile`, `imagecodecs` for OME-Zarr, CZI and VSI, `pillow` for
    PNG and JPEG, `numpy` for an array."""
    vendor: str
    """Format, by OpenSlide's names; `ome` for OME-TIFF, `ome-zarr`, `generic-tiff` for a TIFF of no known scanner, and
    `png`, `jpeg` and `array`."""
    levels: tuple[Level, ...]
    mpp: float | None
    """Pixel size of level 0 in um/px; None where the file records none, or an implausible one (see `pixel_size`)."""
    objective: float | None
    """Magnification of the objective lens as recorded, or the one that a given pixel size stands for (see
    `correct_objective`)."""
    icc: bytes | None = field(repr=False)
    """ICC profile of level 0."""
    associated: Mapping[str, Size]
    """Sizes of the label, macro and thumbnail images, by name."""
    properties: Mapping[str, str] = field(repr=False)
    """All other metadata, under the reader's own names."""
    bounds: Box | None = None
    """The scanned area in level-0 px, where the canvas is larger than that."""
    pixel_aspect: tuple[float, float] = (1.0, 1.0)
    """Stored pixels per `mpp` um along x and along y: (1, 1) for square pixels, above 1 on the finer axis of others."""
    mpp_origin: str = "recorded"
    """Where `mpp` comes from, in words: recorded, given by the user, or estimated from the objective."""
    colour_handling: str = "as stored"
    """How the stored colours were converted, in words."""
    warnings: tuple[str, ...] = ()
    """Doubts that a user of the result must know, such as an estimated or an unlikely pixel size."""
    all_series: tuple[ImageSeries, ...] = ()
    """The images of a file that holds several; empty where it holds one."""
    series_number: int | None = None
    """Number of the image that is read; None for the only one, or for all of them on one canvas."""
    level_records: tuple[LevelRecord, ...] = field(default=(), repr=False)
    """What the file records of each level, as a reader gives it; empty where the reader's levels are right, or made so
    (see `align_levels`)."""

    @property
    def size(self) -> Size:
        return self.levels[0].size

    def get_level(self, number: int) -> Level:
        """Return a level by its number from 0. Raises `SlideError` if the slide has no level of that number."""
        if not 0 <= number < len(self.levels):
            choice = "level 0, the only one" if len(self.levels) == 1 else f"0 to {len(self.levels) - 1}"
            raise SlideError(f"{self.path}: there is no level {number}; choose {choice}")
        return self.levels[number]

    def find_coarsest_level(self, is_fine_enough: Callable[[Level], bool]) -> int:
        """Return the number of the coarsest level that is fine enough; 0 where none is."""
        return max((number for number, level in enumerate(self.levels) if is_fine_enough(level)), default=0)

    def level_mpp(self, level: int) -> float | None:
        """Return the pixel size of a level in um/px; None where that of level 0 is not known."""
        return None if self.mpp is None else self.mpp * self.levels[level].downsample


class UndecodableError(SlideError):
    """Some pixels of a slide cannot be decoded because the stored data are damaged."""


class Slide(Protocol):
    """An open slide. Reading is thread-safe."""

    @property
    def info(self) -> SlideInfo: ...

    @property
    def unreadable_regions(self) -> Sequence[UnreadableRegion]:
        """Regions that could not be decoded and were painted in one grey instead; grows as boxes are read."""
        return ()

    def read(self, box: Box, level: int) -> Rgb:
        """Read a box, in the pixels of that level, as (h, w, 3) sRGB. Pixels outside the slide are white.

        Memory: the pixels of the box, besides a cache of fixed size.
        Raises `SlideError` naming path, level and box where the file cannot be read or decoded, and where the slide
        has no such level.
        """
        ...

    def get_jpeg_tile_size(self, level: int) -> Size | None:  # noqa: ARG002 - a default for readers without
        """Return the size of the JPEG tiles that a level is stored in; None where its pixels are not theirs."""
        return None

    def read_jpeg_tile(self, level: int, column: int, row: int) -> bytes | None:  # noqa: ARG002 - as above
        """Return a stored tile, undecoded, as a JPEG whose pixels are those that `read` gives there.

        None where the tile is left out, or only a reader of its file shows it as it is: then `read` its box. Pixels of
        a tile beyond the level are arbitrary. Raises `SlideError` where the file cannot be read.
        """
        return None

    def check_unchanged(self) -> None:
        """Raise `SlideError` if a file of the slide has changed or gone since it was opened, as a read does then, too.

        For whoever has read the last box, and is about to say of what slide the result is.
        """
        return

    @property
    def is_checked_per_read(self) -> bool:
        """Whether every read is followed by such a check, so that no box of a changed file is ever given."""
        return True

    def close(self) -> None:
        """Release files and threads. Closing twice does nothing; reading afterwards is a bug, a `ValueError`."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SlideWrapper(Slide):
    """A slide that changes the pixels or the facts of another one. Closing it closes the other slide."""

    def __init__(self, slide: Slide, info: SlideInfo | None = None) -> None:
        self._slide, self._info = slide, info or slide.info

    @property
    def info(self) -> SlideInfo:
        return self._info

    @property
    def unreadable_regions(self) -> Sequence[UnreadableRegion]:
        return self._slide.unreadable_regions

    def check_unchanged(self) -> None:
        self._slide.check_unchanged()

    @property
    def is_checked_per_read(self) -> bool:
        return self._slide.is_checked_per_read

    def close(self) -> None:
        self._slide.close()


def read_on_white(box: Box, size: Size, read: Callable[[Box], Rgb]) -> Rgb:
    """Return a box as (h, w, 3): `read` gives the part within an image of that size, the rest is white."""
    inside = box.intersection(Box.from_size(size))
    if inside == box and box.size.pixel_count:
        return read(box)
    pixels = np.full((box.height, box.width, 3), WHITE, np.uint8)
    if inside.size.pixel_count:
        part = inside.relative_to(box)
        pixels[part.rows, part.columns] = read(inside)
    return pixels


def compute_downsamples(sizes: list[Size]) -> list[float]:
    """Return level-0 pixels per pixel of each level, as OpenSlide counts them: the mean of both axes."""
    base = sizes[0]
    return [(base.width / size.width + base.height / size.height) / 2 for size in sizes]


def make_read_error(path: Path, level: int, box: Box, error: BaseException) -> SlideError:
    """Return the error to raise for a box that cannot be read; an `UndecodableError` unless disk or machine failed."""
    where = f"level {level}, x {box.left}, y {box.top}, {box.size} px"
    shortage = describe_shortage(error)
    if shortage:
        return SlideError(f"{path}: {where} cannot be read: {shortage}")
    if is_url(path) and isinstance(error, OSError):
        return SlideError(f"{path}: {where} cannot be read: {error.strerror}")
    if isinstance(error, OSError):
        return SlideError(f"{path}: {where} cannot be read ({describe_error(error)}); look after its disk, then repeat")
    return UndecodableError(
        f"{path}: {where} cannot be decoded ({describe_error(error)}); the file is damaged, copy it again"
    )
