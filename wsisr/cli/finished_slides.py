"""Slides of a run whose results are finished: found before anything is loaded, and remembered for the next run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wsisr.cli import batch
from wsisr.cli.batch import BatchItem, BatchRun
from wsisr.cli.batch_items import specify_request
from wsisr.cli.cache_folder import find_index_folder
from wsisr.cli.console import print_message
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
    found = len(run.items) - len(run.pending)
    if found:
        verb = "is" if found == 1 else "are"
        print_message(f"{found} of {format_count(len(run.items), 'slide')} {verb} finished already, {SAME_ADVICE}")


def open_index() -> FinishedIndex:
    """Open the index of finished results in the user's cache folder."""
    from wsisr.upscaling.finished_index import FinishedIndex

    return FinishedIndex(find_index_folder())


def find_finished_row(index: FinishedIndex, request: UpscaleRequest, item: BatchItem) -> ReportRow | None:
    """Return the report entry of a slide whose result is certainly finished; None where only a run can tell."""
    entry = index.find(request)
    if entry is None:
        return None
    row = batch.report_row(item, "finished before")
    return row | ({"unreadable": entry.unreadable} if entry.unreadable else {})


@contextmanager
def record_finished(request: UpscaleRequest) -> Iterator[list[UpscaleReport]]:
    """Context: a report that is appended inside is remembered, so that the next run finds the result at once."""
    from wsisr.upscaling.finished_index import try_describe_slide

    began, before = time.time(), try_describe_slide(request.slide_path)
    reports: list[UpscaleReport] = []
    yield reports
    for report in reports:
        if report.state in ("done", "finished before") and not (request.dry_run or report.lacks_tissue):
            open_index().add(request, before, began, report.unreadable)
