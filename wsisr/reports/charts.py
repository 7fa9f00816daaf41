"""SVG charts: histograms, curves over a common axis, and means with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from wsisr.reports.templating import render_template

HISTOGRAM_BINS = 30

RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Histogram:
    """Values to show as a histogram, with their title and meaning."""

    title: str
    unit: str
    meaning: str
    values: Sequence[float]
    """All at least 0."""


def render_histogram(histogram: Histogram) -> Markup:
    """Render a histogram; its last bar also counts all larger values."""
    values = np.asarray(histogram.values, np.float64)
    end = _round_up(float(np.percentile(values, 99.5)))
    counts, _ = np.histogram(np.minimum(values, end * (1 - RELATIVE_TOLERANCE)), bins=HISTOGRAM_BINS, range=(0, end))
    median, percentile_95 = (float(np.percentile(values, share)) for share in (50, 95))
    return render_template(
        "histogram.html",
        histogram=histogram,
        bar_heights=[float(height) for height in counts / max(1, counts.max())],
        end=end,
        median=median,
        percentile_95=percentile_95,
    )


def _round_up(value: float) -> float:
    """Round up to 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-3)))
    candidates = (step * power for step in (1, 2, 2.5, 5, 10))
    return float(next(end for end in candidates if end >= value * (1 - RELATIVE_TOLERANCE)))


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points, in the units of the chart."""

    style: str
    """Class in the style sheet, such as `found`, `faint` or `bicubic`."""
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class CurveChart:
    """Size in px of a chart of curves, and its axes."""

    label: str
    width: int
    height: int
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    """Range of the vertical axis, which holds 0."""
    x_ticks: Mapping[float, str] = field(default_factory=dict)
    """What is written below places of the horizontal axis."""
    y_ticks: Mapping[float, str] = field(default_factory=dict)
    x_label: str = ""
    level: float | None = None
    """Value at which a dashed line is drawn."""


def render_curves(chart: CurveChart, curves: Sequence[Curve]) -> Markup:
    """Render curves, the first lowest, over a horizontal axis at 0."""
    return render_template("curves.html", chart=chart, curves=curves)


def render_curve_figure(title: str, note: str, svg: Markup, legend: Mapping[str, str]) -> Markup:
    """Render a chart of curves with its title and legend, which maps the style of a curve to its name."""
    return render_template("curve_figure.html", title=title, note=note, svg=svg, legend=legend)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its interval, beside a baseline and the lowest value."""

    label: str
    mean: float
    interval: tuple[float, float] | None
    """None if it is not known."""
    baseline: float
    lowest: float


def render_intervals(title: str, unit: str, intervals: Sequence[Interval]) -> Markup:
    """Render one interval or more below each other, over an axis that holds 0."""
    ends = [end for each in intervals for end in (each.mean, each.baseline, each.lowest, *(each.interval or ()))]
    step = _round_up(max(max(ends) - min(ends), 0.1) / 6)
    first, last = int(np.floor(min(0.0, *ends) / step)), int(np.ceil(max(0.0, *ends) / step))
    last = max(last, first + 1)  # where all is 0, as on a flat image
    ticks = [float(f"{number * step:.6g}") for number in range(first, last + 1)]
    return render_template(
        "intervals.html", title=title, unit=unit, intervals=intervals, ticks=ticks, start=ticks[0], end=ticks[-1]
    )
