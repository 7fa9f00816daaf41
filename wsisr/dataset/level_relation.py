"""How two levels of a slide truly lie to each other, measured: place, downsample and filter; levels need not agree.

From a few fields with contrast: the shift that lays the area mean of the finer level onto the coarser one, by least
squares on gradients (Lucas and Kanade), after phase correlation; its drift over the slide, by which the true downsample
differs from the nominal one; and the filter along each axis, by least squares on the finer level's pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.dataset.patch_quality import GreyImage, to_grey
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import mean_squared_error, psnr_from_error
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image

Floats = npt.NDArray[np.float64]

COMPARED_KERNELS: tuple[FilterName, ...] = ("area", "bicubic", "lanczos")

MIN_CORRELATION = 0.8
"""Below which two levels are not taken to show the same."""

MAX_SHIFT_PX = 0.5
"""In px of the coarser level; what lies further apart gives pairs that teach a network to shift."""

_EDGE_PX = 2
"""Coarse px at the edges of a field that no estimate looks at: the filter reaches over them."""


@dataclass(frozen=True, slots=True)
class FieldPair:
    """The same field at two levels."""

    box: Box
    """In px of the finer level."""
    high: Rgb
    low: Rgb


@dataclass(frozen=True, slots=True)
class LevelRelation:
    """What was found. All lengths are in px of the finer level."""

    fine: int
    coarse: int
    """Numbers of the levels."""
    scale: int
    """The nominal downsample."""
    downsample: float
    """As measured over the slide."""
    shift: tuple[float, float]
    """x and y by which the coarser level shows things too far right and down; median over the fields."""
    spread: float
    """Median distance of the fields' own shifts from that."""
    correlation: float
    """Median over the fields, once they lie upon each other."""
    closest: str
    """The one of `KERNELS` that gives the coarser level best."""
    psnr: dict[str, float]
    """Of each of them against the coarser level, in dB."""
    kernel_x: tuple[float, ...]
    """Weights of 4 x scale px of the finer level around a pixel of the coarser one; their sum is about 1."""
    kernel_y: tuple[float, ...]
    refused: str | None = None
    """Why these levels give no pairs."""


def measure_relation(levels: tuple[int, int], scale: int, fields: Sequence[FieldPair]) -> LevelRelation:
    """From at least one field with contrast."""
    found = [_register_field(field, scale) for field in fields]
    shifts = np.array([[each.dx, each.dy] for each in found]) * scale
    middle = np.median(shifts, axis=0)
    correlation = float(np.median([each.correlation for each in found]))
    along_x, along_y = _estimate_kernels(fields, scale)
    psnr = {kernel: _measure_psnr(fields, scale, kernel) for kernel in COMPARED_KERNELS}
    refused = None
    if correlation < MIN_CORRELATION:
        refused = f"show different things (correlation {correlation:.2f})"
    elif np.abs(middle).max() > MAX_SHIFT_PX * scale:
        refused = f"lie {np.abs(middle).max():.2g} px apart"
    return LevelRelation(
        *levels,
        scale,
        downsample=round(scale * (1 + _measure_drift(fields, shifts)), 6),
        shift=(round(float(middle[0]), 3), round(float(middle[1]), 3)),
        spread=round(float(np.median(np.hypot(*(shifts - middle).T))), 3),
        correlation=round(correlation, 4),
        closest=max(psnr, key=lambda kernel: psnr[kernel]),
        psnr={kernel: round(value, 2) for kernel, value in psnr.items()},
        kernel_x=tuple(round(float(weight), 4) for weight in along_x),
        kernel_y=tuple(round(float(weight), 4) for weight in along_y),
        refused=refused,
    )


@dataclass(frozen=True, slots=True)
class _FieldShift:
    """How one field lies, in px of the coarser level."""

    dx: float
    dy: float
    correlation: float


