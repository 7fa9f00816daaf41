"""The results of an evaluation: scores of an image, rows of a table, and the summary of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from wsisr.dataset.recipe import Recipe
from wsisr.evaluation.confidence import mean_interval
from wsisr.evaluation.inputs import EvaluationInput
from wsisr.evaluation.nuclei_scores import NucleiComparison, NucleiSummary, summarise_nuclei
from wsisr.evaluation.ring_scores import ResolutionSummary, RingScores, summarise_resolutions
from wsisr.imaging.texture import TextureComparison

Item = TypeVar("Item")

CEILING_DB = 80.0
"""PSNR that counts as perfect in a gain: one value in 1,500 is off by one grey level. Without it, one such value on
blank glass, which bicubic reproduces exactly, would make a gain of minus infinity."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Similarity of an enlarged image to the truth."""

    psnr: float
    """dB over all channels, peak 255; infinite if nothing differs."""
    ssim: float
    """Structural similarity, averaged over channels and pixels."""
    consistency_error: float
    """Mean absolute difference between the area mean of the image and the input, in grey levels."""
    texture: TextureComparison | None = None
    """None if not one whole square fits in the image."""


@dataclass(frozen=True, slots=True)
class FlatScores:
    """Model and bicubic compared where the truth has next to no contrast."""

    cells: int
    """Number of cells, 64 x 64 high-resolution px, with a contrast below 6 grey levels."""
    cells_below: int
    """Number of these cells in which the model's error is larger than bicubic's."""
    model_psnr: float
    """dB over all these cells."""
    bicubic_psnr: float

    @property
    def gain(self) -> float:
        return compute_gain(self.model_psnr, self.bicubic_psnr)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One level of one slide, and one input, enlarged again."""

    slide: Path
    level: int
    """The level whose pixels are the truth."""
    mpp_lr: float | None
    """Pixel size of the input in um/px; None if the slide does not record it."""
    mpp_hr: float | None
    """Pixel size of the truth in um/px."""
    source: EvaluationInput
    """How truth and input are made."""
    pixels: int
    """Number of high-resolution px that were compared."""
    level_pixels: int
    """Number of high-resolution px in the whole level; more than `pixels` if only a sample was compared."""
    model: Scores
    bicubic: Scores
    back_projection: Scores
    flat: FlatScores | None
    """None if the level has no flat cell."""
    nuclei: NucleiComparison | None = None
    """None if nuclei were not compared, or the truth is too coarse to show them."""
    rings: RingScores | None = None
    """None if not one whole window fits in the image."""

    @property
    def gain(self) -> float:
        """dB by which the model is above bicubic."""
        return compute_gain(self.model.psnr, self.bicubic.psnr)

    @property
    def back_projection_gain(self) -> float:
        """dB by which bicubic with back-projection is above bicubic: a gain without any network."""
        return compute_gain(self.back_projection.psnr, self.bicubic.psnr)


@dataclass(frozen=True, slots=True)
class InputSummary:
    """The gain on one input. Rows are averaged over each case, cases have equal weight."""

    label: str
    rows: int
    cases: int
    gain: float
    """Mean over cases, in dB above bicubic."""
    interval: tuple[float, float] | None
    """Its 95 % interval over cases, see `wsisr.evaluation.confidence`; None for one case."""
    back_projection_gain: float
    """Mean over cases."""
    worst: ScoreRow
    """The row with the lowest gain."""
    flat_gain: float | None
    """The lowest gain on flat cells of any row; None if no row has flat cells."""
    nuclei: NucleiSummary | None = None
    """None if no row has them."""
    resolution: ResolutionSummary | None = None
    """None if no row has one."""


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """Means and extremes over rows of equal weight. Gains are in dB above bicubic."""

    rows: int
    gain: float
    back_projection_gain: float
    kernel_gains: dict[str, float]
    """Mean gain over the rows of each input, by its label."""
    inputs: tuple[InputSummary, ...]
    """The gain on each input, in the order of the rows."""
    model_ssim: float
    bicubic_ssim: float
    consistency_error: float
    """Mean consistency error of the model, in grey levels."""
    worst: ScoreRow
    """The row with the lowest gain."""
    worst_slide: Path
    """The slide whose rows have the lowest mean gain."""
    worst_slide_gain: float
    flat_gain: float | None
    """The lowest gain on flat cells of any row; None if no row has flat cells."""
    model_texture: float | None
    """Mean distance from the texture of the truth; None if no row has one."""
    bicubic_texture: float | None


def compute_gain(psnr: float, baseline: float) -> float:
    """Return the difference of two PSNR in dB; values beyond 80 dB count as 80."""
    return min(psnr, CEILING_DB) - min(baseline, CEILING_DB)


def derive_file_case(slide: Path) -> str:
    """Return the case of a slide as datasets do by default: what names the patient in the file's name."""
    return Recipe().derive_case(slide)


