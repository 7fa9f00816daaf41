"""Charts of a report, as SVG: histograms, and kernels beside those of area means and of bicubic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsisr.dataset.patch_selection import spread
from wsisr.dataset.report.contents import Link
from wsisr.dataset.report.markup import SPACE, Child, Html, element

Numbers = npt.NDArray[np.float64]

BINS = 30

MOST_CURVES = 60
"""Kernels that are drawn one by one, as faint lines."""

SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Measure:
    """Numbers to be shown as a histogram."""

    title: str
    unit: str
    meaning: str
    values: Sequence[float]
    """None below 0."""


def histogram(measure: Measure) -> Html:
    """A figure; the last bar holds all that lies beyond it."""
    values = np.asarray(measure.values, np.float64)
    end = _round_end(float(np.percentile(values, 99.5)))
    counts, _ = np.histogram(np.minimum(values, end * (1 - SAME)), bins=BINS, range=(0, end))
    width, height, foot = 300, 96, 18
    bar = width / BINS
    bars = [
        element("rect", x=each * bar + 0.5, y=height - high, width=bar - 1, height=high)
        for each, high in enumerate(height * counts / counts.max())
        if high
    ]
    ticks = [
        _tick(width * share, height, f"{end * share:.3g}", anchor)
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    ]
    median, most = (float(np.percentile(values, share)) for share in (50, 95))
    at = width * min(median / end, 1)
    marked = element("line", x1=at, x2=at, y1=0, y2=height, class_="median")
    chart = element(
        "svg",
        element("g", bars, class_="bars"),
        element("line", x1=0, x2=width, y1=height, y2=height, class_="axis"),
        marked,
        ticks,
        viewBox=f"-6 -4 {width + 12} {height + foot + 4}",
        role="img",
        aria_label=f"Histogram: {measure.title}",
    )
    unit = f"{SPACE}{measure.unit}" if measure.unit else ""
    told = f"median {median:.3g}{unit}, 95{SPACE}% up to {most:.3g}{unit}, {len(values):,}{SPACE}values"
    title = element("figcaption", element("b", measure.title), f", {measure.unit}" if measure.unit else "")
    return element(
        "figure",
        title,
        chart,
        element("p", told, class_="numbers"),
        element("p", measure.meaning, class_="note"),
        class_="chart",
    )


def _round_end(value: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-3)))
    return float(next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= value * (1 - SAME)))


def _tick(x: float, height: float, text: str, anchor: str = "middle") -> Html:
    return element("text", text, x=x, y=height + 14, text_anchor=anchor, class_="tick")


def kernels(scale: int, links: Sequence[Link]) -> Html:
    """A figure: weights of fine px around a coarse one, along x and y, of all links; beside area means and bicubic."""
    shown = spread(links, MOST_CURVES)
    faint = [_curve(along, scale, "faint") for link in shown for along in (link.along_x, link.along_y)]
    middle = np.median([along for link in links for along in (link.along_x, link.along_y)], axis=0)
    own = [*faint, _curve(middle, scale, "found")] if len(links) > 1 else _both(links[0])
    several = [("found", "median of all"), ("faint", "each, along x and y")]
    legend = several if len(links) > 1 else [("found", "along x"), ("found second", "along y")]
    return element(
        "figure",
        element("figcaption", element("b", f"x{scale}"), f", {len(links)} measured"),
        _plot(scale, own, width=340, height=150),
        element(
            "p",
            [_key(*each) for each in [*legend, ("bicubic", "bicubic (Pillow)"), ("area", "area mean")]],
            class_="keys",
        ),
        class_="chart",
    )


def small_kernel(link: Link) -> Html:
    """The same of one link, without words."""
    return _plot(link.scale, _both(link), width=150, height=44, ticks=False)


def _both(link: Link) -> list[Html]:
    return [_curve(link.along_x, link.scale, "found"), _curve(link.along_y, link.scale, "found second")]


def bicubic_weights(scale: int) -> Numbers:
    """4 x scale weights of Pillow's antialiased bicubic (a = -0.5) around a coarse px, their sum 1."""
    away = np.abs(_places(scale))
    near, far = (1.5 * away - 2.5) * away**2 + 1, ((-0.5 * away + 2.5) * away - 4) * away + 2
    weights = np.where(away < 1, near, far)
    return np.asarray(weights / weights.sum())


def area_weights(scale: int) -> Numbers:
    """4 x scale weights, those of the px itself alike."""
    return np.asarray((np.abs(_places(scale)) < 0.5) / scale)


def _places(scale: int) -> Numbers:
    """Centres of the fine px, in coarse px from the middle of theirs."""
    return (np.arange(4 * scale) + 0.5) / scale - 2


def _plot(scale: int, curves: Child, *, width: int, height: int, ticks: bool = True) -> Html:
    """Curves above those of area means and bicubic. They are in units of their own: `_curve` says which."""
    foot = 18 if ticks else 0
    x, y = width / 4, -height / 1.7
    lines = [
        element("line", x1=-2, x2=2, y1=0, y2=0, class_="axis"),
        _curve(area_weights(scale), scale, "area"),
        _curve(bicubic_weights(scale), scale, "bicubic"),
    ]
    frame = f"translate({width / 2:g} {height * 1.35 / 1.7:g}) scale({x:g} {y:g})"
    words = [_tick(width * (0.5 + each / 4), height - 2, f"{each:+d}" if each else "0") for each in (-2, -1, 0, 1, 2)]
    return element(
        "svg",
        element("g", lines, curves, transform=frame, class_="kernel"),
        words if ticks else "",
        viewBox=f"-8 -2 {width + 16} {height + foot}",
        role="img",
        aria_label="Weights along an axis, in coarse px from the middle",
    )


def _curve(weights: Sequence[float] | Numbers, scale: int, kind: str) -> Html:
    """x in coarse px, y times the scale, so that an area mean is 1 high whatever the scale."""
    heights = np.clip(np.asarray(weights) * scale, -9, 9)
    points = " ".join(f"{x:.4g},{y:.3g}" for x, y in zip(_places(scale), heights, strict=True))
    return element("polyline", points=points, class_=kind)


def _key(kind: str, text: str) -> Html:
    line = element(
        "svg", element("line", x1=0, x2=22, y1=4, y2=4, class_=kind), viewBox="0 0 22 8", class_="kernel key"
    )
    return element("span", line, text)
