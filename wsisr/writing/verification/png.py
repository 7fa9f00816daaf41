"""Checks a PNG with Pillow and imagecodecs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Size
from wsisr.slides.readers.array import ArraySlide
from wsisr.slides.readers.picture import read_picture
from wsisr.slides.readers.signatures import PNG
from wsisr.slides.slide import Level
from wsisr.writing.verification.expectation import Expectation, Finding
from wsisr.writing.verification.readers_agree import ReaderComparison

_COMPARED_PX = 256
"""Side of the squares that are compared."""


def check_png(path: Path, expected: Expectation, *, every_tile: bool = False) -> Iterator[Finding]:
    """Yield the findings of all checks. Raises `SlideError` where it cannot be decoded. Memory: the picture, twice."""
    info, pixels = read_picture(path, PNG)
    try:
        decoded = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    except (ValueError, RuntimeError) as error:
        raise SlideError(f"{path}: cannot be decoded ({describe_error(error)})") from error
    size = Size(decoded.shape[1], decoded.shape[0])
    second = ArraySlide(replace(info, reader="imagecodecs", levels=(Level(size, 1.0),)), decoded)
    squares = (Size(_COMPARED_PX, _COMPARED_PX),)
    yield from ReaderComparison(ArraySlide(info, pixels), second, squares, every_tile).iterate_findings(expected)
