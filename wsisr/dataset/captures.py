"""Captures for captured pairs: whole slides, or microscope fields as plain images, which are held in memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsisr.bounds import MAX_FIELD_PX, PICTURE_FORMATS
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.slides_and_splits import DatasetSlide, assign_slides
from wsisr.errors import DatasetError, SlideError, describe_error
from wsisr.files import describe_special_file
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.units import UM_AT_1X
from wsisr.slides import Slide, SlideInfo, open_slide
from wsisr.slides.listing import SlideEntry, list_slides
from wsisr.slides.slide import Level, read_on_white

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}
"""Suffixes that are read as plain images; a TIFF is opened as a slide."""

_MAGNIFICATION = re.compile(r"(?<![0-9A-Za-z])(\d+(?:\.\d+)?)x(?![0-9A-Za-z])", re.IGNORECASE)


class ImageSlide(Slide):
    """A plain image as a slide with one level."""

    def __init__(self, path: Path, pixels: Rgb, mpp: float | None) -> None:
        size = Size(pixels.shape[1], pixels.shape[0])
        self._info = SlideInfo(path, "pillow", "field", (Level(size, 1.0),), mpp, None, None, {}, {})
        self._pixels = pixels
        self._closed = False

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        if self._closed:
            raise ValueError(f"{self.info.path}: read after close")
        size = self.info.get_level(level).size
        return read_on_white(box, size, lambda inside: self._pixels[inside.rows, inside.columns])

    def close(self) -> None:
        self._closed = True


def open_capture(path: Path, mpp: float | None = None) -> Slide:
    """Open a slide or a plain image. Its pixel size is `mpp`, else that of the file, else that by its name.

    Raises `SlideError` if it cannot be read as either.
    """
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSlide(path, _read_pixels(path), mpp or pixel_size_from_name(path))
    slide = open_slide(path, mpp)
    if slide.info.mpp is not None or (mpp_from_name := pixel_size_from_name(path)) is None:
        return slide
    slide.close()
    return open_slide(path, mpp_from_name)


def pixel_size_from_name(path: Path) -> float | None:
    """Return the conventional pixel size in um/px of a magnification in the file's or folder's name: 0.5 for `20x`."""
    for name in (path.stem, path.parent.name):
        magnifications = _MAGNIFICATION.findall(name)
        if magnifications and float(magnifications[-1]) > 0:
            return UM_AT_1X / float(magnifications[-1])
    return None


def list_captures(path: Path, recipe: Recipe) -> Sequence[DatasetSlide]:
    """List the plain images of a folder, else its slides; a file is itself. Raises `DatasetError` if there is none."""
    try:
        files = path.iterdir() if path.is_dir() else [path]
        images = sorted(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be looked into ({error.strerror}); give other captures") from error
    return assign_slides(map(SlideEntry, images) if images else list_slides([path]).entries, [], recipe)


def _read_pixels(path: Path) -> Rgb:
    special = describe_special_file(path)
    if special:
        raise SlideError(f"{path}: is {special}, and pictures are read in any order; copy it into a file")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=PICTURE_FORMATS) as image:
            if image.width * image.height > MAX_FIELD_PX:
                raise SlideError(
                    f"{path}: {image.width} x {image.height} px are too many for a field; store it as a slide"
                )
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SlideError(f"{path}: cannot be read as an image ({describe_error(error)}); leave it out") from error
