"""Plan of a batch, as a dry run prints it: what a run would do with each slide, and the sums."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.cli import batch
from wsisr.cli.batch import BatchItem, BatchRun
from wsisr.cli.batch_items import label_items
from wsisr.cli.batch_table import build_plan_table, describe_plan_disk, print_table
from wsisr.cli.console import print_message
from wsisr.cli.enlargement import SlideEnlargement
from wsisr.cli.finished_slides import find_finished_slides
from wsisr.cli.frontend import INTERRUPTED_MESSAGE, TerminalFrontend
from wsisr.cli.output_paths import check_output_folder
from wsisr.cli.request_check import check_batch_request
from wsisr.cli.resources import ParallelResources
from wsisr.cli.run_options import RunOptions
from wsisr.cli.run_report import ReportRow

if TYPE_CHECKING:
    from wsisr.upscaling.request import UpscaleRequest


def plan_batch(run: BatchRun, request: UpscaleRequest, options: RunOptions) -> int:
    """Print what a run would do with each slide, and the sums; create nothing. Return the exit code."""
    from wsisr.cli.shutdown import catch_stop_signals

    announce_dry_run(options)
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
    return batch.find_exit_code(run.rows)


def announce_dry_run(options: RunOptions) -> None:
    """Print which of the files that were asked for a dry run does not write."""
    if options.report:
        print_message(f"{options.report}: a dry run writes nothing, no report either")
    if options.log:
        print_message(f"{options.log}: a dry run writes nothing, no log either")