def _register_field(field: FieldPair, scale: int) -> _FieldShift:
    start = to_grey(shrink_image(field.high, scale, "area")).astype(np.float32)
    target = to_grey(field.low)
    window = cv2.createHanningWindow((start.shape[1], start.shape[0]), cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(start - start.mean(), target - target.mean(), window)
    if max(abs(dx), abs(dy)) > min(start.shape) / 4:
        dx = dy = 0.0  # nothing that could be followed
    for _ in range(4):
        step_x, step_y = _solve_step(_shift_image(start, dx, dy), target)
        dx, dy = dx + float(np.clip(step_x, -1, 1)), dy + float(np.clip(step_y, -1, 1))
    moved = _crop_edge(_shift_image(start, dx, dy), dx, dy)
    return _FieldShift(dx, dy, _correlate(moved, _crop_edge(target, dx, dy)))


def _solve_step(image: GreyImage, target: GreyImage) -> tuple[float, float]:
    """By how much more the image has to move right and down, brightness and contrast left free."""
    down, right = (np.asarray(each, np.float32) for each in np.gradient(image))
    columns = [_crop_edge(each) for each in (-right, -down, image, np.ones_like(image))]
    rows = np.stack([column.ravel() for column in columns], axis=1).astype(np.float64)
    found = np.linalg.lstsq(rows, _crop_edge(target).ravel().astype(np.float64), rcond=None)[0]
    gain = found[2] if abs(found[2]) > 0.1 else 1.0
    return float(found[0] / gain), float(found[1] / gain)


def _shift_image(image: GreyImage, dx: float, dy: float) -> GreyImage:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    size = (image.shape[1], image.shape[0])
    moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _crop_edge(image: GreyImage, dx: float = 0, dy: float = 0) -> GreyImage:
    edge = min(_EDGE_PX + int(max(abs(dx), abs(dy))), (min(image.shape) - 2) // 2)
    return image[edge:-edge, edge:-edge]


def _correlate(one: GreyImage, other: GreyImage) -> float:
    first, second = one - one.mean(dtype=np.float64), other - other.mean(dtype=np.float64)
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / size if size > 0 else 0.0


def _measure_drift(fields: Sequence[FieldPair], shifts: Floats) -> float:
    """By how much the shift grows per px of the finer level, both axes alike; 0 where the fields lie too close."""
    centres = np.array([[field.box.left + field.box.right, field.box.top + field.box.bottom] for field in fields]) / 2
    from_middle = centres - centres.mean(axis=0)
    reach = float((from_middle**2).sum())
    if len(fields) < 4 or reach == 0:
        return 0.0
    return -float((from_middle * (shifts - shifts.mean(axis=0))).sum() / reach)


def _measure_psnr(fields: Sequence[FieldPair], scale: int, kernel: FilterName) -> float:
    errors = [mean_squared_error(shrink_image(field.high, scale, kernel), field.low) for field in fields]
    return min(psnr_from_error(float(np.mean(errors))), 99.0)


def _estimate_kernels(fields: Sequence[FieldPair], scale: int) -> tuple[Floats, Floats]:
    """Weights along x and along y: each found with the other as it is, in turns, from area means on."""
    along_x = along_y = np.repeat([0.0, 1 / scale, 0.0], [scale + scale // 2, scale, scale + scale // 2])
    for _ in range(3):
        along_x = _estimate_kernel(fields, scale, along_y, axis=1)
        along_y = _estimate_kernel(fields, scale, along_x, axis=0)
    return along_x, along_y


def _estimate_kernel(fields: Sequence[FieldPair], scale: int, across: Floats, axis: int) -> Floats:
    """4 x scale weights along an axis, a little held towards 0."""
    taps = 4 * scale
    square, right = np.zeros((taps, taps)), np.zeros(taps)
    for field in fields:
        rows, values = _kernel_equations(field, scale, across / across.sum(), axis)
        square += rows.T @ rows
        right += rows.T @ values
    ridge = 1e-4 * float(np.trace(square)) / taps + 1e-9
    return np.asarray(np.linalg.solve(square + ridge * np.eye(taps), right))


def _kernel_equations(field: FieldPair, scale: int, across: Floats, axis: int) -> tuple[Floats, Floats]:
    """(n, 4 scale) px of the finer level, filtered along the other axis, and (n,) of the coarser; both without a mean.

    The first window that begins half a scale from the edge is that of coarse px 2.
    """
    high, low = to_grey(field.high).astype(np.float64), to_grey(field.low).astype(np.float64)
    if axis == 0:
        high, low = high.T, low.T
    lines = np.lib.stride_tricks.sliding_window_view(high, len(across), axis=0)[scale // 2 :: scale] @ across
    around = np.lib.stride_tricks.sliding_window_view(lines, 4 * scale, axis=1)[:, scale // 2 :: scale]
    inner = low[2 : 2 + around.shape[0], 2 : 2 + around.shape[1]]
    mean = float(lines.mean())
    return around.reshape(-1, 4 * scale) - mean, inner.ravel() - mean
