"""Charts of measured filter kernels beside those of the area mean and of bicubic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from wsisr.dataset.level_relation import LevelRelation
from wsisr.dataset.patch_selection import sample_evenly
from wsisr.reports.charts import Curve, CurveChart, render_curve_figure, render_curves

KernelWeights = npt.NDArray[np.float64]

MAX_CURVES = 60
"""Most relations whose kernels are drawn individually, as faint lines."""

LABEL = "Weights along an axis, in coarse px from the middle"
SMALL_CHART = CurveChart(LABEL, width=150, height=44, x_ends=(-2, 2), y_ends=(-0.35, 1.35))
LARGE_CHART = replace(SMALL_CHART, width=340, height=150, x_ticks={-2: "-2", -1: "-1", 0: "0", 1: "+1", 2: "+2"})


def render_kernels(scale: int, relations: Sequence[LevelRelation]) -> Markup:
    """Render the filter weights of all relations of a scale along both axes, beside area mean and bicubic."""
    if len(relations) > 1:
        shown = sample_evenly(relations, MAX_CURVES)
        curves = [_make_curve("faint", scale, along) for each in shown for along in (each.kernel_x, each.kernel_y)]
        all_weights = [along for relation in relations for along in (relation.kernel_x, relation.kernel_y)]
        curves.append(_make_curve("found", scale, np.median(all_weights, axis=0)))
        legend = {"found": "median of all", "faint": "each, along x and y"}
    else:
        curves = _make_axis_curves(relations[0])
        legend = {"found": "along x", "found second": "along y"}
    legend |= {"bicubic": "bicubic (Pillow)", "area": "area mean"}
    svg = render_curves(LARGE_CHART, [*_make_reference_curves(scale), *curves])
    return render_curve_figure(f"x{scale}", f"{len(relations)} measured", svg, legend)


def render_small_kernel(relation: LevelRelation) -> Markup:
    """Render the filter weights of one relation small, without ticks and legend."""
    return render_curves(SMALL_CHART, [*_make_reference_curves(relation.scale), *_make_axis_curves(relation)])


def bicubic_weights(scale: int) -> KernelWeights:
    """Return the 4 x scale weights of Pillow's antialiased bicubic (a = -0.5) around a coarse px; their sum is 1."""
    distance = np.abs(_fine_pixel_centres(scale))
    near, far = (1.5 * distance - 2.5) * distance**2 + 1, ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, far)
    return np.asarray(weights / weights.sum())


def area_weights(scale: int) -> KernelWeights:
    """Return the 4 x scale weights of an area mean: equal within the coarse px, 0 around it."""
    return np.asarray((np.abs(_fine_pixel_centres(scale)) < 0.5) / scale)


def _fine_pixel_centres(scale: int) -> KernelWeights:
    """Return the centres of 4 x scale fine px, in coarse px from the centre of the coarse px."""
    return (np.arange(4 * scale) + 0.5) / scale - 2


def _make_reference_curves(scale: int) -> list[Curve]:
    return [_make_curve("area", scale, area_weights(scale)), _make_curve("bicubic", scale, bicubic_weights(scale))]


def _make_axis_curves(relation: LevelRelation) -> list[Curve]:
    along_x = _make_curve("found", relation.scale, relation.kernel_x)
    return [along_x, _make_curve("found second", relation.scale, relation.kernel_y)]


def _make_curve(style: str, scale: int, weights: Sequence[float] | KernelWeights) -> Curve:
    """Return weights with x in coarse px and y multiplied by the scale, so that an area mean is 1 high at any scale."""
    heights = np.clip(np.asarray(weights) * scale, -9, 9)
    return Curve(style, list(zip(_fine_pixel_centres(scale).tolist(), heights.tolist(), strict=True)))
