"""Sums over blocks that become scores: the same ones as if the whole level had been measured at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wsisr.evaluation.blocks import CELL_PX, ScoreBoxes
from wsisr.evaluation.scores import FlatScores, Scores
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import Float32Array, count_ssim_windows, psnr_from_error, square_differences, sum_ssim
from wsisr.imaging.pixels import Rgb, average_blocks
from wsisr.imaging.ring_correlation import RingAccumulator
from wsisr.imaging.texture import OctaveContrasts, TextureAccumulator, measure_contrasts

CellValues = npt.NDArray[np.float64]
"""(rows of cells, columns of cells), or a list of them: one number for each cell of 64 x 64 px."""

FLAT_CONTRAST = 6.0
"""Standard deviation in grey levels below which a cell counts as flat: glass, or tissue too pale to show anything."""


@dataclass(slots=True)
class UpscalerSums:
    """Sums that become the scores of one upscaler."""

    squared_error: float = 0.0
    ssim: float = 0.0
    consistency_error: float = 0.0
    flat_cell_errors: list[CellValues] = field(default_factory=list)
    """Squared error of each flat cell, block by block."""
    textures: TextureAccumulator = field(default_factory=TextureAccumulator)

    def add(self, high: Rgb, truth: TruthBlock) -> None:
        """Add an enlarged block, except for SSIM and texture, which `ScoreAccumulator` measures for all upscalers."""
        boxes = truth.boxes
        errors = square_differences(_crop(high, boxes.errors), _crop(truth.high, boxes.errors))
        self.squared_error += float(np.sum(errors, dtype=np.float64))
        self.consistency_error += _sum_consistency_error(high, truth)
        errors = square_differences(_crop(high, boxes.cells), _crop(truth.high, boxes.cells))
        self.flat_cell_errors.append(_sum_cells(errors.sum(axis=2))[truth.is_flat])


@dataclass(frozen=True, slots=True)
class TruthBlock:
    """One block: the input of the upscalers, and the truth that their output is compared with."""

    low: Rgb
    """(h, w, 3)"""
    high: Rgb
    """(h*scale, w*scale, 3)"""
    boxes: ScoreBoxes
    is_flat: npt.NDArray[np.bool_]
    """(rows of cells, columns of cells)"""

    @classmethod
    def from_images(cls, low: Rgb, high: Rgb, boxes: ScoreBoxes) -> TruthBlock:
        return cls(low, high, boxes, _measure_cell_contrast(_crop(high, boxes.cells)) < FLAT_CONTRAST)

    @property
    def scale(self) -> int:
        scale: int = self.high.shape[0] // self.low.shape[0]
        return scale


class ScoreAccumulator:
    """Sums up the scores of several upscalers over the same blocks."""

    def __init__(self, upscalers: int) -> None:
        self._sums = [UpscalerSums() for _ in range(upscalers)]
        self.rings = RingAccumulator(upscalers)
        self.pixel_count = 0
        """High-resolution pixels that were compared."""
        self._ssim_windows = self._low_values = 0

    def add(self, images: list[Rgb], truth: TruthBlock) -> None:
        """Add one block: the images of the upscalers, each (h*scale, w*scale, 3)."""
        boxes = truth.boxes
        patch, texture = _crop(truth.high, boxes.ssim), _measure_texture(truth.high, boxes)
        ssim_sums = sum_ssim([_crop(image, boxes.ssim) for image in images], patch)
        for sums, image, ssim_sum in zip(self._sums, images, ssim_sums, strict=True):
            sums.add(image, truth)
            sums.ssim += ssim_sum
            if texture:
                sums.textures.add(_measure_texture(image, boxes), texture)
        self.rings.add([_crop(image, boxes.windows) for image in images], _crop(truth.high, boxes.windows))
        self.pixel_count += boxes.errors.size.pixel_count
        self._ssim_windows += count_ssim_windows(patch)
        self._low_values += boxes.consistency.size.pixel_count * 3

    def compute_scores(self) -> list[Scores]:
        """Return the scores of each upscaler, in the order of their images."""
        return [
            Scores(
                psnr=psnr_from_error(sums.squared_error / (self.pixel_count * 3)),
                ssim=sums.ssim / self._ssim_windows,
                consistency_error=sums.consistency_error / self._low_values,
                texture=sums.textures.compare(),
            )
            for sums in self._sums
        ]

    def compare_flat_cells(self, model: int, baseline: int) -> FlatScores | None:
        """Compare two of the upscalers, given by their index, on the flat cells; None if there are none."""
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


def _measure_texture(high: Rgb, boxes: ScoreBoxes) -> OctaveContrasts:
    """Measure the contrasts of the whole cells in a block; empty if it has none."""
    return measure_contrasts(_crop(high, boxes.textures)) if boxes.cells.size.pixel_count else []


def _sum_consistency_error(high: Rgb, truth: TruthBlock) -> float:
    """Sum up the absolute differences in grey levels between the input and the area mean of the output."""
    box = truth.boxes.consistency
    if box.size.pixel_count == 0:
        return 0.0
    area_mean = average_blocks(_crop(high, box * truth.scale), truth.scale)
    return float(np.sum(np.abs(area_mean.astype(np.int16) - _crop(truth.low, box)), dtype=np.int64))


def _sum_cells(plane: Float32Array | CellValues) -> CellValues:
    """Sum up (h, w) in cells: (h/64, w/64)."""
    rows, columns = plane.shape[0] // CELL_PX, plane.shape[1] // CELL_PX
    sums: CellValues = plane.reshape(rows, CELL_PX, columns, CELL_PX).sum(axis=(1, 3), dtype=np.float64)
    return sums


def _measure_cell_contrast(high: Rgb) -> CellValues:
    """Return the standard deviation in each cell of the mean of the channels: (h, w, 3) to (h/64, w/64)."""
    grey = high.sum(axis=2, dtype=np.float64)
    mean = _sum_cells(grey) / CELL_PX**2
    variance = _sum_cells(grey * grey) / CELL_PX**2 - mean * mean
    contrast: CellValues = np.sqrt(variance.clip(min=0)) / 3
    return contrast
