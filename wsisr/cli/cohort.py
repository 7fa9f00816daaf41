"""Cohort: the slides of one `wsisr upscale`, from their list to their results and the run's exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.cli import batch
from wsisr.cli.batch import BatchItem, ReportRow
from wsisr.cli.console import print_message
from wsisr.cli.frontend import INTERRUPTED_MESSAGE, Frontend, TerminalFrontend
from wsisr.cli.output_paths import create_output_folder, output_path_for
from wsisr.cli.resources import ParallelResources
from wsisr.cli.selection import report_as_usage_error
from wsisr.progress import format_count

if TYPE_CHECKING:
    from wsisr.parallel.processes import WorkerSlot
    from wsisr.slides.listing import SlideEntry
    from wsisr.upscaling.request import UpscaleRequest


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out, whatever is requested of each slide."""

    several: bool
    """Whether slides are run as a batch, which one slide may be, too."""
    folder: Path | None
    """Folder of the results of a batch; None puts each beside its slide."""
    jobs: str
    shard: str | None
    report: Path | None
    quiet: bool


def run_upscale(entries: Sequence[SlideEntry], request: UpscaleRequest, options: RunOptions) -> None:
    """Enlarge slides as requested, and exit with the run's code. Raises `WsisrError`."""
    if options.several:
        _run_batch(entries, request, options)
    else:
        _run_single(entries[0], request, options)


def _run_single(entry: SlideEntry, request: UpscaleRequest, options: RunOptions) -> None:
    item = BatchItem(entry.path, request.output_path)
    batch.check_report_path(options.report, [item.output, *filter(None, [request.mask_path])])
    if not options.quiet and item.slide.exists():
        print_message(f"{item.slide}: the result is to be {item.output.absolute()}")
    enlargement = SlideEnlargement(request, ParallelResources(1, (request.device,)), options.quiet)
    rows = [batch.run_single(item, partial(enlargement, frontend=TerminalFrontend()), options.report)]
    batch.exit_unless_complete(rows)


def _run_batch(entries: Sequence[SlideEntry], request: UpscaleRequest, options: RunOptions) -> None:
    items = plan_items(entries, request, options.folder)
    batch.refuse_shared_outputs(items)
    batch.check_report_path(options.report, [item.output for item in items])
    items = list(batch.select_shard(items, options.shard))
    if not options.quiet:
        print_message(_describe_run(items, options.folder))
    if options.folder:
        create_output_folder(options.folder)
    model = None if request.model is None else str(request.model)
    resources = ParallelResources.from_options(options.jobs, len(items), request.device, model)
    rows = enlarge_slides(SlideEnlargement(request, resources, options.quiet), items, options.report)
    batch.write_batch_report(options.report, rows)
    batch.finish_batch(rows, quiet=options.quiet)


def plan_items(entries: Sequence[SlideEntry], request: UpscaleRequest, folder: Path | None) -> list[BatchItem]:
    """Name the output of each slide. Raises `OptionError` or `OutputError` for an output that cannot be requested."""
    items = [
        BatchItem(entry.path, output_path_for(folder, entry, request.output_ending), entry.mpp, entry.case)
        for entry in entries
    ]
    with report_as_usage_error():
        for item in items:
            specify_request(request, item)
    return items


def specify_request(request: UpscaleRequest, item: BatchItem) -> UpscaleRequest:
    """Return the request for one slide of several; the pixel size that a table gives counts before that of the run."""
    mpp = request.mpp if item.mpp is None else item.mpp
    return replace(request, slide=item.slide, output=item.output, mpp=mpp)


def _describe_run(items: Sequence[BatchItem], folder: Path | None) -> str:
    slides = format_count(len(items), "slide")
    if folder:
        return f"{slides}; the results go to {folder.absolute()}"
    first = f", the first is {items[0].output.absolute()}" if items else ""
    return f"{slides}; each result goes beside its slide{first}"


@dataclass(frozen=True, slots=True)
class SlideEnlargement:
    """A request as it is carried out for one slide after another, in this process or in worker processes."""

    request: UpscaleRequest
    resources: ParallelResources
    quiet: bool

    def __call__(self, item: BatchItem, frontend: Frontend, slot: WorkerSlot | None = None) -> ReportRow:
        """Enlarge a slide and return its entry in the report. A worker takes its share of devices and memory."""
        from wsisr.cli.job_display import show_job

        request = specify_request(self.request, item)
        if slot is not None:
            memory = request.memory / self.resources.slides_per_device
            request = replace(request, device=self.resources.device_for(slot.number), memory=memory)
        return show_job(request, frontend, quiet=self.quiet).to_json()


def enlarge_slides(enlargement: SlideEnlargement, items: Sequence[BatchItem], report: Path | None) -> list[ReportRow]:
    """Enlarge slides one after the other, or in parallel where the resources allow; return their report entries."""
    if enlargement.resources.slides_at_once > 1:
        from wsisr.cli.parallel_batch import run_parallel_batch

        return run_parallel_batch(items, enlargement, enlargement.resources.slides_at_once, report)
    from wsisr.cli.shutdown import catch_stop_signals

    with catch_stop_signals(end_message=INTERRUPTED_MESSAGE) as stop:
        return batch.run_batch(items, partial(enlargement, frontend=TerminalFrontend(stop)), stop, report)
