"""Score an upscaler on a slide: a level is the truth, and the same level shrunk is the input."""

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
    grow_box,
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
"""Shorter side of the smallest image in which one SSIM window fits inside the unscored border."""

WORTHWHILE_SIDE_PX = 256
"""Shorter side of the smallest level that --all-levels includes."""

EvaluationSteps: TypeAlias = Iterator[Progress | ScoreRow]

_DEFAULT_SAMPLING = Sampling()


def list_levels_to_evaluate(info: SlideInfo) -> list[int]:
    """Return the numbers of the levels that are large enough for meaningful scores; level 0 always."""
    sides = [min(level.size.width, level.size.height) for level in info.levels]
    return [number for number, side in enumerate(sides) if number == 0 or side >= WORTHWHILE_SIDE_PX]


def evaluate_level(
    slide: Slide,
    upscaler: Upscaler,
    level: int,
    kernel: FilterName,
    sampling: Sampling = _DEFAULT_SAMPLING,
    quality: int | None = None,
) -> EvaluationSteps:
    """Measure a level block by block. Yields the number of measured blocks; the last item is the level's row.

    The truth is the level, cropped at right and bottom to a multiple of the upscaler's scale. The input is the truth
    shrunk with `kernel`, and then compressed as JPEG (4:2:0) of `quality` 1 to 100, if one is given. Pillow's bicubic
    and back-projection are measured beside the upscaler. Memory is that of one block.
    Raises `SlideError` if the slide lacks the level, or the level is too small or cannot be read.
    """
    pair = _LevelPair.from_slide(slide, level, upscaler.info.scale, kernel, quality)
    scale, low_size = pair.scale, pair.low_size
    upscalers: tuple[Upscaler, ...] = (upscaler, Resampling("bicubic", scale), BackProjection(scale))
    halo_px = max(each.info.receptive_field for each in upscalers) + ssim_halo_px(scale)
    blocks = sampling.choose_blocks(low_size, scale, halo_px, upscaler.info.cell_px)
    scores = ScoreAccumulator(len(upscalers))
    yield Progress("evaluate", 0, len(blocks))
    for done, block in enumerate(blocks, 1):
        truth = pair.read_block(block)
        scores.add([enlarge(truth.low[None])[0] for enlarge in upscalers], truth)
        yield Progress("evaluate", done, len(blocks))
    slide.check_unchanged()
    yield _build_row(pair, scores)


@dataclass(frozen=True, slots=True)
class _LevelPair:
    """A level of a slide as the truth, and the input that is made from it."""

    slide: Slide
    level: int
    scale: int
    kernel: FilterName
    low_size: Size
    """Size of the input; the truth is `scale` times as large."""
    quality: int | None

    @classmethod
    def from_slide(cls, slide: Slide, level: int, scale: int, kernel: FilterName, quality: int | None) -> Self:
        """Raises `SlideError` if the slide lacks the level or the level is too small."""
        size = slide.info.get_level(level).size
        low_size = Size(size.width // scale, size.height // scale)
        if min(low_size.width, low_size.height) * scale < MIN_SIDE_PX:
            raise SlideError(
                f"{slide.info.path}: level {level} is {size} px, too small to be evaluated at x{scale}; "
                f"take a level of at least {-(-MIN_SIDE_PX // scale) * scale} px on each side"
            )
        return cls(slide, level, scale, kernel, low_size, quality)

    def read_block(self, block: EvaluationBlock) -> TruthBlock:
        """Read a block of the truth and make its input, equal to the same part of the whole level's input."""
        input_box = block.input_box
        # The filters and the JPEG mix in pixels from beyond the input box.
        needed = expand_to_jpeg_blocks(input_box) if self.quality else grow_box(input_box, FILTER_RADIUS_PX)
        needed = needed.intersection(Box.from_size(self.low_size))
        high = self.slide.read(needed * self.scale, self.level)
        low_part = input_box.relative_to(needed)
        high_part = low_part * self.scale
        # A copy, because Pillow's pixels are read-only, which torch warns of.
        low = self._make_input(high)[low_part.rows, low_part.columns].copy()
        boxes = find_score_boxes(block, self.low_size, self.scale)
        return TruthBlock.from_images(low, high[high_part.rows, high_part.columns], boxes)

    def _make_input(self, high: Rgb) -> Rgb:
        low = shrink_image(high, self.scale, self.kernel)
        return recompress_jpeg(low, self.quality) if self.quality else low


def _build_row(pair: _LevelPair, scores: ScoreAccumulator) -> ScoreRow:
    info, level = pair.slide.info, pair.level
    model, bicubic, back_projection = scores.compute_scores()
    mpp = info.level_mpp(level)
    return ScoreRow(
        slide=info.path,
        level=level,
        mpp_lr=None if mpp is None else mpp * pair.scale,
        mpp_hr=mpp,
        kernel=pair.kernel,
        pixels=scores.pixel_count,
        level_pixels=grow_box(Box.from_size(pair.low_size * pair.scale), -UNSCORED_BORDER_PX).size.pixel_count,
        model=model,
        bicubic=bicubic,
        back_projection=back_projection,
        flat=scores.compare_flat_cells(0, 1),
        quality=pair.quality,
    )