def summarise_rows(rows: Sequence[ScoreRow], derive_case: Callable[[Path], str] = derive_file_case) -> ScoreSummary:
    """Summarise one or more rows."""
    slides, labels = _list_distinct(row.slide for row in rows), _list_distinct(row.source.label for row in rows)
    slide_gains = {slide: _mean_gain(row for row in rows if row.slide == slide) for slide in slides}
    worst_slide = min(slide_gains, key=slide_gains.__getitem__)
    return ScoreSummary(
        rows=len(rows),
        gain=_mean_gain(rows),
        back_projection_gain=fmean(row.back_projection_gain for row in rows),
        kernel_gains={label: _mean_gain(row for row in rows if row.source.label == label) for label in labels},
        inputs=tuple(
            _summarise_input([row for row in rows if row.source.label == label], derive_case) for label in labels
        ),
        model_ssim=fmean(row.model.ssim for row in rows),
        bicubic_ssim=fmean(row.bicubic.ssim for row in rows),
        consistency_error=fmean(row.model.consistency_error for row in rows),
        worst=min(rows, key=lambda row: row.gain),
        worst_slide=worst_slide,
        worst_slide_gain=slide_gains[worst_slide],
        flat_gain=_lowest_flat_gain(rows),
        model_texture=_mean_texture(row.model for row in rows),
        bicubic_texture=_mean_texture(row.bicubic for row in rows),
    )


def _summarise_input(rows: Sequence[ScoreRow], derive_case: Callable[[Path], str]) -> InputSummary:
    """Summarise the rows of one input."""
    cases: dict[str, list[ScoreRow]] = {}
    for row in rows:
        cases.setdefault(derive_case(row.slide), []).append(row)
    gains = [_mean_gain(of_case) for of_case in cases.values()]
    return InputSummary(
        label=rows[0].source.label,
        rows=len(rows),
        cases=len(cases),
        gain=fmean(gains),
        interval=mean_interval(gains),
        back_projection_gain=fmean(fmean(row.back_projection_gain for row in of_case) for of_case in cases.values()),
        worst=min(rows, key=lambda row: row.gain),
        flat_gain=_lowest_flat_gain(rows),
        nuclei=summarise_nuclei([[row.nuclei for row in of_case if row.nuclei] for of_case in cases.values()]),
        resolution=summarise_resolutions([[row.rings for row in of_case if row.rings] for of_case in cases.values()]),
    )


def _lowest_flat_gain(rows: Sequence[ScoreRow]) -> float | None:
    return min((row.flat.gain for row in rows if row.flat), default=None)


def _mean_gain(rows: Iterable[ScoreRow]) -> float:
    return fmean(row.gain for row in rows)


def _mean_texture(all_scores: Iterable[Scores]) -> float | None:
    distances = [scores.texture.distance for scores in all_scores if scores.texture]
    return fmean(distances) if distances else None


def _list_distinct(items: Iterable[Item]) -> list[Item]:
    """Return the distinct items, in the order of their first occurrence."""
    return list(dict.fromkeys(items))
