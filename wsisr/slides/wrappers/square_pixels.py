"""A slide whose stored pixels are not square, resampled to square ones: the finer axis is shrunk by area mean.

Coordinates and sizes count in square pixels.
"""

from __future__ import annotations

from dataclasses import replace

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.resampling import ResampledGrid
from wsisr.slides.slide import Level, Slide, SlideInfo, SlideWrapper, read_on_white


class SquarePixelSlide(SlideWrapper):
    """A slide with square pixels, each the area mean of the stored pixels that it covers."""

    def __init__(self, slide: Slide) -> None:
        self._grids = tuple(ResampledGrid(level.size, slide.info.pixel_aspect) for level in slide.info.levels)
        super().__init__(slide, _describe_square_pixels(slide.info, [level.size for level in self._grids]))

    def read(self, box: Box, level: int) -> Rgb:
        def read_resampled(inside: Box) -> Rgb:
            return self._grids[level].read(inside, lambda stored_box: self._slide.read(stored_box, level))

        return read_on_white(box, self.info.get_level(level).size, read_resampled)


def _describe_square_pixels(info: SlideInfo, sizes: list[Size]) -> SlideInfo:
    assert info.mpp is not None
    x_aspect, y_aspect = info.pixel_aspect
    stored = f"{info.mpp / x_aspect:.4g} x {info.mpp / y_aspect:.4g} um"
    return replace(
        info,
        levels=tuple(Level(size, level.downsample) for size, level in zip(sizes, info.levels, strict=True)),
        bounds=None
        if info.bounds is None
        else _convert_bounds(info.bounds, info.pixel_aspect).intersection(Box.from_size(sizes[0])),
        pixel_aspect=(1.0, 1.0),
        mpp_origin=f"{info.mpp_origin}, for pixels of {stored}",
        warnings=(
            *info.warnings,
            f"pixels are {stored}: the finer axis is shrunk by area mean to {info.mpp:.4g}, and places count in these; "
            "if they are square, give --mpp",
        ),
    )


def _convert_bounds(bounds: Box, pixel_aspect: tuple[float, float]) -> Box:
    """Return the box of all square pixels that the bounds, in stored pixels, touch."""
    x_aspect, y_aspect = pixel_aspect
    return Box(
        int(bounds.left // x_aspect),
        int(bounds.top // y_aspect),
        int(-(-bounds.right // x_aspect)),
        int(-(-bounds.bottom // y_aspect)),
    )
