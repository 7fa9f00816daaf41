"""Cohort: the slides of one `wsisr upscale`, from their list to their results and the run's exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wsisr.cli import batch
from wsisr.cli.batch import BatchItem, BatchRun
from wsisr.cli.batch_items import plan_items, specify_request, warn_of_table_mpp
from wsisr.cli.batch_plan import announce_dry_run, plan_batch
from wsisr.cli.batch_table import build_batch_table, print_table
from wsisr.cli.console import print_message
from wsisr.cli.enlargement import SlideEnlargement, choose_resources, enlarge_slides, open_cluster_of_run
from wsisr.cli.finished_slides import announce_finished_slide, find_finished_row, find_finished_slides, open_index
from wsisr.cli.frontend import TerminalFrontend
from wsisr.cli.log_file import open_log
from wsisr.cli.output_paths import check_output_folder, create_output_folder
from wsisr.cli.report_format import is_page
from wsisr.cli.request_check import check_batch_request
from wsisr.cli.resources import ParallelResources, warn_of_unused_gpu
from wsisr.cli.run_options import RunOptions
from wsisr.cli.run_paths import check_run_folders, check_run_paths
from wsisr.cli.run_report import ReportRow, RunReport
from wsisr.cli.selection import report_as_usage_error
from wsisr.cli.slide_stage import enlarge_from_stage, open_stage
from wsisr.progress import format_count
from wsisr.remote.path import is_url

if TYPE_CHECKING:
    from wsisr.cli.run_page import RunPage
    from wsisr.slides.listing import SlideEntry
    from wsisr.upscaling.request import UpscaleRequest


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
        announce_dry_run(options)
    trust = request.trust_files
    side_files = [request.mask_path, *((trust.layer, trust.areas) if trust else ())]
    report.check_path([item.output, *filter(None, side_files)])
    report.write([])  # so that a run that was given the same report is refused before it works for hours
    if item.slide.exists():
        print_message(f"{item.slide}: the result is to be {item.output.absolute()}", quiet=options.quiet)
    report.page = make_page(report, request, [item])
    row = find_finished_row(open_index(), request, item)
    if row:
        announce_finished_slide(request, row)
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


def _run_batch(entries: Sequence[SlideEntry], request: UpscaleRequest, options: RunOptions) -> None:
    if options.folder and is_url(options.folder):
        check_output_folder(options.folder)  # which refuses it, before a line takes it for a folder of this machine
    if len(entries) == 1:  # of several, one that is missing is a failed slide
        from wsisr.slides.missing import refuse_missing_slide

        refuse_missing_slide(entries[0].path)
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
        _exit_with(plan_batch(run, request, options))
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


def _describe_run(items: Sequence[BatchItem], folder: Path | None) -> str:
    slides = format_count(len(items), "slide")
    if folder:
        return f"{slides}; the results go to {folder.absolute()}"
    first = f", the first is {items[0].output.absolute()}" if items else ""
    return f"{slides}; each result goes beside its slide{first}"


def _exit_with(code: int) -> None:
    if code:
        raise typer.Exit(code)
