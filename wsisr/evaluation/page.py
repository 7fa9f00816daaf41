"""Page of an evaluation: tables, gains with their intervals, resolution by ring correlation, and example patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from wsisr.evaluation.example_patches import ExampleCollector, ExamplePatch
from wsisr.evaluation.flat_images import FlatProbe
from wsisr.evaluation.ring_scores import RingScores
from wsisr.evaluation.scores import InputSummary, ScoreRow, ScoreSummary, derive_file_case, summarise_rows
from wsisr.imaging.ring_correlation import CORRELATION_THRESHOLD, RING_WINDOW_PX, RingCorrelation
from wsisr.progress import format_count
from wsisr.reports.charts import (
    Curve,
    CurveChart,
    Interval,
    render_curve_figure,
    render_curves,
    render_intervals,
)
from wsisr.reports.pictures import encode_data_uri
from wsisr.reports.templating import render_template

MAX_ROWS = 600
"""Rows of the table; the rest is counted, and is in the JSON."""

MAX_EXAMPLES = 12
"""Inputs whose best and worst patch are shown."""

MAX_CURVES = 6
"""Inputs whose ring correlation is drawn."""

RING_CHART = CurveChart(
    "Correlation with the truth, by frequency",
    width=300,
    height=150,
    x_ends=(0, 0.5),
    y_ends=(-0.1, 1),
    x_ticks={0: "0", 0.25: "0.25", 0.5: "0.5"},
    y_ticks={0: "0", CORRELATION_THRESHOLD: f"{CORRELATION_THRESHOLD:g}", 1: "1"},
    x_label="cycles per px of the truth",
    level=CORRELATION_THRESHOLD,
)

LOW_QUALITY, HIGH_QUALITY = 95, 90


@dataclass
class EvaluationResult:
    """All that an evaluation found, and how it was made."""

    model: str
    hardware: str
    scale: int
    weights_sha256: str | None
    rows: Sequence[ScoreRow]
    probes: Sequence[FlatProbe] = ()
    derive_case: Callable[[Path], str] = derive_file_case
    examples: Mapping[str, ExampleSet] = field(default_factory=dict)
    """The best and the worst patch by the label of their input."""
    facts: Mapping[str, str | None] = field(default_factory=dict)
    """Command, options and versions, by their names."""


class ExampleSet:
    """The best and the worst patch on one input, of all slides."""

    def __init__(self) -> None:
        self._collector = ExampleCollector()
        self._slides: dict[int, str] = {}

    def add(self, patch: ExamplePatch, slide: str) -> None:
        self._collector.add(patch)
        kept = (self._collector.best, self._collector.worst)
        self._slides = {key: name for key, name in self._slides.items() if key in map(id, kept)}
        if patch in kept:
            self._slides[id(patch)] = slide

    def list_patches(self) -> Iterator[tuple[str, ExamplePatch, str]]:
        """Yield the best and the worst patch, each with its name and its slide."""
        best, worst = self._collector.best, self._collector.worst
        named = (("best", best), ("worst", None if worst is best else worst))
        yield from ((name, patch, self._slides[id(patch)]) for name, patch in named if patch)


def render_evaluation(result: EvaluationResult) -> str:
    """Return the complete HTML page of an evaluation with one row or more."""
    summary = summarise_rows(result.rows, result.derive_case)
    shown = result.rows[:MAX_ROWS]
    page = render_template(
        "evaluation/report.html",
        title=f"{result.model} at x{result.scale}",
        figures=list(_list_figures(result, summary)),
        inputs=[(item, _format_summary(item)) for item in summary.inputs],
        gains=render_intervals("Gain over bicubic in dB", "dB", [_make_interval(item) for item in summary.inputs]),
        has_nuclei=any(item.nuclei for item in summary.inputs),
        rows=[(row, result.derive_case(row.slide), _format_row(row)) for row in shown],
        left_out=len(result.rows) - len(shown),
        curves=[_draw_rings(item.label, result.rows) for item in summary.inputs[:MAX_CURVES]],
        threshold=CORRELATION_THRESHOLD,
        window_px=RING_WINDOW_PX,
        examples=list(_render_examples(result.examples)),
        probes=result.probes,
        case_count=len({result.derive_case(row.slide) for row in result.rows}),
        model=result.model,
        hardware=result.hardware,
        weights_sha256=result.weights_sha256,
        facts=result.facts,
    )
    # Plain text: `Markup` would escape every string that is added to it.
    return str(page)


def _list_figures(result: EvaluationResult, summary: ScoreSummary) -> Iterator[tuple[str, str]]:
    first = summary.inputs[0]
    yield f"{first.gain:+.2f} dB", f"over bicubic, {first.label}"
    yield "-" if first.interval is None else "{:+.2f} to {:+.2f}".format(*first.interval), "its 95 % interval"
    yield f"{first.back_projection_gain:+.2f} dB", "back-projection, no network"
    yield f"{first.worst.gain:+.2f} dB", "the worst row of that input"
    slides = {row.slide for row in result.rows}
    for number, noun in ((len(slides), "slide"), (len({*map(result.derive_case, slides)}), "case")):
        count, words = format_count(number, noun).split()
        yield count, words


def _make_interval(item: InputSummary) -> Interval:
    return Interval(item.label, item.gain, item.interval, item.back_projection_gain, item.worst.gain)


def _format_summary(item: InputSummary) -> dict[str, str]:
    """Return the cells of an input's row, by the key of their column."""
    found, nuclei = item.resolution, item.nuclei
    return {
        "gain": f"{item.gain:+.2f}",
        "interval": "-" if item.interval is None else "{:+.2f} to {:+.2f}".format(*item.interval),
        "back_projection": f"{item.back_projection_gain:+.2f}",
        "worst": f"{item.worst.gain:+.2f}",
        "flat": _format_gain(item.flat_gain),
        "resolution": "-"
        if found is None
        else f"{found.bicubic:.3g} / {found.back_projection:.3g} / {found.model:.3g}",
        "finer": "-" if found is None or found.interval is None else "{:+.3f} to {:+.3f}".format(*found.interval),
        "nuclei": "-" if nuclei is None else f"{nuclei.bicubic_f1:.3f} / {nuclei.model_f1:.3f}",
    }


