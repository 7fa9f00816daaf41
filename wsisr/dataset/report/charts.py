"""SVG charts of a report: histograms, and measured filter kernels beside those of the area mean and of bicubic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsisr.dataset.patch_selection import sample_evenly
from wsisr.dataset.report.contents import ReportedRelation
from wsisr.dataset.report.markup import NO_BREAK_SPACE, Html, HtmlChild, html_element

KernelWeights = npt.NDArray[np.float64]

HISTOGRAM_BINS = 30

MAX_CURVES = 60
"""Most relations whose kernels are drawn individually, as faint lines."""

RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class MeasureHistogram:
    """Values to show as a histogram, with their title and meaning."""

    title: str
    unit: str
    meaning: str
    values: Sequence[float]
    """All at least 0."""


def render_histogram(measure: MeasureHistogram) -> Html:
    """Render a histogram; its last bar also counts all larger values."""
    values = np.asarray(measure.values, np.float64)
    end = _round_up(float(np.percentile(values, 99.5)))
    counts, _ = np.histogram(np.minimum(values, end * (1 - RELATIVE_TOLERANCE)), bins=HISTOGRAM_BINS, range=(0, end))
    width, height, foot = 300, 96, 18
    bar = width / HISTOGRAM_BINS
    bars = [
        html_element("rect", x=index * bar + 0.5, y=height - bar_height, width=bar - 1, height=bar_height)
        for index, bar_height in enumerate(height * counts / counts.max())
        if bar_height
    ]
    ticks = [
        _render_tick(width * share, height, f"{end * share:.3g}", anchor)
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    ]
    median, percentile_95 = (float(np.percentile(values, share)) for share in (50, 95))
    median_x = width * min(median / end, 1)
    median_line = html_element("line", x1=median_x, x2=median_x, y1=0, y2=height, class_="median")
    chart = html_element(
        "svg",
        html_element("g", bars, class_="bars"),
        html_element("line", x1=0, x2=width, y1=height, y2=height, class_="axis"),
        median_line,
        ticks,
        viewBox=f"-6 -4 {width + 12} {height + foot + 4}",
        role="img",
        aria_label=f"Histogram: {measure.title}",
    )
    unit = f"{NO_BREAK_SPACE}{measure.unit}" if measure.unit else ""
    summary = (
        f"median {median:.3g}{unit}, 95{NO_BREAK_SPACE}% up to {percentile_95:.3g}{unit}, "
        f"{len(values):,}{NO_BREAK_SPACE}values"
    )
    title = html_element("figcaption", html_element("b", measure.title), f", {measure.unit}" if measure.unit else "")
    return html_element(
        "figure",
        title,
        chart,
        html_element("p", summary, class_="numbers"),
        html_element("p", measure.meaning, class_="note"),
        class_="chart",
    )


def _round_up(value: float) -> float:
    """Round up to 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-3)))
    candidates = (step * power for step in (1, 2, 2.5, 5, 10))
    return float(next(end for end in candidates if end >= value * (1 - RELATIVE_TOLERANCE)))


def _render_tick(x: float, height: float, text: str, anchor: str = "middle") -> Html:
    return html_element("text", text, x=x, y=height + 14, text_anchor=anchor, class_="tick")


def render_kernels(scale: int, relations: Sequence[ReportedRelation]) -> Html:
    """Render the filter weights of all relations of a scale along both axes, beside area mean and bicubic."""
    weights = [along for relation in relations for along in (relation.along_x, relation.along_y)]
    if len(relations) > 1:
        drawn = [along for each in sample_evenly(relations, MAX_CURVES) for along in (each.along_x, each.along_y)]
        curves = [_render_curve(along, scale, "faint") for along in drawn]
        curves.append(_render_curve(np.median(weights, axis=0), scale, "found"))
        legend = [("found", "median of all"), ("faint", "each, along x and y")]
    else:
        curves = _render_both_axes(relations[0])
        legend = [("found", "along x"), ("found second", "along y")]
    legend += [("bicubic", "bicubic (Pillow)"), ("area", "area mean")]
    return html_element(
        "figure",
        html_element("figcaption", html_element("b", f"x{scale}"), f", {len(relations)} measured"),
        _render_curves(scale, curves, width=340, height=150),
        html_element("p", [_render_legend_entry(*entry) for entry in legend], class_="keys"),
        class_="chart",
    )


def render_small_kernel(relation: ReportedRelation) -> Html:
    """Render the filter weights of one relation small, without ticks and legend."""
    return _render_curves(relation.scale, _render_both_axes(relation), width=150, height=44, ticks=False)


def _render_both_axes(relation: ReportedRelation) -> list[Html]:
    along_x = _render_curve(relation.along_x, relation.scale, "found")
    return [along_x, _render_curve(relation.along_y, relation.scale, "found second")]


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


def _render_curves(scale: int, curves: HtmlChild, *, width: int, height: int, ticks: bool = True) -> Html:
    """Render curves over those of area mean and bicubic. `_render_curve` defines their coordinates."""
    foot = 18 if ticks else 0
    x_scale, y_scale = width / 4, -height / 1.7
    references = [
        html_element("line", x1=-2, x2=2, y1=0, y2=0, class_="axis"),
        _render_curve(area_weights(scale), scale, "area"),
        _render_curve(bicubic_weights(scale), scale, "bicubic"),
    ]
    frame = f"translate({width / 2:g} {height * 1.35 / 1.7:g}) scale({x_scale:g} {y_scale:g})"
    labels = [_render_tick(width * (0.5 + x / 4), height - 2, f"{x:+d}" if x else "0") for x in (-2, -1, 0, 1, 2)]
    return html_element(
        "svg",
        html_element("g", references, curves, transform=frame, class_="kernel"),
        labels if ticks else "",
        viewBox=f"-8 -2 {width + 16} {height + foot}",
        role="img",
        aria_label="Weights along an axis, in coarse px from the middle",
    )


def _render_curve(weights: Sequence[float] | KernelWeights, scale: int, kind: str) -> Html:
    """Render weights with x in coarse px and y multiplied by the scale, so that an area mean is 1 high at any scale."""
    heights = np.clip(np.asarray(weights) * scale, -9, 9)
    points = " ".join(f"{x:.4g},{y:.3g}" for x, y in zip(_fine_pixel_centres(scale), heights, strict=True))
    return html_element("polyline", points=points, class_=kind)


def _render_legend_entry(kind: str, text: str) -> Html:
    line = html_element(
        "svg", html_element("line", x1=0, x2=22, y1=4, y2=4, class_=kind), viewBox="0 0 22 8", class_="kernel key"
    )
    return html_element("span", line, text)
