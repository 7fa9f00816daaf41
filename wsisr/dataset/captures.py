"""What captured pairs are made of: whole slides, or fields of a microscope as plain images, held in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsisr.dataset.recipe import Recipe
from wsisr.dataset.slides_and_splits import DatasetSlide, sources_of
from wsisr.errors import DatasetError, SlideError, in_words
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.units import UM_AT_1X
from wsisr.slides import Slide, SlideInfo, open_slide
from wsisr.slides.slide import Level, on_white

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}
"""What is read as a plain image; a TIFF is one where it is no slide with a pitch of its own."""

MOST_PX = 100_000_000
"""Of a field: 300 MB. Whatever is larger is a slide."""

_MAGNIFICATION = re.compile(r"(?<![0-9A-Za-z])(\d+(?:\.\d+)?)x(?![0-9A-Za-z])", re.IGNORECASE)


class Field(Slide):
    """A plain image as a slide of one level."""

    def __init__(self, path: Path, pixels: Rgb, mpp: float | None) -> None:
        size = Size(pixels.shape[1], pixels.shape[0])
        self._info = SlideInfo(path, "pillow", "field", (Level(size, 1.0),), mpp, None, None, {}, {})
        self._pixels = pixels

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        return on_white(box, self.info.level(level).size, lambda inside: self._pixels[inside.rows, inside.columns])

    def close(self) -> None:
        pass


def open_capture(path: Path, mpp: float | None = None) -> Slide:
    """A slide, or an image as one. Without `mpp`, the pitch is the file's, else that of a magnification in its name.

    Raises `SlideError` where it can be read as neither.
    """
    if path.suffix.lower() in SUFFIXES:
        return Field(path, _pixels(path), mpp or pitch_by_name(path))
    slide = open_slide(path, mpp)
    if slide.info.mpp is not None or (by_name := pitch_by_name(path)) is None:
        return slide
    slide.close()
    return open_slide(path, by_name)


def pitch_by_name(path: Path) -> float | None:
    """Pixel pitch in um/px that goes with `20x` in a file's name, or in its folder's: 0.5, by convention."""
    for name in (path.stem, path.parent.name):
        found = _MAGNIFICATION.findall(name)
        if found and float(found[-1]) > 0:
            return UM_AT_1X / float(found[-1])
    return None


def captures_at(path: Path, recipe: Recipe) -> Sequence[DatasetSlide]:
    """The file itself, or all images and slides of a folder. Raises `DatasetError` where there is none."""
    try:
        images = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    except OSError as error:
        raise DatasetError(f"{path}: cannot be looked into ({error.strerror}); give other captures") from error
    return sources_of(images or [path], [], recipe)


def _pixels(path: Path) -> Rgb:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PX:
                raise SlideError(
                    f"{path}: {image.width} x {image.height} px are too many for a field; store it as a slide"
                )
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SlideError(f"{path}: cannot be read as an image ({in_words(error)}); leave it out") from error
