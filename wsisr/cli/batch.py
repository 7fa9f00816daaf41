"""Batch: many slides in one run. An error in one slide stops no other, and a second run does what is missing.

On one device the slides run one after the other, for a slide uses every core of a CPU and all of a GPU. Several GPUs
take slides in parallel (`wsisr.cli.parallel_batch`); `--shard` divides a batch among machines.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import typer

from wsisr.cli.batch_table import describe_row
from wsisr.cli.console import print_message, print_traceback
from wsisr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PARTLY_FAILED
from wsisr.cli.frontend import STOPPED_MESSAGE
from wsisr.cli.progress import format_duration
from wsisr.cli.run_report import ReportRow, RunReport, measure_bytes
from wsisr.cli.usage import find_error_code
from wsisr.errors import OutputError, WsisrError, describe_error
from wsisr.parallel.processes import StopFlag
from wsisr.progress import format_count

T = TypeVar("T")


class BatchItem(NamedTuple):
    """A slide and its output, with what a table says of the slide."""

    slide: Path
    output: Path
    mpp: float | None = None
    """Pixel size of level 0 in um/px."""
    case: str | None = None
    """Patient or specimen."""


EnlargeSlide = Callable[[BatchItem], ReportRow]
"""Enlarges a slide. Raises `WsisrError`, or `typer.Exit` after a stop request."""


class BatchRun:
    """The slides of a run and what became of each so far; it tells the terminal and the report."""

    def __init__(self, items: Sequence[BatchItem], report: RunReport | None = None, *, quiet: bool = False) -> None:
        self.items = items
        self.report = report or RunReport()
        self._quiet = quiet
        self._rows: dict[int, ReportRow] = {}
        self._began = time.monotonic()
        self._slide_bytes = [measure_bytes([item.slide]) for item in items]
        self._measured: set[int] = set()
        """Slides that this run has worked on."""

    @property
    def rows(self) -> list[ReportRow]:
        """The entries so far, in the order of the slides."""
        return [self._rows[number] for number in sorted(self._rows)]

    @property
    def pending(self) -> list[int]:
        """Numbers of the slides without an entry, from 0."""
        return [number for number in range(len(self.items)) if number not in self._rows]

    @property
    def is_complete(self) -> bool:
        return len(self._rows) == len(self.items)

    def describe_position(self, number: int) -> str:
        """Return `3 of 12`."""
        return f"{number + 1} of {len(self.items)}"

    def add_finished(self, number: int, row: ReportRow) -> None:
        """Add the entry of a slide that was found finished before anything was loaded."""
        self._rows[number] = row

    def begin(self) -> None:
        """Begin the work: from now on time counts, and the report is kept up to date."""
        self._began = time.monotonic()
        self.report.try_write(self.rows)

    def add(self, number: int, row: ReportRow) -> None:
        """Add the entry of a slide, say so in a line, and update the report."""
        self._rows[number] = row
        self._measured.add(number)
        if row["state"] not in ("failed", "planned"):  # an error is a line already, and a plan a row
            line = f"[{number + 1}/{len(self.items)}] {self.items[number].slide.name}: {describe_row(row)}"
            print_message(line + self._describe_rest(), quiet=self._quiet)
        self.report.try_write(self.rows)

    def add_stopped(self, numbers: Sequence[int]) -> None:
        """Add entries of slides that were begun, and not finished, and update the report."""
        for number in numbers:
            self._rows.setdefault(number, report_row(self.items[number], "stopped"))
        self.report.try_write(self.rows, EXIT_INTERRUPTED)

    def _describe_rest(self) -> str:
        """Return how long the slides that are left will take, by the bytes of those that this run has made."""
        left, made = self.pending, [number for number in self._measured if "seconds" in self._rows[number]]
        made_bytes = sum(self._slide_bytes[number] for number in made)
        if not left or not made_bytes:
            return ""
        # Slides beside each other take less than the sum of their times; of one at a time, loading is no part.
        worked = sum(self._rows[number]["seconds"] for number in made)
        left_bytes = sum(self._slide_bytes[number] for number in left)
        seconds = min(time.monotonic() - self._began, worked) / made_bytes * left_bytes
        return f"; {format_count(len(left), 'slide')} left, about {format_duration(seconds)}"


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


def check_each_file(files: Sequence[Path], check: Callable[[Path], bool], exit_code: int = EXIT_FAILED) -> None:
    """Check all files, and exit with a code if a check is False or a file cannot be read, which is printed.

    The error of a single file is raised, for it may have an exit code of its own.
    """
    check_one = check if len(files) == 1 else partial(_check_file, check=check)
    if [file for file in files if not check_one(file)]:
        raise typer.Exit(exit_code)


def _check_file(file: Path, check: Callable[[Path], bool]) -> bool:
    try:
        return check(file)
    except WsisrError as error:
        print_message(f"error: {error}")
        return False


def refuse_shared_outputs(items: Sequence[BatchItem]) -> None:
    """Raise `OutputError` if two slides would have one output."""
    slides: dict[str, Path] = {}
    outputs = [os.path.realpath(item.output) for item in items]  # under whatever names and links
    others = [slides.setdefault(output, item.slide) for output, item in zip(outputs, items, strict=True)]
    shared = [(other, item) for other, item in zip(others, items, strict=True) if other != item.slide]
    if shared:
        other, item = shared[0]
        more = f" (and {format_count(len(shared) - 1, 'other slide')} likewise)" if len(shared) > 1 else ""
        raise OutputError(
            f"{item.output}: would be written from {other} and from {item.slide}{more}; name their outputs in a CSV "
            "with the columns path and output, or give them in runs of their own"
        )


def run_batch(run: BatchRun, enlarge: EnlargeSlide, stop: StopFlag) -> None:
    """Enlarge the slides of a run that have no entry yet, one after the other.

    An error is printed and reported, and stops no other slide. The report is up to date after each slide, and when
    the run stops, which exits as an interrupted program.
    """
    run.begin()
    for number in run.pending:
        try:
            if stop.is_set():
                print_message(STOPPED_MESSAGE)
                raise typer.Exit(EXIT_INTERRUPTED)
            row = attempt_item(run.items[number], enlarge, run.describe_position(number))
        except typer.Exit:
            run.add_stopped([number])
            raise
        run.add(number, row)


def run_single(item: BatchItem, enlarge: EnlargeSlide, report: RunReport) -> ReportRow:
    """Enlarge the only slide of a run. An error or a stop is reported, too, and raised."""
    try:
        row = report_row(item) | enlarge(item)
    except (typer.Exit, KeyboardInterrupt):
        report.try_write([report_row(item, "stopped")], EXIT_INTERRUPTED)
        raise
    except Exception as error:
        report.try_write([report_row(item, "failed", error=str(error))], find_error_code(error))
        raise
    report.write_somewhere([row], find_exit_code([row]))
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
        print_traceback(traceback.format_exc())
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


def find_exit_code(rows: Sequence[ReportRow]) -> int:
    """Return a code of its own if a slide failed, could not be decoded everywhere, or shows no tissue."""
    failed = any(row["state"] == "failed" or "unreadable" in row or "no_tissue" in row for row in rows)
    return EXIT_PARTLY_FAILED if failed else 0
