"""Cohort: the slides of one `wsisr upscale`, from their list to their results and the run's exit code."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from wsisr.cli import batch
from wsisr.cli.batch import BatchItem, BatchRun, EnlargeSlide
from wsisr.cli.batch_table import build_batch_table, build_plan_table, describe_plan_disk
from wsisr.cli.cache_folder import find_index_folder
from wsisr.cli.console import log_writers, print_message, stdout_console, write_log
from wsisr.cli.frontend import INTERRUPTED_MESSAGE, Frontend, TerminalFrontend
from wsisr.cli.log_file import open_log
from wsisr.cli.output_paths import (
    check_output_folder,
    create_output_folder,
    output_path_for,
    refuse_rows_of_one_output,
)
from wsisr.cli.report_format import is_page
from wsisr.cli.request_check import check_batch_request
from wsisr.cli.resources import ParallelResources, warn_of_unused_gpu
from wsisr.cli.run_paths import check_run_folders, check_run_paths
from wsisr.cli.run_report import ReportRow, RunReport
from wsisr.cli.selection import report_as_usage_error
from wsisr.errors import OptionError, OutputError, SlideError, WsisrError
from wsisr.progress import format_count

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.cli.run_page import RunPage
    from wsisr.cluster.place import ClusterPlace
    from wsisr.cluster.session import ClusterSession
    from wsisr.parallel.processes import WorkerSlot
    from wsisr.slides.listing import SlideEntry
    from wsisr.slides.staging import SlideStage
    from wsisr.upscaling.finished_index import FinishedIndex
    from wsisr.upscaling.report import UpscaleReport
    from wsisr.upscaling.request import UpscaleRequest

SAME_ADVICE = "of the same source and parameters; --overwrite makes it anew"


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
    log: Path | None = None
    stage: Path | None = None
    """Folder for copies of the next slides; None reads slides where they lie."""
    stage_limit: float = 50.0
    """GB that such copies may take together."""
    cluster: ClusterPlace | None = None
    """Where the workers are that compute the tiles; None computes them here."""
    allow_mixed_workers: bool = False
    """Whether workers may give other pixels than the others."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """All options of the run by their names, for the report."""


def run_upscale(entries: Sequence[SlideEntry], request: UpscaleRequest, options: RunOptions) -> None:
    """Enlarge slides as requested, and exit with the run's code. Raises `WsisrError`."""
    if options.several:
        items = plan_items(entries, request, options.folder)
    else:
        items = [BatchItem(entries[0].path, request.output_path)]
    if request.dry_run:  # a run itself finds out where it can be reported
        check_run_folders({"work in progress": request.work_path, "copies of slides": options.stage})
    with report_as_usage_error():
        files = {"--save-mask": request.mask_path, "--report": options.report, "--log": options.log}
        check_run_paths(items, request, files)
    with open_log(None if request.dry_run else options.log):
        if options.cluster is None:
            warn_of_unused_gpu(request.device, None if request.model is None else str(request.model))
        if options.several:
            _run_batch(entries, request, options)
        else:
            _run_single(entries[0], request, options)


def _run_single(entry: SlideEntry, request: UpscaleRequest, options: RunOptions) -> None:
    item = BatchItem(entry.path, request.output_path)
    report = RunReport(None if request.dry_run else options.report, options.configuration)
    if request.dry_run:
        _announce_dry_run(options)
    trust = request.trust_files
    side_files = [request.mask_path, *((trust.layer, trust.areas) if trust else ())]
    report.check_path([item.output, *filter(None, side_files)])
    report.write([])  # so that a run that was given the same report is refused before it works for hours
    if item.slide.exists():
        print_message(f"{item.slide}: the result is to be {item.output.absolute()}", quiet=options.quiet)
    report.page = make_page(report, request, [item])
    row = find_finished_row(open_index(), request, item)
    if row:
        print_message(f"{item.output}: is finished already, {SAME_ADVICE}")
        report.write_somewhere([row], batch.find_exit_code([row]))
    else:
        enlargement = SlideEnlargement(request, ParallelResources(1, (request.device,)), options.quiet)

        def enlarge(item: BatchItem) -> ReportRow:
            with open_cluster_of_run(options, request) as cluster:
                return enlargement(item, TerminalFrontend(), cluster=cluster)

        def enlarge_staged(item: BatchItem) -> ReportRow:
            check_batch_request(request, on_this_machine=options.cluster is None)
            with open_stage(options, [] if request.dry_run else [item.slide]) as stage:
                return enlarge_from_stage(item, enlarge, stage)

        row = batch.run_single(item, enlarge_staged, report)
    report.announce(quiet=options.quiet)
    _exit_with(batch.find_exit_code([row]))


