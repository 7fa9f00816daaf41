"""A slide of one level that lies in memory: pixels that a program made, or that were decoded as a whole."""

from __future__ import annotations

from pathlib import Path

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.slide import Level, Slide, SlideInfo, read_on_white

ARRAY_PATH = Path("array")
"""What stands for the path of a slide that is no file, in messages."""


class ArraySlide(Slide):
    """A slide of one level whose pixels are an array, which nobody may change meanwhile.

    Memory: the array, which closing lets go.
    """

    def __init__(self, info: SlideInfo, pixels: Rgb) -> None:
        """`pixels` is (h, w, 3) sRGB, of the size that the info tells."""
        self._info = info
        self._pixels: Rgb | None = pixels

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        pixels, size = self._pixels, self.info.get_level(level).size
        if pixels is None:
            raise ValueError(f"{self.info.path}: read after close")
        return read_on_white(box, size, lambda inside: pixels[inside.rows, inside.columns].copy())

    def close(self) -> None:
        self._pixels = None


def open_array(pixels: Rgb, mpp: float) -> ArraySlide:
    """Return (h, w, 3) sRGB as a slide with pixels of `mpp` um."""
    info = SlideInfo(
        path=ARRAY_PATH,
        reader="numpy",
        vendor="array",
        levels=(Level(Size(pixels.shape[1], pixels.shape[0]), 1.0),),
        mpp=mpp,
        objective=None,
        icc=None,
        associated={},
        properties={},
        mpp_origin="given by the user",
    )
    return ArraySlide(info, pixels)
