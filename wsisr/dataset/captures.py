"""Captures for captured pairs: whole slides, or microscope fields as plain images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from wsisr.dataset.recipe import Recipe
from wsisr.dataset.slides_and_splits import DatasetSlide, assign_slides
from wsisr.errors import DatasetError
from wsisr.imaging.units import UM_AT_1X
from wsisr.slides import Slide, open_slide
from wsisr.slides.listing import PICTURE_SUFFIXES, SlideEntry, list_slides

_MAGNIFICATION = re.compile(r"(?<![0-9A-Za-z])(\d+(?:\.\d+)?)x(?![0-9A-Za-z])", re.IGNORECASE)


def open_capture(path: Path, mpp: float | None = None) -> Slide:
    """Open a slide or a plain image. Its pixel size is `mpp`, else that of the file, else that by its name.

    Raises `SlideError` if it cannot be read as either.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:  # these record no pixel size, and are decoded when they are opened
        return open_slide(path, mpp or pixel_size_from_name(path))
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
        images = sorted(file for file in files if file.suffix.lower() in PICTURE_SUFFIXES)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be looked into ({error.strerror}); give other captures") from error
    return assign_slides(map(SlideEntry, images) if images else list_slides([path]).entries, [], recipe)
