"""Items of a batch: each slide with its output, and what is requested of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.cli.batch import BatchItem
from wsisr.cli.console import print_message
from wsisr.cli.output_paths import output_path_for, refuse_rows_of_one_output
from wsisr.cli.selection import report_as_usage_error
from wsisr.errors import OutputError
from wsisr.progress import format_count

if TYPE_CHECKING:
    from wsisr.slides.listing import SlideEntry
    from wsisr.upscaling.request import UpscaleRequest


def plan_items(entries: Sequence[SlideEntry], request: UpscaleRequest, folder: Path | None) -> list[BatchItem]:
    """Name the output of each slide. Raises `WsisrError` for an output that cannot be requested, or that a slide has
    twice."""
    items = [
        BatchItem(entry.path, output_path_for(folder, entry, request.output_ending), entry.mpp, entry.case)
        for entry in entries
    ]
    refuse_rows_of_one_output(entries, [item.output for item in items])
    with report_as_usage_error():
        for item, entry in zip(items, entries, strict=True):
            try:
                specify_request(request, item)
            except OutputError as error:
                raise type(error)(f"{entry.origin}: {error}" if entry.origin else str(error)) from error
    return items


def specify_request(request: UpscaleRequest, item: BatchItem) -> UpscaleRequest:
    """Return the request for one slide of several; the pixel size that a table gives counts before that of the run."""
    mpp = request.mpp if item.mpp is None else item.mpp
    return replace(request, slide=item.slide, output=item.output, mpp=mpp)


def label_items(items: Sequence[BatchItem]) -> dict[BatchItem, str]:
    """Return what the messages about each slide begin with: `[3/12] slide.svs: `."""
    return {item: f"[{number}/{len(items)}] {item.slide.name}: " for number, item in enumerate(items, 1)}


def warn_of_table_mpp(entries: Sequence[SlideEntry], mpp: float | None) -> None:
    """Print a warning where tables give other pixel sizes than `--mpp`: theirs count."""
    others = [entry for entry in entries if mpp is not None and entry.mpp not in (None, mpp)]
    if others:
        counts = f"not the {mpp:g} of --mpp, counts for {format_count(len(others), 'slide')}"
        print_message(
            f"warning: the mpp of the table, {counts}; the first is {others[0].path}, {others[0].mpp:g} um/px"
        )
