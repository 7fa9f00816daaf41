"""A slide whose pixels are longer than wide, or wider than long, seen in square ones: the finer axis is shrunk.

Places and sizes are in square pixels. Each is the area mean of what it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb
from wsisr.resampled import Resampled
from wsisr.slides.holes import Hole
from wsisr.slides.slide import Level, Slide, SlideInfo


class Square(Slide):
    """Closing it closes the slide."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._seen = tuple(Resampled(level.size, slide.info.finer) for level in slide.info.levels)
        self._info = _in_square_pixels(slide.info, [seen.size for seen in self._seen])

    @property
    def info(self) -> SlideInfo:
        return self._info

    @property
    def holes(self) -> Sequence[Hole]:
        return self._slide.holes

    def read(self, box: Box, level: int) -> Rgb:
        inside = box.intersection(Box.of(self.info.level(level).size))
        pixels = np.full((box.height, box.width, 3), 255, np.uint8)
        if inside.size.pixels:
            target = inside.seen_from(box)
            pixels[target.rows, target.columns] = self._seen[level].read(
                inside, lambda place: self._slide.read(place, level)
            )
        return pixels

    def close(self) -> None:
        self._slide.close()


def _in_square_pixels(info: SlideInfo, sizes: list[Size]) -> SlideInfo:
    assert info.mpp is not None
    across, down = info.finer
    stored = f"{info.mpp / across:.4g} x {info.mpp / down:.4g} um"
    return replace(
        info,
        levels=tuple(Level(size, level.downsample) for size, level in zip(sizes, info.levels, strict=True)),
        bounds=None if info.bounds is None else _covered(info.bounds, info.finer).intersection(Box.of(sizes[0])),
        finer=(1.0, 1.0),
        pitch=f"{info.pitch}, for pixels of {stored}",
        remarks=(
            *info.remarks,
            f"pixels are {stored}: the finer axis is shrunk by area mean to {info.mpp:.4g}, and places count in these; "
            "if they are square, give --mpp",
        ),
    )


def _covered(bounds: Box, finer: tuple[float, float]) -> Box:
    """The square pixels that have any of the bounds."""
    across, down = finer
    return Box(
        int(bounds.left // across),
        int(bounds.top // down),
        int(-(-bounds.right // across)),
        int(-(-bounds.bottom // down)),
    )
