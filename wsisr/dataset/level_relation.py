"""The measured relation of two levels of a slide: shift, downsample and filter. Vendors' levels need not agree.

It is measured on a few fields with contrast: the shift between the area mean of the finer level and the coarser one, by
phase correlation, then least squares on gradients (Lucas and Kanade); the drift of this shift over the slide, by which
the true downsample differs from the nominal one; and the filter along each axis, by least squares on the pixels of the
finer level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from wsisr.dataset.patch_quality import to_grey
from wsisr.dataset.registration.refinement import Float64Array
from wsisr.dataset.registration.translation import Translation, register_translation
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import mean_squared_error, psnr_from_error
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image

MAX_RELATION_FIELDS = 16
"""Most fields by which a relation is measured."""

COMPARED_KERNELS: tuple[FilterName, ...] = ("area", "bicubic", "lanczos")

MIN_CORRELATION = 0.8
"""Correlation below which two levels are taken to show different tissue."""

MAX_SHIFT_PX = 0.5
"""Largest shift, in px of the coarser level; pairs that are further apart would teach a network to shift."""


@dataclass(frozen=True, slots=True)
class FieldPair:
    """The same field at two levels."""

    box: Box
    """In px of the finer level."""
    high: Rgb
    low: Rgb


class LevelRelation(Struct, frozen=True):
    """The measured relation. All lengths are in px of the finer level."""

    fine: int
    coarse: int
    """Indices of the levels."""
    scale: int
    """Nominal downsample."""
    downsample: float
    """Measured downsample."""
    shift: tuple[float, float]
    """x and y by which the coarser level is shifted right and down; median over the fields."""
    spread: float
    """Median distance of the shifts of single fields from `shift`."""
    correlation: float
    """Correlation of registered fields; median over the fields."""
    closest: str
    """The one of `COMPARED_KERNELS` that is closest to the coarser level."""
    psnr: dict[str, float]
    """PSNR of each of them against the coarser level, in dB."""
    kernel_x: tuple[float, ...]
    """Weights along x of 4 x scale px of the finer level around a pixel of the coarser one; their sum is about 1."""
    kernel_y: tuple[float, ...]
    """The same along y."""
    refused: str | None = None
    """Reason why these levels give no pairs."""

    def __post_init__(self) -> None:
        if not len(self.kernel_x) == len(self.kernel_y) == 4 * self.scale:
            raise ValueError("a kernel has 4 x scale weights")


def measure_relation(levels: tuple[int, int], scale: int, fields: Sequence[FieldPair]) -> LevelRelation:
    """Measure the relation of two levels on at least one field with contrast."""
    registered = [_register_field(field, scale) for field in fields]
    shifts = np.array([[translation.dx, translation.dy] for translation in registered]) * scale
    median_shift = np.median(shifts, axis=0)
    correlation = float(np.median([translation.correlation for translation in registered]))
    kernel_x, kernel_y = _estimate_kernels(fields, scale)
    psnr = {kernel: _measure_psnr(fields, scale, kernel) for kernel in COMPARED_KERNELS}
    refused = None
    if correlation < MIN_CORRELATION:
        refused = f"show different things (correlation {correlation:.2f})"
    elif np.abs(median_shift).max() > MAX_SHIFT_PX * scale:
        refused = f"lie {np.abs(median_shift).max():.2g} px apart"
    return LevelRelation(
        *levels,
        scale,
        downsample=round(scale * (1 + _measure_drift(fields, shifts)), 6),
        shift=(round(float(median_shift[0]), 3), round(float(median_shift[1]), 3)),
        spread=round(float(np.median(np.hypot(*(shifts - median_shift).T))), 3),
        correlation=round(correlation, 4),
        closest=max(psnr, key=lambda kernel: psnr[kernel]),
        psnr={kernel: round(value, 2) for kernel, value in psnr.items()},
        kernel_x=tuple(round(float(weight), 4) for weight in kernel_x),
        kernel_y=tuple(round(float(weight), 4) for weight in kernel_y),
        refused=refused,
    )


def _register_field(field: FieldPair, scale: int) -> Translation:
    return register_translation(to_grey(shrink_image(field.high, scale, "area")), to_grey(field.low))


def _measure_drift(fields: Sequence[FieldPair], shifts: Float64Array) -> float:
    """Return the change of the shift per px of the finer level, the same for both axes; 0 for fewer than 4 fields."""
    centres = np.array([[field.box.left + field.box.right, field.box.top + field.box.bottom] for field in fields]) / 2
    offsets = centres - centres.mean(axis=0)
    sum_of_squares = float((offsets**2).sum())
    if len(fields) < 4 or sum_of_squares == 0:
        return 0.0
    # Negative: with a larger downsample than the nominal one, things lie further left the further right they are.
    return -float((offsets * (shifts - shifts.mean(axis=0))).sum() / sum_of_squares)


def _measure_psnr(fields: Sequence[FieldPair], scale: int, kernel: FilterName) -> float:
    errors = [mean_squared_error(shrink_image(field.high, scale, kernel), field.low) for field in fields]
    # Equal images have an infinite PSNR, which JSON cannot hold.
    return min(psnr_from_error(float(np.mean(errors))), 99.0)


def _estimate_kernels(fields: Sequence[FieldPair], scale: int) -> tuple[Float64Array, Float64Array]:
    """Estimate the weights along x and along y, alternating from the area mean, each with the other held fixed."""
    kernel_x = kernel_y = np.repeat([0.0, 1 / scale, 0.0], [scale + scale // 2, scale, scale + scale // 2])
    for _ in range(3):
        kernel_x = _estimate_kernel(fields, scale, kernel_y, axis=1)
        kernel_y = _estimate_kernel(fields, scale, kernel_x, axis=0)
    return kernel_x, kernel_y


def _estimate_kernel(fields: Sequence[FieldPair], scale: int, cross_kernel: Float64Array, axis: int) -> Float64Array:
    """Estimate 4 x scale weights along an axis by ridge regression; `cross_kernel` filters along the other axis."""
    taps = 4 * scale
    gram, product = np.zeros((taps, taps)), np.zeros(taps)
    for field in fields:
        rows, values = _kernel_equations(field, scale, cross_kernel / cross_kernel.sum(), axis)
        gram += rows.T @ rows
        product += rows.T @ values
    ridge = 1e-4 * float(np.trace(gram)) / taps + 1e-9
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(taps), product))


def _kernel_equations(
    field: FieldPair, scale: int, cross_kernel: Float64Array, axis: int
) -> tuple[Float64Array, Float64Array]:
    """Return (n, 4 scale) px of the finer level, filtered across, and (n,) of the coarser, less the mean."""
    high, low = to_grey(field.high).astype(np.float64), to_grey(field.low).astype(np.float64)
    if axis == 0:
        high, low = high.T, low.T
    # The first full window begins half a scale from the edge and is centred on coarse px 2.
    windows = np.lib.stride_tricks.sliding_window_view(high, len(cross_kernel), axis=0)[scale // 2 :: scale]
    lines = windows @ cross_kernel
    around = np.lib.stride_tricks.sliding_window_view(lines, 4 * scale, axis=1)[:, scale // 2 :: scale]
    inner = low[2 : 2 + around.shape[0], 2 : 2 + around.shape[1]]
    mean = float(lines.mean())
    return around.reshape(-1, 4 * scale) - mean, inner.ravel() - mean
