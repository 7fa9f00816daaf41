"""A slide whose pixels are longer than wide, or wider than long, seen in square ones: the finer axis is shrunk.

Places and sizes are in square pixels. Each is the area mean of what it covers.
"""

from __future__ import annotations

from dataclasses import replace

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.resampling import Resampled
from wsisr.slides.slide import Level, Seen, Slide, SlideInfo, on_white


class Square(Seen):
    """Closing it closes the slide."""

    def __init__(self, slide: Slide) -> None:
        self._levels = tuple(Resampled(level.size, slide.info.finer) for level in slide.info.levels)
        super().__init__(slide, _in_square_pixels(slide.info, [level.size for level in self._levels]))

    def read(self, box: Box, level: int) -> Rgb:
        def shrunk(inside: Box) -> Rgb:
            return self._levels[level].read(inside, lambda place: self._slide.read(place, level))

        return on_white(box, self.info.level(level).size, shrunk)


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
