"""Two upscalers compared on the same tissue of a slide, as a whole and region by region."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from wsisr.dataset.patch_selection import sample_evenly
from wsisr.errors import SlideError
from wsisr.evaluation.accumulators import ScoreAccumulator, TruthBlock
from wsisr.evaluation.blocks import EvaluationBlock, Sampling, ssim_halo_px
from wsisr.evaluation.confidence import mean_interval
from wsisr.evaluation.inputs import EvaluationInput
from wsisr.evaluation.pairs import LevelPair
from wsisr.evaluation.scores import Scores, compute_gain
from wsisr.imaging.metrics import mean_squared_error, psnr_from_error
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.progress import Progress
from wsisr.slides import Slide
from wsisr.tissue import TissueMap

REGION_PX = 256
"""Side of a region, in px of the input."""

REGIONS_PER_SLIDE = 32
"""Most regions of a slide that are measured, evenly spread over its tissue."""

TISSUE_SHARE = 0.5
"""Least share of a region that is tissue: on glass all upscalers are alike."""


@dataclass(frozen=True, slots=True)
class GainPair:
    """The gains over bicubic, in dB, of two upscalers on the same pixels."""

    before: float
    after: float

    @property
    def difference(self) -> float:
        """dB by which the second is above the first."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class LevelComparison:
    """Two upscalers on one level of one slide, and one input."""

    slide: Path
    case: str
    source: EvaluationInput
    mpp_lr: float | None
    """Pixel size of the input in um/px."""
    before: Scores
    after: Scores
    bicubic: Scores
    regions: tuple[GainPair, ...]
    """The gains on each region alone."""

    @property
    def gains(self) -> GainPair:
        """The gains on all regions together."""
        return GainPair(*(compute_gain(scores.psnr, self.bicubic.psnr) for scores in (self.before, self.after)))


@dataclass(frozen=True, slots=True)
class MeanGain:
    """A mean over independent values, in dB, with its 95 % interval; None for a single value."""

    mean: float
    interval: tuple[float, float] | None

    @classmethod
    def from_values(cls, values: Sequence[float]) -> MeanGain:
        return cls(fmean(values), mean_interval(values))


@dataclass(frozen=True, slots=True)
class InputComparison:
    """Two upscalers on one input: means over cases of equal weight, or over the regions of the only case."""

    label: str
    unit: str
    """What the interval is over: `case` or `region`."""
    count: int
    before: MeanGain
    after: MeanGain
    difference: MeanGain
    """After minus before, of the same case or region: what both find difficult does not widen its interval."""


def compare_level(
    slide: Slide,
    case: str,
    upscalers: tuple[Upscaler, Upscaler],
    level: int,
    source: EvaluationInput,
    tissue: TissueMap,
) -> Iterator[Progress | LevelComparison]:
    """Measure two upscalers of one scale on the tissue of a level; the last item is the comparison.

    Memory is that of a region. Raises `SlideError` if the level has no region of tissue, is too small, or cannot be
    read.
    """
    pair = LevelPair.from_slide(slide, level, upscalers[0].info.scale, source)
    everyone: tuple[Upscaler, ...] = (*upscalers, Resampling("bicubic", pair.scale))
    blocks = _choose_blocks(pair, everyone, tissue)
    if not blocks:
        raise SlideError(f"{slide.info.path}: no region of {REGION_PX * pair.scale} px is mostly tissue; leave it out")
    scores, regions = ScoreAccumulator(len(everyone)), []
    yield Progress("compare", 0, len(blocks))
    for done, block in enumerate(blocks, 1):
        truth = pair.read_block(block)
        images = [enlarge(truth.low[None])[0] for enlarge in everyone]
        scores.add(images, truth)
        before, after, bicubic = (_measure_psnr(image, truth) for image in images)
        regions.append(GainPair(compute_gain(before, bicubic), compute_gain(after, bicubic)))
        yield Progress("compare", done, len(blocks))
    slide.check_unchanged()
    mpp = pair.truth.mpp
    mpp_lr = None if mpp is None else mpp * pair.scale
    of_before, of_after, of_bicubic = scores.compute_scores()
    yield LevelComparison(slide.info.path, case, source, mpp_lr, of_before, of_after, of_bicubic, tuple(regions))


def summarise_comparisons(comparisons: Sequence[LevelComparison]) -> list[InputComparison]:
    """Summarise each input, in the order of the comparisons, of which there is at least one."""
    labels = dict.fromkeys(comparison.source.label for comparison in comparisons)
    return [_summarise_input([item for item in comparisons if item.source.label == label]) for label in labels]


def _summarise_input(comparisons: Sequence[LevelComparison]) -> InputComparison:
    by_case: dict[str, list[GainPair]] = {}
    for item in comparisons:
        by_case.setdefault(item.case, []).append(item.gains)
    if len(by_case) > 1:
        unit, values = (
            "case",
            [
                GainPair(fmean(gains.before for gains in of_case), fmean(gains.after for gains in of_case))
                for of_case in by_case.values()
            ],
        )
    else:
        unit, values = "region", [gains for item in comparisons for gains in item.regions]
    return InputComparison(
        label=comparisons[0].source.label,
        unit=unit,
        count=len(values),
        before=MeanGain.from_values([gains.before for gains in values]),
        after=MeanGain.from_values([gains.after for gains in values]),
        difference=MeanGain.from_values([gains.difference for gains in values]),
    )


def _choose_blocks(pair: LevelPair, upscalers: Sequence[Upscaler], tissue: TissueMap) -> list[EvaluationBlock]:
    """Return blocks of tissue; narrow ones at the right and the bottom are left out."""
    halo_px = max(upscaler.info.receptive_field for upscaler in upscalers) + ssim_halo_px(pair.scale)
    cell_px = max(upscaler.info.cell_px for upscaler in upscalers)
    all_blocks = Sampling(REGION_PX, limit_px=2**62).choose_blocks(pair.low_size, pair.scale, halo_px, cell_px)
    least_px = min(REGION_PX // 2, pair.low_size.width, pair.low_size.height)
    wide = [block for block in all_blocks if min(block.core.width, block.core.height) >= least_px]

    def measure_share(block: EvaluationBlock) -> float:
        return float(np.mean(tissue.mask_cells(pair.low_size, block.core, REGION_PX // 8)))

    return sample_evenly([block for block in wide if measure_share(block) >= TISSUE_SHARE], REGIONS_PER_SLIDE)


def _measure_psnr(image: np.ndarray, truth: TruthBlock) -> float:
    box = truth.boxes.errors
    return psnr_from_error(mean_squared_error(image[box.rows, box.columns], truth.high[box.rows, box.columns]))
