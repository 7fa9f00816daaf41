"""Sums that become scores. They grow block by block and come out as if the whole level had been measured at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wsisr.evaluation.blocks import CELL_PX, ScoreBoxes
from wsisr.evaluation.scores import FlatScores, Scores
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import Float32Array, count_ssim_windows, psnr_from_error, squared_differences, sum_ssim
from wsisr.imaging.pixels import Rgb, shrink_image
from wsisr.imaging.texture import OctaveContrasts, TextureAccumulator, measure_contrasts

CellValues = npt.NDArray[np.float64]

FLAT_CONTRAST = 6.0
"""Grey levels of standard deviation below which a cell is flat: glass, or tissue so pale that nothing shows."""


@dataclass(slots=True)
class UpscalerSums:
    """What adds up to the scores of one upscaler."""

    squared_error: float = 0.0
    ssim: float = 0.0
    consistency_error: float = 0.0
    flat_cell_errors: list[CellValues] = field(default_factory=list)
    """Squared error of each flat cell, block by block."""
    textures: TextureAccumulator = field(default_factory=TextureAccumulator)

    def add(self, high: Rgb, truth: TruthBlock) -> None:
        """All but likeness and texture, which several upscalers share the work for."""
        where = truth.regions
        errors = squared_differences(_crop(high, where.errors), _crop(truth.high, where.errors))
        self.squared_error += float(np.sum(errors, dtype=np.float64))
        self.consistency_error += _sum_consistency_error(high, truth)
        cells = _sum_cells(squared_differences(_crop(high, where.cells), _crop(truth.high, where.cells)).sum(axis=2))
        self.flat_cell_errors.append(cells[truth.is_flat])


@dataclass(frozen=True, slots=True)
class TruthBlock:
    """One block: what the upscaler got, and what it should have made of it."""

    low: Rgb
    """(h, w, 3)"""
    high: Rgb
    """(h*scale, w*scale, 3)"""
    regions: ScoreBoxes
    is_flat: npt.NDArray[np.bool_]
    """(rows of cells, columns of cells)"""

    @classmethod
    def from_images(cls, low: Rgb, high: Rgb, where: ScoreBoxes) -> TruthBlock:
        return cls(low, high, where, _measure_cell_contrast(_crop(high, where.cells)) < FLAT_CONTRAST)

    @property
    def scale(self) -> int:
        scale: int = self.high.shape[0] // self.low.shape[0]
        return scale


class ScoreAccumulator:
    """The sums of several upscalers on the same blocks, and the counts they share."""

    def __init__(self, upscalers: int) -> None:
        self._sums = [UpscalerSums() for _ in range(upscalers)]
        self.pixels = 0
        """High-resolution px whose error was counted."""
        self._windows = self._low_values = 0

    def add(self, images: list[Rgb], truth: TruthBlock) -> None:
        """One block: the image of each upscaler, (h*scale, w*scale, 3)."""
        where = truth.regions
        patch, texture = _crop(truth.high, where.ssim), _measure_textures(truth.high, where)
        likenesses = sum_ssim([_crop(image, where.ssim) for image in images], patch)
        for tally, image, likeness in zip(self._sums, images, likenesses, strict=True):
            tally.add(image, truth)
            tally.ssim += likeness
            if texture:
                tally.textures.add(_measure_textures(image, where), texture)
        self.pixels += where.errors.size.pixel_count
        self._windows += count_ssim_windows(patch)
        self._low_values += where.consistency.size.pixel_count * 3

    def compute_scores(self) -> list[Scores]:
        return [
            Scores(
                psnr=psnr_from_error(tally.squared_error / (self.pixels * 3)),
                ssim=tally.ssim / self._windows,
                consistency_error=tally.consistency_error / self._low_values,
                texture=tally.textures.compare(),
            )
            for tally in self._sums
        ]

    def compare_flat_cells(self, model: int, baseline: int) -> FlatScores | None:
        """How two of the upscalers, by number, compare on the flat cells; None where there are none."""
        errors, baseline_errors = (np.concatenate(self._sums[number].flat_cell_errors) for number in (model, baseline))
        if errors.size == 0:
            return None
        values = errors.size * CELL_PX**2 * 3
        return FlatScores(
            cells=int(errors.size),
            cells_below=int(np.sum(errors > baseline_errors)),
            model_psnr=psnr_from_error(float(errors.sum()) / values),
            bicubic_psnr=psnr_from_error(float(baseline_errors.sum()) / values),
        )


def _crop(image: Rgb, box: Box) -> Rgb:
    return image[box.rows, box.columns]


def _measure_textures(high: Rgb, where: ScoreBoxes) -> OctaveContrasts:
    """Empty where no whole cell is."""
    return measure_contrasts(_crop(high, where.textures)) if where.cells.size.pixel_count else []


def _sum_consistency_error(high: Rgb, truth: TruthBlock) -> float:
    """Sum of the differences in grey levels between the input and the output shrunk to its size by area mean."""
    if truth.regions.consistency.size.pixel_count == 0:
        return 0.0
    back = shrink_image(_crop(high, truth.regions.consistency * truth.scale), truth.scale, "area")
    return float(np.sum(np.abs(back.astype(np.int16) - _crop(truth.low, truth.regions.consistency)), dtype=np.int64))


def _sum_cells(plane: Float32Array | CellValues) -> CellValues:
    """(h, w) to (h/64, w/64)."""
    rows, columns = plane.shape[0] // CELL_PX, plane.shape[1] // CELL_PX
    sums: CellValues = plane.reshape(rows, CELL_PX, columns, CELL_PX).sum(axis=(1, 3), dtype=np.float64)
    return sums


def _measure_cell_contrast(high: Rgb) -> CellValues:
    """(h, w, 3) to (h/64, w/64): standard deviation of the grey level, the mean of the three colours, in each cell."""
    grey = high.sum(axis=2, dtype=np.float64)
    mean = _sum_cells(grey) / CELL_PX**2
    variance = _sum_cells(grey * grey) / CELL_PX**2 - mean * mean
    contrast: CellValues = np.sqrt(variance.clip(min=0)) / 3
    return contrast
