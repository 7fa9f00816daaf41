"""The tables of `wsisr evaluate --nuclei`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.evaluation import NucleiComparison, NucleiSummary, ScoreRow

_COLUMNS = ("count\nerror", "F1", "Dice", "area\nerror")


def build_nuclei_table(rows: Sequence[ScoreRow]) -> Table:
    """Build the table of nuclei: a line for each row whose truth is fine enough to show them."""
    from wsisr.cli.console import literal_text

    table = _start_table("nuclei: count, F1 at 3 um, Dice and area against the truth's, bicubic's>model's")
    table.add_column("slide", overflow="fold", min_width=10)
    table.add_column("input", no_wrap=True)
    table.add_column("truth", justify="right", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        label = row.source.label if row.source.stored_level is None else f"level {row.source.stored_level}"
        table.add_row(literal_text(row.slide.name), label.replace(", ", "\n"), *_format_row(row.nuclei))
    return table


def build_nuclei_summary(rows: Sequence[ScoreRow], derive_case: Callable[[Path], str]) -> Table:
    """Build the table of nuclei on each input: means over cases."""
    from wsisr.evaluation import summarise_rows

    table = _start_table("nuclei by input: mean over cases; of bicubic's gap to the truth's F1, how much is closed")
    table.add_column("input", overflow="fold", min_width=10)
    for name in ("cases", *_COLUMNS, "F1 won,\n95 %", "gap\nclosed", "rows\nbelow"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in summarise_rows(rows, derive_case).inputs:
        if item.nuclei:
            table.add_row(item.label, *_format_summary(item.nuclei), style="bold")
    return table


def _start_table(title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)


def _format_row(nuclei: NucleiComparison | None) -> list[str]:
    if nuclei is None:
        return ["too coarse", *["-"] * len(_COLUMNS)]
    before, after = nuclei.bicubic, nuclei.model
    return [
        str(nuclei.truth_count),
        f"{before.count_error:+.0%}>{after.count_error:+.0%}",
        f"{before.f1:.3f}>{after.f1:.3f}",
        f"{before.dice:.3f}>{after.dice:.3f}",
        _format_shares(before.area_error, after.area_error),
    ]


def _format_summary(nuclei: NucleiSummary) -> list[str]:
    interval = "-" if nuclei.interval is None else "..".join(f"{end:+.3f}" for end in nuclei.interval)
    return [
        str(nuclei.cases),
        _format_shares(nuclei.bicubic_count_error, nuclei.model_count_error),
        f"{nuclei.bicubic_f1:.3f}>{nuclei.model_f1:.3f}",
        f"{nuclei.bicubic_dice:.3f}>{nuclei.model_dice:.3f}",
        _format_shares(nuclei.bicubic_area_error, nuclei.model_area_error),
        interval,
        "-" if nuclei.gap_closed is None else f"{nuclei.gap_closed:.0%}",
        f"{nuclei.rows_below}/{nuclei.rows}",
    ]


def _format_shares(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{before:.0%}>{after:.0%}"
