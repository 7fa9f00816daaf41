"""Enlargement of the slides of a run: one after the other, beside each other, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from wsisr.cli import batch
from wsisr.cli.batch import BatchItem, BatchRun
from wsisr.cli.batch_items import label_items, specify_request
from wsisr.cli.finished_slides import record_finished
from wsisr.cli.frontend import INTERRUPTED_MESSAGE, Frontend, TerminalFrontend
from wsisr.cli.request_check import check_batch_request
from wsisr.cli.resources import ParallelResources
from wsisr.cli.run_options import RunOptions
from wsisr.cli.run_report import ReportRow
from wsisr.cli.slide_stage import enlarge_from_stage, open_stage
from wsisr.errors import OptionError

if TYPE_CHECKING:
    from wsisr.cluster.session import ClusterSession
    from wsisr.parallel.processes import WorkerSlot
    from wsisr.upscaling.request import UpscaleRequest


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
        show = partial(show_job, request, frontend, quiet=self.quiet, brief=self.brief, cluster=cluster)
        if request.dry_run:
            return show().to_json()
        with record_finished(requested) as finished:
            report = show()
            finished.append(report)
        return report.to_json()


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