def _format_row(row: ScoreRow) -> dict[str, str]:
    """Return the cells of a row, by the key of their column."""
    textures = [scores.texture.distance if scores.texture else None for scores in (row.bicubic, row.model)]
    found = row.rings.resolutions_um() if row.rings else None
    return {
        "pitch": "unknown" if row.mpp_lr is None or row.mpp_hr is None else f"{row.mpp_lr:.3g} to {row.mpp_hr:.3g}",
        "bicubic": f"{row.bicubic.psnr:.2f}",
        "back_projection": f"{row.back_projection_gain:+.2f}",
        "gain": f"{row.gain:+.2f}",
        "ssim": f"{row.model.ssim - row.bicubic.ssim:+.3f}",
        "texture": " / ".join("-" if value is None else f"{value:.2f}" for value in textures),
        "consistency": f"{row.model.consistency_error:.2f}",
        "flat": _format_gain(row.flat.gain if row.flat else None),
        "resolution": "-" if found is None else " / ".join(f"{value:.3g}" for value in found),
        "nuclei": "-" if row.nuclei is None else f"{row.nuclei.bicubic.f1:.3f} / {row.nuclei.model.f1:.3f}",
    }


def _format_gain(gain: float | None) -> str:
    return "-" if gain is None else f"{gain:+.2f}"


def _draw_rings(label: str, rows: Sequence[ScoreRow]) -> Markup:
    """Draw the mean correlation by frequency of the rows of an input; empty if none was measured."""
    rings = [row.rings for row in rows if row.rings and row.source.label == label]
    if not rings:
        return Markup()
    curves = [
        Curve("bicubic", _average(rings, lambda each: each.bicubic)),
        Curve("second", _average(rings, lambda each: each.back_projection)),
        Curve("found", _average(rings, lambda each: each.model)),
    ]
    legend = {"bicubic": "bicubic", "second": "back-projection", "found": "model"}
    return render_curve_figure(label, "", render_curves(RING_CHART, curves), legend)


def _average(rings: Sequence[RingScores], choose: Callable[[RingScores], RingCorrelation]) -> list[tuple[float, float]]:
    """Return points of frequency and mean correlation."""
    curves = zip(*(choose(each).values for each in rings), strict=True)
    return [(number / RING_WINDOW_PX, fmean(values)) for number, values in enumerate(curves, 1)]


def _render_examples(examples: Mapping[str, ExampleSet]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the label of an input, and its patches ready for the template."""
    for label, found in list(examples.items())[:MAX_EXAMPLES]:
        yield label, [_describe_patch(*named) for named in found.list_patches()]


def _describe_patch(name: str, patch: ExamplePatch, slide: str) -> dict[str, Any]:
    pictures = [
        ("before", "input", encode_data_uri(patch.low, LOW_QUALITY)),
        ("after", "bicubic", encode_data_uri(patch.bicubic, HIGH_QUALITY)),
        ("after", "model", encode_data_uri(patch.model, HIGH_QUALITY)),
        ("after", "truth", encode_data_uri(patch.truth, HIGH_QUALITY)),
    ]
    return {"kind": name, "slide": slide, "gain": patch.gain, "at": patch.at, "pictures": pictures}
