"""The scores of an upscaler on a slide: a level is the truth, the level shrunk is the input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, TypeAlias

from wsisr.errors import SlideError
from wsisr.evaluation.accumulators import ScoreAccumulator, TruthBlock
from wsisr.evaluation.blocks import (
    FILTER_RADIUS_PX,
    EvaluationBlock,
    Sampling,
    expand_to_jpeg_blocks,
    find_score_boxes,
    resize_box,
    ssim_halo_px,
)
from wsisr.evaluation.scores import ScoreRow
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.jpeg import recompress_jpeg
from wsisr.imaging.metrics import SSIM_RADIUS_PX, UNSCORED_BORDER_PX
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image
from wsisr.models.back_projection import BackProjection
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.progress import Progress
from wsisr.slides import Slide, SlideInfo

MIN_SIDE_PX = 2 * (UNSCORED_BORDER_PX + SSIM_RADIUS_PX) + 1
"""Shorter side of the smallest image that leaves one window of the structural similarity inside the border."""

WORTHWHILE_SIDE_PX = 256
"""Shorter side from which a level is evaluated where all levels are asked for."""

EvaluationSteps: TypeAlias = Iterator[Progress | ScoreRow]

_WHOLE = Sampling()


def list_levels_to_evaluate(info: SlideInfo) -> list[int]:
    """Numbers of the levels that are large enough to tell something; level 0 always."""
    sides = [min(level.size.width, level.size.height) for level in info.levels]
    return [number for number, side in enumerate(sides) if number == 0 or side >= WORTHWHILE_SIDE_PX]


def evaluate_level(
    slide: Slide,
    upscaler: Upscaler,
    level: int,
    kernel: FilterName,
    sampling: Sampling = _WHOLE,
    quality: int | None = None,
) -> EvaluationSteps:
    """Counts the blocks of a level as they are measured; the last thing it yields is the level's row.

    The truth is the level, cut at right and bottom to a multiple of the upscaler's scale; the input is the truth shrunk
    with `kernel`, and then stored as a JPEG (4:2:0) of that quality, 1 to 100, if one is given. Pillow's bicubic and
    back-projection are measured beside the upscaler. Memory is that of one block.
    Raises `SlideError` where the slide lacks the level, the level is too small, or it cannot be read.
    """
    shrunken = _EvaluatedLevel.of_slide(slide, level, upscaler.info.scale, kernel, quality)
    scale, low = shrunken.scale, shrunken.low
    upscalers: tuple[Upscaler, ...] = (upscaler, Resampling("bicubic", scale), BackProjection(scale))
    reach = max(each.info.receptive_field for each in upscalers) + ssim_halo_px(scale)
    blocks, tallies = sampling.choose_blocks(low, scale, reach), ScoreAccumulator(len(upscalers))
    yield Progress("evaluate", 0, len(blocks))
    for done, block in enumerate(blocks, 1):
        truth = shrunken.read_block(block)
        tallies.add([each(truth.low[None])[0] for each in upscalers], truth)
        yield Progress("evaluate", done, len(blocks))
    yield _build_row(shrunken, tallies)


@dataclass(frozen=True, slots=True)
class _EvaluatedLevel:
    """A level of a slide as truth, and what is made of it as input."""

    slide: Slide
    level: int
    scale: int
    kernel: FilterName
    low: Size
    """Of the input; the truth is `scale` times as large."""
    quality: int | None

    @classmethod
    def of_slide(cls, slide: Slide, level: int, scale: int, kernel: FilterName, quality: int | None) -> Self:
        size = slide.info.get_level(level).size
        low = Size(size.width // scale, size.height // scale)
        if min(low.width, low.height) * scale < MIN_SIDE_PX:
            raise SlideError(
                f"{slide.info.path}: level {level} is {size} px, too small to be evaluated at x{scale}; "
                f"take a level of at least {-(-MIN_SIDE_PX // scale) * scale} px on each side"
            )
        return cls(slide, level, scale, kernel, low, quality)

    def read_block(self, block: EvaluationBlock) -> TruthBlock:
        # Shrinking reaches beyond the source; the block's input must be what shrinking the whole level gives there.
        around = (
            expand_to_jpeg_blocks(block.input_box) if self.quality else resize_box(block.input_box, FILTER_RADIUS_PX)
        )
        wide = around.intersection(Box.from_size(self.low))
        high = self.slide.read(wide * self.scale, self.level)
        inside = block.input_box.relative_to(wide)
        fine = inside * self.scale
        # Pillow's pixels are read-only, which torch warns of; a copy belongs to whoever gets it.
        low = self._make_input(high)[inside.rows, inside.columns].copy()
        return TruthBlock.from_images(low, high[fine.rows, fine.columns], find_score_boxes(block, self.low, self.scale))

    def _make_input(self, high: Rgb) -> Rgb:
        low = shrink_image(high, self.scale, self.kernel)
        return recompress_jpeg(low, self.quality) if self.quality else low


def _build_row(shrunken: _EvaluatedLevel, tallies: ScoreAccumulator) -> ScoreRow:
    info, level = shrunken.slide.info, shrunken.level
    model, bicubic, back_projection = tallies.compute_scores()
    mpp = info.level_mpp(level)
    return ScoreRow(
        slide=info.path,
        level=level,
        mpp_lr=None if mpp is None else mpp * shrunken.scale,
        mpp_hr=mpp,
        kernel=shrunken.kernel,
        pixels=tallies.pixels,
        level_pixels=resize_box(Box.from_size(shrunken.low * shrunken.scale), -UNSCORED_BORDER_PX).size.pixel_count,
        model=model,
        bicubic=bicubic,
        back_projection=back_projection,
        flat=tallies.compare_flat_cells(0, 1),
        quality=shrunken.quality,
    )
