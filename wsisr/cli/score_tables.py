"""The tables of `wsisr evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.evaluation import FlatProbe, ScoreRow
    from wsisr.models.upscaler import Upscaler


def build_score_table(rows: Sequence[ScoreRow], upscaler: Upscaler) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from wsisr.cli.console import literal_text
    from wsisr.evaluation import summarise_rows

    name, scale = upscaler.info.name, upscaler.info.scale
    title = f"{name} x{scale}: above bicubic; texture is a distance from the truth's, bicubic's>model's"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("slide", overflow="fold", min_width=10)
    table.add_column("input>truth\num/px", no_wrap=True)
    table.add_column("input", no_wrap=True)
    for name in ("bicubic\ndB", "back-\nproj.", "model", "SSIM", "texture", "input\nerror", "flat"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(literal_text(row.slide.name), _format_pixel_sizes(row), _format_input(row), *_format_scores(row))
    worst = summarise_rows(rows).worst
    table.add_section()
    table.add_row(
        literal_text(f"worst: {worst.slide.name}"),
        _format_pixel_sizes(worst),
        _format_input(worst),
        *_format_scores(worst),
        style="bold",
    )
    return table


def build_summary_table(rows: Sequence[ScoreRow], derive_case: Callable[[Path], str]) -> Table:
    """Build the table of the gain on each input: mean over cases, its interval, and the worst row."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from wsisr.cli.console import literal_text
    from wsisr.evaluation import summarise_rows

    title = "gain by input: mean over cases, with its 95 % interval (Student's t)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("input", overflow="fold", min_width=10)
    for name in ("cases", "back-\nproj.", "model", "95 %", "worst"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("worst slide", overflow="fold", min_width=10)
    table.add_column("flat,\nlowest", justify="right", no_wrap=True)
    for item in summarise_rows(rows, derive_case).inputs:
        interval = "-" if item.interval is None else "..".join(map(_format_gain, item.interval))
        gains = [_format_gain(gain) for gain in (item.back_projection_gain, item.gain)]
        worst = _format_gain(item.worst.gain), literal_text(item.worst.slide.name)
        table.add_row(item.label, str(item.cases), *gains, interval, *worst, _format_gain(item.flat_gain), style="bold")
    return table


def _format_input(row: ScoreRow) -> str:
    if row.source.stored_level is not None:
        return f"level {row.source.stored_level}"
    return row.source.label.replace(", ", "\n")


def _format_scores(row: ScoreRow) -> list[str]:
    """Return the columns after the input."""
    before, after = (scores.texture.distance if scores.texture else None for scores in (row.bicubic, row.model))
    return [
        f"{row.bicubic.psnr:.2f}",
        _format_gain(row.back_projection_gain),
        _format_gain(row.gain),
        f"{row.model.ssim - row.bicubic.ssim:+.3f}",
        _format_change(before, after),
        f"{row.model.consistency_error:.2f}",
        _format_gain(row.flat.gain if row.flat else None),
    ]


def build_probe_table(probes: Sequence[FlatProbe]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="made-up flat images", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("image")
    table.add_column("input")
    for name in ("bicubic dB", "model gain", "largest error"):
        table.add_column(name, justify="right")
    for probe in probes:
        error = f"{probe.largest_error} grey"
        table.add_row(probe.name, probe.source.label, f"{probe.bicubic_psnr:.2f}", _format_gain(probe.gain), error)
    return table


def _format_pixel_sizes(row: ScoreRow) -> str:
    if row.mpp_lr is None or row.mpp_hr is None:
        return f"unknown, level {row.level}"
    return f"{row.mpp_lr:.3g}>{row.mpp_hr:.3g}"


def _format_gain(gain: float | None) -> str:
    return "-" if gain is None else f"{gain:+.2f}"


def _format_change(before: float | None, after: float | None) -> str:
    """Return bicubic's distance and the model's, as `0.31>0.12`."""
    return "-" if before is None or after is None else f"{before:.2f}>{after:.2f}"
