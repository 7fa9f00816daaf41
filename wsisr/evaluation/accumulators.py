"""Sums that become scores. They grow block by block and come out as if the whole level had been measured at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wsisr.evaluation.blocks import CELL_PX, Regions
from wsisr.evaluation.scores import Flat, Scores
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import Float32Array, count_ssim_windows, psnr_from_error, squared_differences, sum_ssim
from wsisr.imaging.pixels import Rgb, shrink_image
from wsisr.imaging.texture import OctaveContrasts, TextureAccumulator, measure_contrasts

Doubles = npt.NDArray[np.float64]

FLAT_CONTRAST = 6.0
"""Grey levels of standard deviation below which a cell is flat: glass, or tissue so pale that nothing shows."""


@dataclass(slots=True)
class Tally:
    """What adds up to the scores of one upscaler."""

    squares: float = 0.0
    likeness: float = 0.0
    drift: float = 0.0
    flat: list[Doubles] = field(default_factory=list)
    """Squared error of each flat cell, block by block."""
    textures: TextureAccumulator = field(default_factory=TextureAccumulator)

    def add(self, high: Rgb, truth: Truth) -> None:
        """All but likeness and texture, which several upscalers share the work for."""
        where = truth.where
        errors = squared_differences(_cut(high, where.values), _cut(truth.high, where.values))
        self.squares += float(np.sum(errors, dtype=np.float64))
        self.drift += _drift(high, truth)
        cells = _cell_sums(squared_differences(_cut(high, where.cells), _cut(truth.high, where.cells)).sum(axis=2))
        self.flat.append(cells[truth.is_flat])


@dataclass(frozen=True, slots=True)
class Truth:
    """One block: what the upscaler got, and what it should have made of it."""

    low: Rgb
    """(h, w, 3)"""
    high: Rgb
    """(h*scale, w*scale, 3)"""
    where: Regions
    is_flat: npt.NDArray[np.bool_]
    """(rows of cells, columns of cells)"""

    @classmethod
    def of(cls, low: Rgb, high: Rgb, where: Regions) -> Truth:
        return cls(low, high, where, _contrasts(_cut(high, where.cells)) < FLAT_CONTRAST)

    @property
    def scale(self) -> int:
        scale: int = self.high.shape[0] // self.low.shape[0]
        return scale


class Tallies:
    """The sums of several upscalers on the same blocks, and the counts they share."""

    def __init__(self, upscalers: int) -> None:
        self._tallies = [Tally() for _ in range(upscalers)]
        self.pixels = 0
        """High-resolution px whose error was counted."""
        self._windows = self._low_values = 0

    def add(self, images: list[Rgb], truth: Truth) -> None:
        """One block: the image of each upscaler, (h*scale, w*scale, 3)."""
        where = truth.where
        patch, texture = _cut(truth.high, where.windows), _textures(truth.high, where)
        likenesses = sum_ssim([_cut(image, where.windows) for image in images], patch)
        for tally, image, likeness in zip(self._tallies, images, likenesses, strict=True):
            tally.add(image, truth)
            tally.likeness += likeness
            if texture:
                tally.textures.add(_textures(image, where), texture)
        self.pixels += where.values.size.pixel_count
        self._windows += count_ssim_windows(patch)
        self._low_values += where.low.size.pixel_count * 3

    def scores(self) -> list[Scores]:
        return [
            Scores(
                psnr=psnr_from_error(tally.squares / (self.pixels * 3)),
                ssim=tally.likeness / self._windows,
                consistency=tally.drift / self._low_values,
                texture=tally.textures.compare(),
            )
            for tally in self._tallies
        ]

    def flat(self, model: int, baseline: int) -> Flat | None:
        """How two of the upscalers, by number, compare on the flat cells; None where there are none."""
        errors, baseline_errors = (np.concatenate(self._tallies[number].flat) for number in (model, baseline))
        if errors.size == 0:
            return None
        values = errors.size * CELL_PX**2 * 3
        return Flat(
            cells=int(errors.size),
            cells_below=int(np.sum(errors > baseline_errors)),
            model_psnr=psnr_from_error(float(errors.sum()) / values),
            bicubic_psnr=psnr_from_error(float(baseline_errors.sum()) / values),
        )


def _cut(image: Rgb, box: Box) -> Rgb:
    return image[box.rows, box.columns]


def _textures(high: Rgb, where: Regions) -> OctaveContrasts:
    """Empty where no whole cell is."""
    return measure_contrasts(_cut(high, where.textures)) if where.cells.size.pixel_count else []


def _drift(high: Rgb, truth: Truth) -> float:
    """Sum of the differences in grey levels between the input and the output shrunk to its size by area mean."""
    if truth.where.low.size.pixel_count == 0:
        return 0.0
    back = shrink_image(_cut(high, truth.where.low * truth.scale), truth.scale, "area")
    return float(np.sum(np.abs(back.astype(np.int16) - _cut(truth.low, truth.where.low)), dtype=np.int64))


def _cell_sums(plane: Float32Array | Doubles) -> Doubles:
    """(h, w) to (h/64, w/64)."""
    rows, columns = plane.shape[0] // CELL_PX, plane.shape[1] // CELL_PX
    sums: Doubles = plane.reshape(rows, CELL_PX, columns, CELL_PX).sum(axis=(1, 3), dtype=np.float64)
    return sums


def _contrasts(high: Rgb) -> Doubles:
    """(h, w, 3) to (h/64, w/64): standard deviation of the grey level, the mean of the three colours, in each cell."""
    grey = high.sum(axis=2, dtype=np.float64)
    mean = _cell_sums(grey) / CELL_PX**2
    variance = _cell_sums(grey * grey) / CELL_PX**2 - mean * mean
    contrast: Doubles = np.sqrt(variance.clip(min=0)) / 3
    return contrast
