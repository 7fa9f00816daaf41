"""The two images of a row: a level of a slide, or what is made of it, as the truth, and the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from wsisr.errors import SlideError
from wsisr.evaluation.accumulators import TruthBlock
from wsisr.evaluation.blocks import (
    FILTER_RADIUS_PX,
    EvaluationBlock,
    expand_to_jpeg_blocks,
    find_score_boxes,
    grow_box,
)
from wsisr.evaluation.inputs import EvaluationInput
from wsisr.evaluation.level_shift import measure_level_shift
from wsisr.imaging.density import scale_density
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.metrics import SSIM_RADIUS_PX, UNSCORED_BORDER_PX
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.resampling import ResampledGrid
from wsisr.slides import Slide

MIN_SIDE_PX = 2 * (UNSCORED_BORDER_PX + SSIM_RADIUS_PX) + 1
"""Shorter side of the smallest image in which one SSIM window fits inside the unscored border."""


@dataclass(frozen=True, slots=True)
class TruthImage:
    """A level of a slide from some pixel on, shrunk by a factor and with another optical density."""

    slide: Slide
    level: int
    factor: float = 1.0
    """Px of the level per px of the truth."""
    density: float = 1.0
    origin: tuple[int, int] = (0, 0)
    """Px of the level, x and y, at which the truth begins."""

    @property
    def size(self) -> Size:
        return self._grid.size

    @property
    def mpp(self) -> float | None:
        mpp = self.slide.info.level_mpp(self.level)
        return None if mpp is None else mpp * self.factor

    def read(self, box: Box) -> Rgb:
        """Read a box, in px of the truth, as (h, w, 3)."""
        return scale_density(self._grid.read(box, self._read_level), self.density)

    @property
    def _grid(self) -> ResampledGrid:
        level = self.slide.info.get_level(self.level).size
        return ResampledGrid(Size(level.width - self.origin[0], level.height - self.origin[1]), (self.factor,) * 2)

    def _read_level(self, box: Box) -> Rgb:
        return self.slide.read(box.translate(*self.origin), self.level)


@dataclass(frozen=True, slots=True)
class LevelPair:
    """The truth, and the input that is made of it or stored beside it."""

    truth: TruthImage
    source: EvaluationInput
    scale: int
    low_size: Size
    """Size of the input; that of the truth, cropped, is `scale` times as large."""
    low_origin: tuple[int, int] = (0, 0)
    """Px of a stored level, x and y, at which the input begins."""

    @classmethod
    def from_slide(cls, slide: Slide, level: int, scale: int, source: EvaluationInput) -> Self:
        """Raises `SlideError` if the slide lacks the level, or truth and input are too small or differ too much."""
        if source.stored_level is not None:
            pair = cls._from_stored_level(slide, scale, source, source.stored_level)
        else:
            truth = TruthImage(slide, level, source.coarsening, source.density)
            pair = cls(truth, source, scale, Size(truth.size.width // scale, truth.size.height // scale))
        if min(pair.low_size.width, pair.low_size.height) * scale < MIN_SIDE_PX:
            raise SlideError(
                f"{slide.info.path}: level {level} is {pair.truth.size} px, too small to be evaluated at x{scale}; "
                f"take a level of at least {-(-MIN_SIDE_PX // scale) * scale} px on each side"
            )
        return pair

    @classmethod
    def _from_stored_level(cls, slide: Slide, scale: int, source: EvaluationInput, stored: int) -> Self:
        size = slide.info.get_level(stored).size
        ratio = round(slide.info.levels[stored].downsample)
        shift = measure_level_shift(slide, stored)
        # A truth that would begin outside of level 0 begins a px of the input further in, and so does the input.
        low_origin = (max(0, -(shift[0] // ratio)), max(0, -(shift[1] // ratio)))
        origin = (shift[0] + low_origin[0] * ratio, shift[1] + low_origin[1] * ratio)
        truth = TruthImage(slide, 0, ratio / scale, origin=origin)
        low_size = Size(
            min(size.width - low_origin[0], truth.size.width // scale),
            min(size.height - low_origin[1], truth.size.height // scale),
        )
        return cls(truth, source, scale, low_size, low_origin)

    def read_block(self, block: EvaluationBlock) -> TruthBlock:
        """Read a block of the truth and its input, equal to the same part of the whole input."""
        input_box = block.input_box
        boxes = find_score_boxes(block, self.low_size, self.scale)
        if self.source.stored_level is not None:
            low = self.truth.slide.read(input_box.translate(*self.low_origin), self.source.stored_level)
            return TruthBlock.from_images(low, self.truth.read(input_box * self.scale), boxes)
        # The filters and the JPEG mix in pixels from beyond the input box.
        needed = expand_to_jpeg_blocks(input_box) if self.source.quality else grow_box(input_box, FILTER_RADIUS_PX)
        needed = needed.intersection(Box.from_size(self.low_size))
        high = self.truth.read(needed * self.scale)
        low_part = input_box.relative_to(needed)
        high_part = low_part * self.scale
        # A copy, because Pillow's pixels are read-only, which torch warns of.
        low = self.source.make_low(high, self.scale)[low_part.rows, low_part.columns].copy()
        return TruthBlock.from_images(low, high[high_part.rows, high_part.columns], boxes)