def make_page(report: RunReport, request: UpscaleRequest, items: Sequence[BatchItem]) -> RunPage | None:
    """Return what draws the report as a page; None where it is JSON, or not written."""
    if report.path is None or not is_page(report.path):
        return None
    from wsisr.cli.run_page import RunPage

    return RunPage({str(item.output): specify_request(request, item) for item in items})


def warn_of_table_mpp(entries: Sequence[SlideEntry], mpp: float | None) -> None:
    """Print a warning where tables give other pixel sizes than `--mpp`: theirs count."""
    others = [entry for entry in entries if mpp is not None and entry.mpp not in (None, mpp)]
    if others:
        counts = f"not the {mpp:g} of --mpp, counts for {format_count(len(others), 'slide')}"
        print_message(
            f"warning: the mpp of the table, {counts}; the first is {others[0].path}, {others[0].mpp:g} um/px"
        )


def _run_batch(entries: Sequence[SlideEntry], request: UpscaleRequest, options: RunOptions) -> None:
    warn_of_table_mpp(entries, request.mpp)
    items = plan_items(entries, request, options.folder)
    batch.refuse_shared_outputs(items)
    report = RunReport(None if request.dry_run else options.report, options.configuration)
    report.check_path(item.output for item in items)
    items = list(batch.select_shard(items, options.shard))
    report.slide_count = len(items)
    report.page = make_page(report, request, items)
    report.write([])  # so that a run that was given the same report is refused before it works for hours
    print_message(_describe_run(items, options.folder), quiet=options.quiet)
    run = BatchRun(items, report, quiet=options.quiet)
    if request.dry_run:
        _plan_batch(run, request, options)
        return
    with report.write_at_error(lambda: run.rows):
        _make_missing_slides(run, request, options)
    exit_code = batch.find_exit_code(run.rows)
    report.write_somewhere(run.rows, exit_code)
    report.announce(quiet=options.quiet)
    _exit_with(exit_code)


def _make_missing_slides(run: BatchRun, request: UpscaleRequest, options: RunOptions) -> None:
    """Enlarge the slides whose results are not finished, and print the table of all."""
    if options.folder:
        check_output_folder(options.folder)
    find_finished_slides(run, request)
    resources = choose_resources(run, request, options)
    if options.folder:
        create_output_folder(options.folder)
    try:
        if run.pending:
            enlarge_slides(run, request, options, resources)
    finally:  # also after Ctrl-C
        print_table(build_batch_table(run.rows, len(run.items)))


def _plan_batch(run: BatchRun, request: UpscaleRequest, options: RunOptions) -> None:
    """Print what a run would do with each slide, and the sums; create nothing."""
    from wsisr.cli.shutdown import catch_stop_signals

    _announce_dry_run(options)
    if options.folder:
        check_output_folder(options.folder)
    find_finished_slides(run, request)
    resources = ParallelResources(1, (request.device,))
    if run.pending:
        check_batch_request(request)
    plan = SlideEnlargement(request, resources, quiet=True, brief=True)

    labels = label_items(run.items)

    def plan_slide(item: BatchItem) -> ReportRow:
        # A missing folder of results cannot be tried out; the folder that it is to lie in stands for it.
        folder = item.output.parent
        stand_in = item.output if folder.is_dir() else folder.with_name(f"{folder.name}.{item.output.name}")
        row = plan(item._replace(output=stand_in), frontend=TerminalFrontend(stop, labels[item]))
        return row | {"output": str(item.output)}

    try:
        with catch_stop_signals(end_message=INTERRUPTED_MESSAGE) as stop:
            batch.run_batch(run, plan_slide, stop)
    finally:  # also after Ctrl-C
        print_table(build_plan_table([row for row in run.rows if row["state"] != "stopped"]))
    folder = options.folder or (run.items[0].output.parent if run.items else Path())
    print_message(describe_plan_disk(run.rows, folder if folder.is_dir() else folder.parent))
    _exit_with(batch.find_exit_code(run.rows))


def _announce_dry_run(options: RunOptions) -> None:
    if options.report:
        print_message(f"{options.report}: a dry run writes nothing, no report either")
    if options.log:
        print_message(f"{options.log}: a dry run writes nothing, no log either")


