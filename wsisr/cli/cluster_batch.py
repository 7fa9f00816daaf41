"""Batch on a cluster: the workers share the tiles of all slides; this process writes several slides at a time.

A slide is begun once the workers could take more tasks than the slides before it have left, so that none of them waits
for the last tiles, the coarser levels and the verification of one slide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Protocol

import typer

from wsisr.cli.batch import BatchItem, BatchRun, attempt_item
from wsisr.cli.console import print_message, stderr_console
from wsisr.cli.exit_codes import EXIT_INTERRUPTED
from wsisr.cli.frontend import INTERRUPTED_MESSAGE, STOPPED_MESSAGE, Frontend
from wsisr.cli.parallel_batch import BatchDisplay, ProgressMessage
from wsisr.cli.progress import ProgressFormatter, describe_steps, show_progress
from wsisr.cli.run_report import ReportRow
from wsisr.cli.shutdown import catch_stop_signals
from wsisr.parallel.processes import Message, StopFlag
from wsisr.progress import Progress, format_count

if TYPE_CHECKING:
    from wsisr.cluster.place import ClusterPlace
    from wsisr.cluster.session import ClusterSession

MOST_OPEN_SLIDES = 16
"""Slides that are written at a time, at most; each may wait for its disk, and few have tiles for all workers."""

LOOK_EVERY_S = 0.2
"""Seconds between two looks at whether the workers could take more."""


class ClusterEnlarger(Protocol):
    """Enlarges a slide by a cluster."""

    def __call__(self, item: BatchItem, frontend: Frontend, *, cluster: ClusterSession) -> ReportRow: ...


@contextmanager
def open_cluster(place: ClusterPlace, *, allow_mixed: bool, quiet: bool) -> Iterator[ClusterSession]:
    """Context: a session on a cluster, whose workers and dashboard are said. Raises `ClusterError`."""
    from wsisr.cluster.session import open_session

    with open_session(place, warn=lambda text: print_message(f"warning: {text}"), allow_mixed=allow_mixed) as session:
        workers = session.list_workers()
        threads = sum(int(worker.get("nthreads", 1)) for worker in workers.values())
        counts = f"{format_count(len(workers), 'worker')} with {format_count(threads, 'thread')}"
        dashboard = f"; dashboard: {session.dashboard}" if session.dashboard else ""
        print_message(f"cluster {place.text}: {counts}{dashboard}", quiet=quiet)
        yield session


def run_cluster_batch(
    run: BatchRun, enlarge: ClusterEnlarger, session: ClusterSession, labels: dict[BatchItem, str]
) -> None:
    """Enlarge the slides of a run that have no entry yet by the workers of a session.

    An error is printed and reported, and stops no other slide, unless the scheduler is gone, which is raised. Exits as
    an interrupted program once a stop is requested, after the tiles in hand.
    """
    run.begin()
    display = BatchDisplay([item.slide.name for item in run.items])
    waiting, begun = list(run.pending), []
    active: dict[Future[ReportRow], tuple[int, _ClusterFrontend]] = {}
    with (
        display.show_bars(),
        catch_stop_signals(end_message=INTERRUPTED_MESSAGE) as stop,
        ThreadPoolExecutor(MOST_OPEN_SLIDES, "wsisr-slide") as pool,
    ):
        while (waiting or active) and not (stop.is_set() or session.is_lost):
            if waiting and len(active) < MOST_OPEN_SLIDES and _is_another_wanted(active, session):
                number = waiting.pop(0)
                begun.append(number)
                frontend = _ClusterFrontend(display, number, labels[run.items[number]], stop)
                enlarge_one = partial(enlarge, frontend=frontend, cluster=session)
                task = pool.submit(attempt_item, run.items[number], enlarge_one, run.describe_position(number))
                active[task] = number, frontend
            done, _ = wait(active, LOOK_EVERY_S, FIRST_COMPLETED)
            for task in done:
                _add_row(run, display, active.pop(task)[0], task)
        if active:
            session.interrupt()
        for task, (number, _) in active.items():
            _add_row(run, display, number, task)
    if not run.is_complete:
        run.add_stopped(begun)
        session.raise_if_lost()
        print_message(STOPPED_MESSAGE)
        raise typer.Exit(EXIT_INTERRUPTED)


def _add_row(run: BatchRun, display: BatchDisplay, number: int, task: Future[ReportRow]) -> None:
    """Wait for a slide, and add its entry, unless it was stopped."""
    was_stopped = isinstance(task.exception(), typer.Exit | KeyboardInterrupt)
    display.remove_bar(number)
    if not was_stopped:
        run.add(number, task.result())


def _is_another_wanted(active: dict[Future[ReportRow], tuple[int, _ClusterFrontend]], session: ClusterSession) -> bool:
    """Return whether the slides at work are all past their preparation, and leave workers without tasks."""
    return all(frontend.has_begun.is_set() for _, frontend in active.values()) and session.has_room


class _ClusterFrontend:
    """The frontend of one of several slides in this process: a bar among others, or a line now and then."""

    announces_stop = False

    def __init__(self, display: BatchDisplay, number: int, label: str, stop: StopFlag) -> None:
        self.label = label
        self.has_begun = Event()
        """Set once the slide's tasks are submitted."""
        self._display, self._number, self._stop = display, number, stop

    @contextmanager
    def catch_stop_signals(self) -> Iterator[StopFlag]:
        yield self._stop

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        shown = self._show_bar(steps, formatter) if stderr_console.is_terminal else None
        for step in shown or show_progress(steps, formatter, label=self.label):
            self.has_begun.set()
            yield step

    def show_preparation(self, _text: str) -> AbstractContextManager[None]:
        return nullcontext()

    def _show_bar(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        for step, text in describe_steps(steps, formatter):
            self._display.show(Message(self._number, ProgressMessage(step, text)))
            yield step
