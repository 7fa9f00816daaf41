"""Batch: many slides in one run. An error in one slide stops no other, and a second run does what is missing.

On one device the slides run one after the other, for a slide uses every core of a CPU and all of a GPU. Several GPUs
take slides in parallel (`wsisr.cli.parallel_batch`); `--shard` divides a batch among machines.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import typer

from wsisr.cli.console import literal_text, print_message, stderr_console, stdout_console
from wsisr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PARTLY_FAILED
from wsisr.cli.frontend import STOPPED_MESSAGE
from wsisr.errors import OutputError, WsisrError, describe_error
from wsisr.files import check_output, translate_disk_errors, write_atomically
from wsisr.parallel.processes import StopFlag
from wsisr.progress import format_count
from wsisr.version import __version__

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")


class BatchItem(NamedTuple):
    """A slide and its output, with what a table says of the slide."""

    slide: Path
    output: Path
    mpp: float | None = None
    """Pixel size of level 0 in um/px."""
    case: str | None = None
    """Patient or specimen."""


ReportRow = dict[str, Any]
"""A slide's entry in the report: `slide`, `output`, `state`, and figures or an error."""

EnlargeSlide = Callable[[BatchItem], ReportRow]
"""Enlarges a slide. Raises `WsisrError`, or `typer.Exit` after a stop request."""


def select_shard(slides: Sequence[T], shard: str | None) -> Sequence[T]:
    """Return every fifth slide from the second on for `2/5`; the five shards together take each slide once."""
    if shard is None:
        return slides
    try:
        number, count = (int(part) for part in shard.split("/"))
    except ValueError:
        number = count = 0
    if not 1 <= number <= count:
        raise typer.BadParameter("give NUMBER/COUNT, from 1/COUNT to COUNT/COUNT", param_hint="--shard")
    return slides[number - 1 :: count]


def check_each_file(files: Sequence[Path], check: Callable[[Path], bool]) -> None:
    """Check all files, and exit as failed if a check is False or a file cannot be read, which is printed.

    The error of a single file is raised, for it may have an exit code of its own.
    """
    check_one = check if len(files) == 1 else partial(_check_file, check=check)
    if [file for file in files if not check_one(file)]:
        raise typer.Exit(EXIT_FAILED)


def _check_file(file: Path, check: Callable[[Path], bool]) -> bool:
    try:
        return check(file)
    except WsisrError as error:
        print_message(f"error: {error}")
        return False


def refuse_shared_outputs(items: Sequence[BatchItem]) -> None:
    """Raise `OutputError` if two slides would have one output."""
    slides: dict[Path, Path] = {}
    shared = [(other, item) for item in items if (other := slides.setdefault(item.output, item.slide)) != item.slide]
    if shared:
        other, item = shared[0]
        more = f" (and {format_count(len(shared) - 1, 'other slide')} likewise)" if len(shared) > 1 else ""
        raise OutputError(
            f"{item.output}: would be written from {other} and from {item.slide}{more}; name their outputs in a CSV "
            "with the columns path and output, or give them in runs of their own"
        )


def run_batch(
    items: Sequence[BatchItem], enlarge: EnlargeSlide, stop: StopFlag, report: Path | None = None
) -> list[ReportRow]:
    """Enlarge slides one after the other and return their report entries.

    An error is printed and reported, and stops no other slide. The report is up to date after each slide, and when
    the run stops, which exits as an interrupted program.
    """
    rows: list[ReportRow] = []
    try_write_report(report, rows)
    for number, item in enumerate(items, 1):
        try:
            if stop.is_set():
                print_message(STOPPED_MESSAGE)
                raise typer.Exit(EXIT_INTERRUPTED)
            rows.append(attempt_item(item, enlarge, f"{number} of {len(items)}"))
        except typer.Exit:
            try_write_report(report, [*rows, report_row(item, "stopped")])
            print_message(f"{len(rows)} of {len(items)} slides were through")
            raise
        try_write_report(report, rows)
    return rows


def run_single(item: BatchItem, enlarge: EnlargeSlide, report: Path | None = None) -> ReportRow:
    """Enlarge the only slide of a run. An error or a stop is reported, too, and raised."""
    try:
        row = enlarge(item)
    except (typer.Exit, KeyboardInterrupt):
        try_write_report(report, [report_row(item, "stopped")])
        raise
    except Exception as error:
        try_write_report(report, [report_row(item, "failed", error=str(error))])
        raise
    write_batch_report(report, [row])
    return row


