"""What is measured, as facts: scores of an image, rows of a table, and the summary of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from wsisr.imaging.pixels import FilterName
from wsisr.imaging.texture import TextureComparison

T = TypeVar("T")

CEILING_DB = 80.0
"""PSNR that counts as perfect in a gain: one value in 1,500 is off by one grey level. Without it, one such value on
blank glass, which bicubic reproduces exactly, would make a gain of minus infinity."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How close an enlarged image comes to the truth."""

    psnr: float
    """dB over all colours, peak 255; infinite where nothing differs."""
    ssim: float
    """Structural similarity, mean over colours and pixels."""
    consistency_error: float
    """Mean absolute difference between the image, shrunk by area mean, and the input, in grey levels."""
    texture: TextureComparison | None = None
    """None where the image holds no whole square."""


@dataclass(frozen=True, slots=True)
class FlatScores:
    """How model and bicubic compare where there is next to nothing to see."""

    cells: int
    """Cells of 64 x 64 high-resolution px with a contrast below 6 grey levels."""
    cells_below: int
    """Cells of these in which the model's error is larger than bicubic's."""
    model_psnr: float
    """dB over all these cells."""
    bicubic_psnr: float

    @property
    def gain(self) -> float:
        return compute_gain(self.model_psnr, self.bicubic_psnr)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One level of one slide, shrunk with one kernel and enlarged again."""

    slide: Path
    level: int
    """The level whose pixels are the truth."""
    mpp_lr: float | None
    """Pixel pitch of the input in um/px; None where the slide does not record it."""
    mpp_hr: float | None
    """Pixel pitch of the truth in um/px."""
    kernel: FilterName
    """What the input was made with."""
    pixels: int
    """High-resolution px that were compared."""
    level_pixels: int
    """High-resolution px that the whole level has to compare; more than `pixels` if a part stands for the level."""
    model: Scores
    bicubic: Scores
    back_projection: Scores
    flat: FlatScores | None
    """None where the level has no flat cell."""
    quality: int | None = None
    """Of the JPEG as which the input was stored first; None where it was not."""

    @property
    def gain(self) -> float:
        """dB of the model above bicubic."""
        return compute_gain(self.model.psnr, self.bicubic.psnr)

    @property
    def back_projection_gain(self) -> float:
        """dB of bicubic with back-projection above bicubic: what no network is needed for."""
        return compute_gain(self.back_projection.psnr, self.bicubic.psnr)


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What many rows come to. Gains are in dB above bicubic; every row counts alike."""

    rows: int
    gain: float
    back_projection_gain: float
    kernel_gains: dict[FilterName, float]
    """Mean gain over the rows of each kernel."""
    model_ssim: float
    bicubic_ssim: float
    consistency_error: float
    """Of the model."""
    worst: ScoreRow
    """The row with the lowest gain."""
    worst_slide: Path
    """The slide whose rows have the lowest mean gain."""
    worst_slide_gain: float
    flat_gain: float | None
    """The lowest gain on flat cells of any row; None where no row has flat cells."""
    model_texture: float | None
    """Mean distance from the texture of the truth; None where no row has any."""
    bicubic_texture: float | None


def compute_gain(psnr: float, baseline: float) -> float:
    """Difference of two PSNR in dB; beyond 80 dB both count as perfect."""
    return min(psnr, CEILING_DB) - min(baseline, CEILING_DB)


def summarise_rows(rows: Sequence[ScoreRow]) -> ScoreSummary:
    """Means and extremes of at least one row."""
    by_slide = {
        slide: _mean_gain(row for row in rows if row.slide == slide) for slide in _list_distinct(r.slide for r in rows)
    }
    worst_slide = min(by_slide, key=by_slide.__getitem__)
    return ScoreSummary(
        rows=len(rows),
        gain=_mean_gain(rows),
        back_projection_gain=fmean(row.back_projection_gain for row in rows),
        kernel_gains={
            kernel: _mean_gain(row for row in rows if row.kernel == kernel)
            for kernel in _list_distinct(r.kernel for r in rows)
        },
        model_ssim=fmean(row.model.ssim for row in rows),
        bicubic_ssim=fmean(row.bicubic.ssim for row in rows),
        consistency_error=fmean(row.model.consistency_error for row in rows),
        worst=min(rows, key=lambda row: row.gain),
        worst_slide=worst_slide,
        worst_slide_gain=by_slide[worst_slide],
        flat_gain=min((row.flat.gain for row in rows if row.flat), default=None),
        model_texture=_mean_texture(row.model for row in rows),
        bicubic_texture=_mean_texture(row.bicubic for row in rows),
    )


def _mean_gain(rows: Iterable[ScoreRow]) -> float:
    return fmean(row.gain for row in rows)


def _mean_texture(found: Iterable[Scores]) -> float | None:
    distances = [scores.texture.distance for scores in found if scores.texture]
    return fmean(distances) if distances else None


def _list_distinct(items: Iterable[T]) -> list[T]:
    """The different items, in the order in which they come first."""
    return list(dict.fromkeys(items))
