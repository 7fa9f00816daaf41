"""Display of a job: its events become messages, a progress bar and panels."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import typer

from wsisr.cli.console import print_message, print_warnings, stdout_console
from wsisr.cli.exit_codes import EXIT_INTERRUPTED
from wsisr.cli.frontend import STOPPED_MESSAGE, Frontend
from wsisr.cli.summary import dry_run_panel, format_pace, result_panel
from wsisr.cli.verdicts import list_doubts
from wsisr.models import loading
from wsisr.progress import format_count
from wsisr.upscaling.job import Advanced, Finished, JobEvent, MaskSaved, Noted, Started, Warned, run_job
from wsisr.upscaling.trust.summary import TrustSaved

if TYPE_CHECKING:
    from wsisr.cluster.session import ClusterSession
    from wsisr.parallel.processes import StopFlag
    from wsisr.progress import Progress
    from wsisr.upscaling.report import UpscaleReport
    from wsisr.upscaling.request import UpscaleRequest


def show_job(
    request: UpscaleRequest,
    frontend: Frontend,
    *,
    quiet: bool,
    brief: bool = False,
    cluster: ClusterSession | None = None,
) -> UpscaleReport:
    """Run a job to its end, show its events, and return its report.

    `brief` is for one slide of many: the batch's table says what a panel would. Workers of a cluster compute the tiles,
    if one is given. Exits as an interrupted program once a
    stop is requested. Raises `WsisrError`.
    """
    display = JobDisplay(request, frontend, quiet=quiet, brief=brief)
    with closing(_start_job(request, cluster)) as events, ExitStack() as preparation:
        if not quiet:
            if request.dry_run and not brief:
                print_message("loads the model, and measures it on a few samples of the slide")
            preparation.enter_context(frontend.show_preparation("loads the model, looks at the slide"))
        for event in events:
            display.show(event)
            if isinstance(event, Started):
                preparation.close()
                display.show_tiles(events, event)
    assert display.finished is not None
    display.print_result(display.finished)
    return display.finished.report


def _start_job(request: UpscaleRequest, cluster: ClusterSession | None) -> Generator[JobEvent, None, None]:
    """Return the events of a job, whose tiles workers compute if there is a cluster."""
    if cluster is None:
        return run_job(request, loading)
    from wsisr.cluster.remote import run_cluster_job

    return run_cluster_job(request, cluster)


class JobDisplay:
    """Where the events of one job are shown."""

    def __init__(self, request: UpscaleRequest, frontend: Frontend, *, quiet: bool, brief: bool = False) -> None:
        self.finished: Finished | None = None
        self._request = request
        self._frontend = frontend
        self._quiet = quiet
        self._brief = brief

    def show(self, event: JobEvent) -> None:
        """Print what a line is enough for. `quiet` leaves warnings and what was found finished."""
        if isinstance(event, Warned):
            print_warnings([self._name_slide(event.text)])
        elif isinstance(event, Noted):
            print_message(self._name_slide(event.text))
        elif isinstance(event, Finished):
            self.finished = event
        elif isinstance(event, MaskSaved) and not self._quiet:
            size = f"{event.size.width} x {event.size.height} px"
            print_message(f"{event.path}: shows the tissue of the whole slide, in {size}")
        elif isinstance(event, TrustSaved) and not self._quiet:
            areas = format_count(event.areas, "doubtful area")
            print_message(f"{event.path}: {event.summary}; {areas} in {event.areas_path.name}")

    def show_tiles(self, events: Generator[JobEvent, None, None], started: Started) -> None:
        """Show the progress of the tiles, and all that follows; a stop request is heard between two steps."""
        plan, info = started.plan, started.plan.upscaler.info
        # The tiles in hand are waited for inside, so that a second Ctrl-C need not wait for them.
        with self._frontend.catch_stop_signals() as stop, closing(events):
            sizes = f"{plan.region.size} px to {plan.output.size} px"
            tiles = format_count(len(plan.grid), "tile")
            print_message(f"{info.name}, {info.hardware}: {sizes} in {tiles}", quiet=self._quiet or self._brief)
            steps = self._take_steps(events, stop)
            for _ in steps if self._quiet else self._frontend.show_progress(steps, format_pace):
                pass

    def print_result(self, finished: Finished) -> None:
        """Print the panel of a dry run, or unless quiet that of a result."""
        if finished.report.state == "planned" and not self._brief:
            stdout_console.print(
                dry_run_panel(finished.plan, finished.report, str(self._request.tissue), self._request.work_path)
            )
        if finished.report.state != "done":
            return
        if not (self._quiet or self._brief):
            stdout_console.print(result_panel(finished.plan, finished.report, str(self._request.tissue)))
        elif finished.report.quality:
            for doubt in list_doubts(finished.report.quality):
                print_warnings([f"{finished.report.output}: {doubt}"])

    def _name_slide(self, text: str) -> str:
        """Return a text that names the slide, if it is one of many, or its result."""
        if str(self._request.output_path) in text:
            return text
        label = self._frontend.label
        return f"{label}{text.removeprefix(f'{self._request.slide_path}: ')}" if label else text

    def _take_steps(self, events: Iterator[JobEvent], stop: StopFlag) -> Iterator[Progress]:
        """Yield the progress among the events and show all others."""
        is_first = True
        for event in events:
            if not isinstance(event, Advanced):
                self.show(event)
                continue
            if stop.is_set():
                if self._frontend.announces_stop:
                    print_message(STOPPED_MESSAGE)
                raise typer.Exit(EXIT_INTERRUPTED)
            step = event.progress
            if is_first and step.done_before and not self._quiet:
                share = f"{100 * step.done_before / step.total:.0f} %"
                print_message(f"{self._request.output_path}: goes on from {share} that an earlier run finished")
            is_first = False
            yield step