def attempt_item(item: BatchItem, enlarge: EnlargeSlide, position: str) -> ReportRow:
    """Enlarge one slide of several; `position` is its place among them. An error is printed and reported.

    A bug, too: it must cost one slide, not the night.
    """
    try:
        return report_row(item) | enlarge(item)
    except WsisrError as error:
        return report_failure(item, str(error), position)
    except typer.Exit:
        raise
    except Exception as error:  # noqa: BLE001 - printed with its traceback, and reported
        stderr_console.print(traceback.format_exc(), soft_wrap=True, highlight=False)
        reason = f"{type(error).__name__}: {describe_error(error)}"
        return report_failure(item, f"{item.slide}: a bug of wsisr's, whose traceback is above ({reason})", position)


def report_failure(item: BatchItem, error: str, position: str) -> ReportRow:
    """Print an error and return the slide's report entry."""
    print_message(f"error: {error} ({position})")
    return report_row(item, "failed", error=error)


def report_row(item: BatchItem, state: str | None = None, **more: str) -> ReportRow:
    """Return the beginning of a slide's report entry."""
    case = {} if item.case is None else {"case": item.case}
    row = {"slide": str(item.slide), "output": str(item.output)} | case
    return row | ({"state": state} if state else {}) | more


def check_report_path(report: Path | None, results: Iterable[Path]) -> None:
    """Raise `OutputError` if a report would replace one of the results to come, or a file that is no report."""
    if report is None:
        return
    with translate_disk_errors(report):
        if report.resolve() in {result.resolve() for result in results}:
            raise OutputError(f"{report}: is to be a result of this run too; give the report another name")
        check_output(report, overwrite=True)
        try:
            is_report = not report.exists() or "wsisr" in json.loads(report.read_bytes())
        except (ValueError, TypeError):
            is_report = False
    if not is_report:
        raise OutputError(f"{report}: exists and is no report of wsisr; choose another name")


def try_write_report(report: Path | None, rows: Sequence[ReportRow]) -> None:
    """Write the report while slides are left; print an error as a warning, for it must not stop them."""
    try:
        write_batch_report(report, rows)
    except OutputError as error:
        print_message(f"warning: {error}")


def write_batch_report(report: Path | None, rows: Sequence[ReportRow]) -> None:
    """Write or replace the JSON report as a whole; its keys are stable. Raises `OutputError`."""
    if report is not None:
        write_atomically(report, [json.dumps({"wsisr": __version__, "slides": rows}, indent=2).encode() + b"\n"])


def finish_batch(rows: Sequence[ReportRow], *, quiet: bool) -> None:
    """Print a table of the slides, unless quiet, and exit with a code if something failed."""
    if not quiet:
        stdout_console.print(batch_table(rows))
    exit_unless_complete(rows)


def exit_unless_complete(rows: Sequence[ReportRow]) -> None:
    """Exit with a code of its own if a slide failed, or could not be decoded everywhere."""
    if count_failures(rows) or any("unreadable" in row for row in rows):
        raise typer.Exit(EXIT_PARTLY_FAILED)


def count_failures(rows: Sequence[ReportRow]) -> int:
    return sum(row["state"] == "failed" for row in rows)


def batch_table(rows: Sequence[ReportRow]) -> Table:
    """Return a table with a row for each slide."""
    from rich.table import Table

    from wsisr.cli.progress import format_duration

    title = f"{format_count(len(rows), 'slide')}, {count_failures(rows)} failed"
    table = Table(title=literal_text(title), title_justify="left")
    for name in ("slide", "state", "time", "result"):
        table.add_column(name, overflow="fold")
    for row in rows:
        time = format_duration(row["seconds"]) if "seconds" in row else ""
        result = row["error"] if "error" in row else row["output"]
        if "unreadable" in row:
            result += f" (not all of the slide could be decoded: {row['unreadable']})"
        cells: tuple[str, ...] = (Path(row["slide"]).name, row["state"], time, result)
        table.add_row(*(literal_text(cell) for cell in cells))
    return table
