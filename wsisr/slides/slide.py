"""A slide as the rest of wsisr sees it: facts, levels, boxes of pixels. One adapter per library implements it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from wsisr.errors import SlideError, in_words
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides.series import Scene
from wsisr.slides.unreadable import Hole


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide; level 0 is the finest."""

    size: Size
    downsample: float
    """Level-0 pixels per pixel of this level, mean of both axes."""


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """What a slide says of itself."""

    path: Path
    reader: str
    """Library that reads the pixels: `openslide`, `tifffile`, or `imagecodecs` for OME-Zarr."""
    vendor: str
    """As OpenSlide names it; `ome` for OME-TIFF, `ome-zarr`, `generic-tiff` for a TIFF of no known scanner."""
    levels: tuple[Level, ...]
    mpp: float | None
    """Pixel pitch of level 0 in um/px; None where the file does not say, or says what cannot be (see `pitch`)."""
    objective: float | None
    """Magnification of the objective lens, as recorded; that of the pitch, where one was given that contradicts it."""
    icc: bytes | None = field(repr=False)
    """ICC profile of level 0."""
    associated: Mapping[str, Size]
    """Label, macro, thumbnail: name to size."""
    properties: Mapping[str, str] = field(repr=False)
    """Everything else, as the reader names it."""
    bounds: Box | None = None
    """What was scanned, in level-0 px, where the canvas is larger than that."""
    finer: tuple[float, float] = (1.0, 1.0)
    """Pixels along x and along y that are `mpp` um long; above 1 on the finer axis of pixels that are not square."""
    pitch: str = "recorded"
    """Where the pixel pitch comes from, in words: recorded, given, or estimated from the objective."""
    colours: str = "as stored"
    """What was done to the colours, in words."""
    remarks: tuple[str, ...] = ()
    """What the reader of a result must know: a pitch that is estimated, or that can hardly be."""

    scenes: tuple[Scene, ...] = ()
    """The images of a file that holds several; none where it holds one."""
    series: int | None = None
    """Number of the one that is read; None for the only one, or for all of them on one canvas."""

    @property
    def size(self) -> Size:
        return self.levels[0].size

    def level(self, number: int) -> Level:
        """A level by its number from 0. Raises `SlideError` where the slide has none of that number."""
        if not 0 <= number < len(self.levels):
            there = "level 0, the only one" if len(self.levels) == 1 else f"0 to {len(self.levels) - 1}"
            raise SlideError(f"{self.path}: there is no level {number}; choose {there}")
        return self.levels[number]

    def level_mpp(self, level: int) -> float | None:
        """Pixel pitch of a level in um/px."""
        return None if self.mpp is None else self.mpp * self.levels[level].downsample


class UndecodableError(SlideError):
    """What a file holds of some pixels is no image, whoever reads it."""


class Slide(Protocol):
    """An open slide. Reading is thread-safe."""

    @property
    def info(self) -> SlideInfo: ...

    @property
    def holes(self) -> Sequence[Hole]:
        """Places that were asked for, could not be decoded, and were shown white; grows as boxes are read."""
        return ()

    def read(self, box: Box, level: int) -> Rgb:
        """Pixels of a box in the pixels of that level, (h, w, 3) sRGB. What lies outside the slide is white.

        Memory is that of the box, besides a cache of fixed size.
        Raises `SlideError` naming path, level and box where the file cannot be decoded.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Seen(Slide):
    """A slide seen otherwise than it is stored. Closing it closes the slide."""

    def __init__(self, slide: Slide, info: SlideInfo | None = None) -> None:
        self._slide, self._info = slide, info or slide.info

    @property
    def info(self) -> SlideInfo:
        return self._info

    @property
    def holes(self) -> Sequence[Hole]:
        return self._slide.holes

    def close(self) -> None:
        self._slide.close()


def on_white(box: Box, size: Size, read: Callable[[Box], Rgb]) -> Rgb:
    """(h, w, 3) of a box, of which `read` gives the part within an image of that size; the rest is white."""
    inside = box.intersection(Box.of(size))
    if inside == box and box.size.pixels:
        return read(box)
    pixels = np.full((box.height, box.width, 3), WHITE, np.uint8)
    if inside.size.pixels:
        part = inside.seen_from(box)
        pixels[part.rows, part.columns] = read(inside)
    return pixels


def downsamples(sizes: list[Size]) -> list[float]:
    """Level-0 pixels per pixel of each level, as OpenSlide counts them: the mean of both axes."""
    base = sizes[0]
    return [(base.width / size.width + base.height / size.height) / 2 for size in sizes]


def undecodable(path: Path, level: int, box: Box, error: BaseException) -> SlideError:
    """What to raise where a box cannot be read; `UndecodableError` unless it was the disk that refused."""
    where = f"level {level}, x {box.left}, y {box.top}, {box.size} px"
    if isinstance(error, OSError):
        return SlideError(f"{path}: {where} cannot be read ({in_words(error)}); look after its disk, then repeat")
    return UndecodableError(
        f"{path}: {where} cannot be decoded ({in_words(error)}); the file is damaged, copy it again"
    )