def _exit_with(code: int) -> None:
    if code:
        raise typer.Exit(code)


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
    brief: bool = False
    """Whether the slide is one of many."""

    def __call__(
        self,
        item: BatchItem,
        frontend: Frontend,
        slot: WorkerSlot | None = None,
        cluster: ClusterSession | None = None,
    ) -> ReportRow:
        """Enlarge a slide and return its entry in the report. A worker takes its share of devices and memory."""
        from wsisr.cli.job_display import show_job

        requested = request = specify_request(self.request, item)
        if slot is not None:
            memory = request.memory / self.resources.slides_per_device
            request = replace(request, device=self.resources.device_for(slot.number), memory=memory)
        with record_finished(requested) as finished:
            report = show_job(request, frontend, quiet=self.quiet, brief=self.brief, cluster=cluster)
            finished.append(report)
        return report.to_json()


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


def label_items(items: Sequence[BatchItem]) -> dict[BatchItem, str]:
    """Return what the messages about each slide begin with: `[3/12] slide.svs: `."""
    return {item: f"[{number}/{len(items)}] {item.slide.name}: " for number, item in enumerate(items, 1)}


def choose_resources(run: BatchRun, request: UpscaleRequest, options: RunOptions) -> ParallelResources:
    """Return how the slides that are not finished share the machine.

    Raises `OptionError` or `ModelNotFoundError` if none of them could be enlarged as requested.
    """
    model = None if request.model is None else str(request.model)
    if run.pending:
        check_batch_request(request, on_this_machine=options.cluster is None)
    if options.cluster:
        return ParallelResources(1, (request.device,))
    resources = ParallelResources.from_options(options.jobs, len(run.pending), request.device, model)
    if resources.slides_per_device > 1:
        check_batch_request(request, resources.slides_per_device)
    return resources


def enlarge_slides(run: BatchRun, request: UpscaleRequest, options: RunOptions, resources: ParallelResources) -> None:
    """Enlarge the slides that are not finished, one after the other, or in parallel where the resources allow."""
    enlargement = SlideEnlargement(request, resources, options.quiet, brief=True)
    if options.cluster:
        from wsisr.cli.cluster_batch import run_cluster_batch

        with open_cluster_of_run(options, request) as cluster:
            assert cluster
            run_cluster_batch(run, enlargement, cluster, label_items(run.items))
        return
    if resources.slides_at_once > 1:
        from wsisr.cli.parallel_batch import run_parallel_batch

        if options.stage:
            raise OptionError("copies for one slide at a time; give --jobs 1", option="--stage")
        run_parallel_batch(run, enlargement, resources.slides_at_once)
        return
    from wsisr.cli.shutdown import catch_stop_signals

    labels = label_items(run.items)
    with (
        catch_stop_signals(end_message=INTERRUPTED_MESSAGE) as stop,
        open_stage(options, [run.items[number].slide for number in run.pending]) as stage,
    ):

        def enlarge(item: BatchItem) -> ReportRow:
            frontend = TerminalFrontend(stop, labels[item])
            return enlarge_from_stage(item, partial(enlargement, frontend=frontend), stage)

        batch.run_batch(run, enlarge, stop)


@contextmanager
def open_cluster_of_run(options: RunOptions, request: UpscaleRequest) -> Iterator[ClusterSession | None]:
    """Context: the cluster of a run; None where it has none, or is dry."""
    if options.cluster is None or request.dry_run:
        yield None
        return
    from wsisr.cli.cluster_batch import open_cluster

    with open_cluster(options.cluster, allow_mixed=options.allow_mixed_workers, quiet=options.quiet) as cluster:
        yield cluster


@contextmanager
def open_stage(options: RunOptions, slides: Sequence[Path]) -> Iterator[SlideStage | None]:
    """Context: the folder in which slides are copied; None if slides are read where they lie."""
    if options.stage is None or not slides:
        yield None
        return
    from wsisr.slides.staging import SlideStage

    with closing(SlideStage(options.stage, int(options.stage_limit * 1e9), list(dict.fromkeys(slides)))) as stage:
        yield stage


def enlarge_from_stage(item: BatchItem, enlarge: EnlargeSlide, stage: SlideStage | None) -> ReportRow:
    """Enlarge a slide from its copy, if there is a stage; all that is said names the slide itself."""
    from wsisr.files import refuse_source

    if stage is None:
        return enlarge(item)
    refuse_source(item.output, item.slide)
    with ExitStack() as held:
        try:
            copy = held.enter_context(stage.hold(item.slide))
        except SlideError as error:
            print_message(f"warning: {error}; it is read where it lies")
            return enlarge(item)
        try:
            return enlarge(item._replace(slide=copy)) | {"slide": str(item.slide)}
        except WsisrError as error:
            raise type(error)(str(error).replace(str(copy), str(item.slide))) from error


def print_table(table: Table) -> None:
    """Print a table on stdout, and into the log of the run."""
    stdout_console.print(table)
    if log_writers:
        with stdout_console.capture() as text:
            stdout_console.print(table)
        write_log(text.get())
