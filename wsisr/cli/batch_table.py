"""Tables of a batch: a row for each slide and the totals, after a run and after a dry run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.cli.console import literal_text, log_writers, stdout_console, write_log
from wsisr.cli.progress import format_duration
from wsisr.cli.run_report import ReportRow, sum_rows
from wsisr.progress import format_count

if TYPE_CHECKING:
    from rich.table import Table


def describe_row(row: ReportRow) -> str:
    """Return what became of a slide on one line: `done in 42 s, 105 Mpx, 2.50 Mpx/s`."""
    if row["state"] != "done" or "width" not in row:
        return str(row["state"])
    pixels, seconds = row["width"] * row["height"] / 1e6, row["seconds"]
    rate = pixels * (1 - row["finished_before"]) / max(seconds, 0.1)
    return f"done in {format_duration(seconds)}, {pixels:.3g} Mpx, {rate:.3g} Mpx/s"


def build_batch_table(rows: Sequence[ReportRow], slide_count: int) -> Table:
    """Return a table with a row for each slide that was begun or found finished, and the totals of the run."""
    from wsisr.cli.summary import format_bytes

    totals = sum_rows(rows, slide_count)
    failed = totals["states"].get("failed", 0)
    table = _create_table(
        f"{format_count(slide_count, 'slide')}, {failed} failed", ("slide", "state", "time", "Mpx", "size", "result")
    )
    for row in rows:
        _add_row(
            table,
            Path(row["slide"]).name,
            row["state"],
            format_duration(row["seconds"]) if "seconds" in row else "",
            f"{row['width'] * row['height'] / 1e6:.3g}" if "width" in row else "",
            format_bytes(row["bytes"]) if "bytes" in row else "",
            _describe_result(row),
        )
    states = totals["states"] | ({"not begun": slide_count - len(rows)} if len(rows) < slide_count else {})
    table.add_section()
    _add_row(
        table,
        "all",
        ", ".join(f"{count} {state}" for state, count in states.items()),
        format_duration(totals["seconds"]),
        f"{totals['pixels'] / 1e6:.3g}",
        format_bytes(totals["bytes"]),
        "",
    )
    return table


def build_plan_table(rows: Sequence[ReportRow]) -> Table:
    """Return a table of a dry run: what each slide would take, why it would be refused, and the sums."""
    from wsisr.cli.summary import format_bytes

    planned = [row for row in rows if row["state"] == "planned"]
    refused = sum(row["state"] == "failed" for row in rows)
    finished = len(rows) - len(planned) - refused
    table = _create_table("dry run: nothing was written", ("slide", "state", "time", "Mpx", "size", "result"))
    for row in rows:
        estimate = row.get("estimate", {})
        _add_row(
            table,
            Path(row["slide"]).name,
            "refused" if row["state"] == "failed" else row["state"],
            format_duration(estimate["seconds"]) if estimate else "",
            f"{row['width'] * row['height'] / 1e6:.3g}" if "width" in row else "",
            format_bytes(estimate["bytes"]) if estimate else "",
            _describe_result(row),
        )
    table.add_section()
    _add_row(
        table,
        "all",
        f"{len(planned)} planned, {finished} finished before, {refused} refused",
        format_duration(sum(row["estimate"]["seconds"] for row in planned)),
        f"{sum(row['width'] * row['height'] for row in planned) / 1e6:.3g}",
        format_bytes(sum(row["estimate"]["bytes"] for row in planned)),
        "about, on an otherwise idle machine",
    )
    return table


def describe_plan_disk(rows: Sequence[ReportRow], folder: Path) -> str:
    """Return the disk space that a run needs, with the work on its largest slide, what is free, and the share of trust
    layers."""
    from wsisr.cli.summary import format_bytes

    estimates = [row["estimate"] for row in rows if row["state"] == "planned"]
    kept = [estimate["bytes"] + estimate.get("trust_bytes", 0) for estimate in estimates]
    work = [estimate["disk"] - count for estimate, count in zip(estimates, kept, strict=True)]
    needed, free = sum(kept) + max(work, default=0), shutil.disk_usage(folder).free
    warning = "warning: too little disk space: " if needed > free else ""
    trusted = [estimate for estimate in estimates if "trust_seconds" in estimate]
    seconds, layers = (sum(estimate[key] for estimate in trusted) for key in ("trust_seconds", "trust_bytes"))
    trust = f"; trust layers are about {format_bytes(layers)} of it, and {format_duration(seconds)} of the time"
    return (
        f"{warning}about {format_bytes(needed)} of disk space are needed, {format_bytes(free)} are free in {folder}"
        + trust * bool(trusted)
    )


def print_table(table: Table) -> None:
    """Print a table on stdout, and into the log of the run."""
    stdout_console.print(table)
    if log_writers:
        with stdout_console.capture() as text:
            stdout_console.print(table)
        write_log(text.get())


def _describe_result(row: ReportRow) -> str:
    result = str(row["error"] if "error" in row else row["output"])
    if "unreadable" in row:
        result += f" (not all of the slide could be decoded: {row['unreadable']})"
    if "no_tissue" in row:
        result += " (no tissue)"
    return result


def _create_table(title: str, names: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=literal_text(title), title_justify="left")
    for name in names:
        numeric = name in ("time", "Mpx", "size", "disk")
        table.add_column(name, overflow="fold", no_wrap=numeric, justify="right" if numeric else "left")
    return table


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*(literal_text(cell) for cell in cells))
