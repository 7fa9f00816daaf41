"""Score an upscaler on a slide: a level is the truth, and the same level shrunk is the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import TypeAlias

from wsisr.evaluation.accumulators import ScoreAccumulator, TruthBlock
from wsisr.evaluation.blocks import EvaluationBlock, Sampling, grow_box, ssim_halo_px
from wsisr.evaluation.example_patches import ExampleCollector, ExamplePatch
from wsisr.evaluation.inputs import EvaluationInput
from wsisr.evaluation.nuclei import SMOOTHING_RADIUS_UM, HaematoxylinSegmenter
from wsisr.evaluation.nuclei_accumulator import (
    COARSEST_MPP,
    NucleiAccumulator,
    NucleiOptions,
    check_nuclei_pixel_size,
    nuclei_halo_px,
)
from wsisr.evaluation.nuclei_scores import NucleiComparison
from wsisr.evaluation.pairs import LevelPair
from wsisr.evaluation.ring_scores import RingScores
from wsisr.evaluation.scores import ScoreRow
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import UNSCORED_BORDER_PX
from wsisr.imaging.pixels import Rgb
from wsisr.models.back_projection import BackProjection
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.progress import Progress
from wsisr.slides import Slide, SlideInfo

WORTHWHILE_SIDE_PX = 256
"""Shorter side of the smallest level that --all-levels includes."""

EvaluationSteps: TypeAlias = Iterator[Progress | ExamplePatch | ScoreRow]

_DEFAULT_SAMPLING = Sampling()


def list_levels_to_evaluate(info: SlideInfo) -> list[int]:
    """Return the numbers of the levels that are large enough for meaningful scores; level 0 always."""
    sides = [min(level.size.width, level.size.height) for level in info.levels]
    return [number for number, side in enumerate(sides) if number == 0 or side >= WORTHWHILE_SIDE_PX]


def evaluate_level(
    slide: Slide,
    upscaler: Upscaler,
    level: int,
    source: EvaluationInput,
    sampling: Sampling = _DEFAULT_SAMPLING,
    nuclei: NucleiOptions | None = None,
) -> EvaluationSteps:
    """Measure a level block by block. Yields the number of measured blocks, then the best and the worst patch, if the
    level has any that shows something; the last item is the level's row.

    The truth is the level, cropped at right and bottom to a multiple of the upscaler's scale; `source` says what is
    done to it and what the input is. Pillow's bicubic and back-projection are measured beside the upscaler. Memory is
    that of one block. Nuclei are compared, too, if `nuclei` says how and the truth is fine enough to show them.
    Raises `SlideError` if the slide lacks the level, or the level is too small or cannot be read, or nuclei are asked
    for and the pixel size is not known.
    """
    pair = LevelPair.from_slide(slide, level, upscaler.info.scale, source)
    scale, low_size = pair.scale, pair.low_size
    upscalers: tuple[Upscaler, ...] = (upscaler, Resampling("bicubic", scale), BackProjection(scale))
    halo_px = max(each.info.receptive_field for each in upscalers) + ssim_halo_px(scale)
    mpp = _find_nuclei_mpp(pair) if nuclei else None
    if mpp:
        halo_px += nuclei_halo_px(mpp * scale)
    blocks = sampling.choose_blocks(low_size, scale, halo_px, upscaler.info.cell_px)
    scores, examples = ScoreAccumulator(len(upscalers)), ExampleCollector()
    yield Progress("evaluate", 0, len(blocks))
    accumulator = _start_nuclei(nuclei, pair, blocks, mpp) if nuclei and mpp else None
    for done, block in enumerate(blocks, 1):
        truth = pair.read_block(block)
        images = [enlarge(truth.low[None])[0] for enlarge in upscalers]
        scores.add(images, truth)
        _collect_examples(examples, images, truth, block)
        if accumulator:
            accumulator.add(images[:2], truth, block)
        yield Progress("evaluate", done, len(blocks))
    slide.check_unchanged()
    yield from filter(None, (examples.best, examples.worst))
    yield _build_row(pair, scores, accumulator.compare(0, 1) if accumulator else None)


def _collect_examples(
    examples: ExampleCollector, images: Sequence[Rgb], truth: TruthBlock, block: EvaluationBlock
) -> None:
    """Add the patches of a block; `images` are the model's, bicubic's, and others."""
    origin = block.input_box.left * truth.scale, block.input_box.top * truth.scale
    examples.add_block([images[0], images[1], truth.high], truth.low, truth.boxes.windows, origin)


def _find_nuclei_mpp(pair: LevelPair) -> float | None:
    """Return the pixel size of a truth that shows nuclei; None for a coarser one."""
    check_nuclei_pixel_size(pair.truth.slide.info)
    mpp = pair.truth.mpp
    return mpp if mpp is not None and mpp <= COARSEST_MPP else None


def _start_nuclei(
    options: NucleiOptions, pair: LevelPair, blocks: Sequence[EvaluationBlock], mpp: float
) -> NucleiAccumulator:
    """Return the accumulator for model and bicubic; the classical segmenter's threshold comes from all blocks."""
    parts = (_read_truth(pair, block, SMOOTHING_RADIUS_UM / mpp) for block in blocks)
    return NucleiAccumulator(options.segment or HaematoxylinSegmenter.from_parts(parts, mpp), mpp, images=2)


def _read_truth(pair: LevelPair, block: EvaluationBlock, margin_px: float) -> tuple[Rgb, Box]:
    """Read a block's core with a margin, and return the core's box in it."""
    core = block.core * pair.scale
    box = grow_box(core, ceil(margin_px)).intersection(Box.from_size(pair.low_size * pair.scale))
    return pair.truth.read(box), core.relative_to(box)


def _build_row(pair: LevelPair, scores: ScoreAccumulator, nuclei: NucleiComparison | None) -> ScoreRow:
    model, bicubic, back_projection = scores.compute_scores()
    mpp, rings = pair.truth.mpp, scores.rings.correlate()
    return ScoreRow(
        slide=pair.truth.slide.info.path,
        level=pair.truth.level,
        mpp_lr=None if mpp is None else mpp * pair.scale,
        mpp_hr=mpp,
        source=pair.source,
        pixels=scores.pixel_count,
        level_pixels=grow_box(Box.from_size(pair.low_size * pair.scale), -UNSCORED_BORDER_PX).size.pixel_count,
        model=model,
        bicubic=bicubic,
        back_projection=back_projection,
        flat=scores.compare_flat_cells(0, 1),
        nuclei=nuclei,
        rings=RingScores(rings[0], rings[1], rings[2], mpp) if rings else None,
    )
