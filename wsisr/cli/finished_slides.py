"""Slides of a run whose results are finished: found before anything is loaded, and remembered for the next run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.cli import batch
from wsisr.cli.batch import BatchItem, BatchRun
from wsisr.cli.batch_items import specify_request
from wsisr.cli.cache_folder import find_index_folder
from wsisr.cli.console import print_message, print_warnings
from wsisr.cli.run_report import ReportRow
from wsisr.progress import format_count

if TYPE_CHECKING:
    from wsisr.upscaling.finished_index import FinishedIndex
    from wsisr.upscaling.report import UpscaleReport
    from wsisr.upscaling.request import UpscaleRequest

SAME_ADVICE = "of the same source and parameters; --overwrite makes it anew"


def find_finished_slides(run: BatchRun, request: UpscaleRequest) -> None:
    """Add the entries of slides whose results are certainly finished; no slide and no network is opened for it."""
    index = open_index()
    for number, item in enumerate(run.items):
        row = find_finished_row(index, specify_request(request, item), item)
        if row:
            run.add_finished(number, row)
    rows = run.rows
    if rows:
        verb = "is" if len(rows) == 1 else "are"
        print_message(f"{len(rows)} of {format_count(len(run.items), 'slide')} {verb} finished already, {SAME_ADVICE}")
    for key, words in (("no_tissue", "without any tissue"), ("unreadable", "that could not all be decoded")):
        names = [Path(row["slide"]).name for row in rows if key in row]
        if names:
            shown = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
            print_warnings([f"among them {format_count(len(names), 'slide')} {words}, as the table says: {shown}"])


def open_index() -> FinishedIndex:
    """Open the index of finished results in the user's cache folder."""
    from wsisr.upscaling.finished_index import FinishedIndex

    return FinishedIndex(find_index_folder())


def find_finished_row(index: FinishedIndex, request: UpscaleRequest, item: BatchItem) -> ReportRow | None:
    """Return the report entry of a slide whose result is certainly finished; None where only a run can tell."""
    entry = index.find(request)
    if entry is None:
        return None
    unreadable = {"unreadable": entry.unreadable} if entry.unreadable else {}
    no_tissue = {"no_tissue": True} if entry.lacks_tissue else {}
    return batch.report_row(item, "finished before") | unreadable | no_tissue


def announce_finished_slide(request: UpscaleRequest, row: ReportRow) -> None:
    """Print that the result of the only slide is finished, and what its reader must know, as a run would."""
    print_message(f"{request.output_path}: is finished already, {SAME_ADVICE}")
    if "unreadable" in row:
        print_warnings([f"{request.slide_path}: parts could not be decoded and are {row['unreadable']}"])
    if "no_tissue" in row:
        from wsisr.upscaling.background import describe_missing_tissue

        print_warnings([describe_missing_tissue(request.tissue, request.background)])


@contextmanager
def record_finished(request: UpscaleRequest) -> Iterator[list[UpscaleReport]]:
    """Context: a report that is appended inside is remembered, so that the next run finds the result at once."""
    from wsisr.upscaling.finished_index import FinishedEntry, try_describe_slide

    began, before = time.time(), try_describe_slide(request.slide_path)
    reports: list[UpscaleReport] = []
    yield reports
    for report in reports:
        if report.state in ("done", "finished before"):
            open_index().add(request, before, began, FinishedEntry(report.unreadable, report.lacks_tissue))
