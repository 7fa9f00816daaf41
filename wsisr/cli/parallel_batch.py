"""Many slides beside each other, each in a process of its own; all of them speak at one terminal."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from wsisr.cli.batch import BatchItem, ReportRow, attempt_item, report_failure, report_row, try_write_report
from wsisr.cli.console import print_message, stderr_console, stdout_console
from wsisr.cli.exit_codes import EXIT_INTERRUPTED
from wsisr.cli.frontend import INTERRUPTED_MESSAGE as INTERRUPTED_AT_ONCE
from wsisr.cli.frontend import STOPPED_MESSAGE, Frontend
from wsisr.cli.progress import ProgressFormatter, create_progress_bars, describe_steps, show_progress
from wsisr.cli.shutdown import catch_stop_signals
from wsisr.parallel.processes import (
    Channel,
    JobDone,
    Message,
    StopFlag,
    WorkerDied,
    WorkerEvent,
    WorkerSlot,
    run_in_processes,
)
from wsisr.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SHOWN_EVERY_S = 0.1
"""Seconds between two steps of one slide that are worth a message."""


class SlideEnlarger(Protocol):
    """One slide on one seat. It is pickled: a frozen dataclass at module level."""

    def __call__(self, slide: Path, output: Path, desk: Frontend, seat: WorkerSlot) -> ReportRow: ...


@dataclass(frozen=True, slots=True)
class TextMessage:
    """Text for a stream of the terminal."""

    text: str
    answer: bool


@dataclass(frozen=True, slots=True)
class ProgressMessage:
    """How far a slide is, and the words behind its bar."""

    progress: Progress
    words: str


def run_parallel_batch(
    jobs: Sequence[BatchItem], enlarge: SlideEnlarger, workers: int, report: Path | None = None
) -> list[ReportRow]:
    """Each job done, or its one line of error said and kept, in their order; the report is up to date after each.

    Ends with the exit of an interrupted program where stopping was asked for, after the tiles in hand.
    """
    done: dict[int, ReportRow] = {}
    begun: dict[int, ReportRow] = {}
    try_write_report(report, [])
    board = _BatchDisplay([slide.name for slide, _ in jobs])
    work = _WorkerTask(enlarge, len(jobs), stderr_console.is_terminal)
    numbered = list(enumerate(jobs, 1))
    with (
        board.shown(),
        catch_stop_signals(end_message=INTERRUPTED_AT_ONCE) as stop,
        closing(run_in_processes(work, numbered, workers)) as happenings,
    ):
        for happening in happenings:
            facts = _finished_row(happening, jobs)
            if facts is not None and happening is not None:
                board.clear(happening.job)
                done[happening.job] = facts
                try_write_report(report, _in_order(done))
            if isinstance(happening, Message):
                begun[happening.job] = report_row(jobs[happening.job], "stopped")
                board.tell(happening)
            if stop.is_set():
                break
    if len(done) < len(jobs):
        try_write_report(report, _in_order(begun | done))
        print_message(STOPPED_MESSAGE)
        raise typer.Exit(EXIT_INTERRUPTED)
    return _in_order(done)


def _in_order(done: dict[int, ReportRow]) -> list[ReportRow]:
    return [done[number] for number in sorted(done)]


def _finished_row(happening: WorkerEvent[ReportRow], jobs: Sequence[BatchItem]) -> ReportRow | None:
    """What is to be reported where a job has come to its end."""
    if isinstance(happening, JobDone):
        return happening.result
    if isinstance(happening, WorkerDied):
        slide, output = jobs[happening.job]
        advice = "fewer --jobs or less --memory may help; the same command goes on from what is finished"
        place = f"{happening.job + 1} of {len(jobs)}"
        return report_failure(
            (slide, output), f"{slide}: its process was ended from outside ({happening.reason}); {advice}", place
        )
    return None


class _BatchDisplay:
    """The terminal, with a bar for each slide in hand; where it is a log, slides send lines themselves."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._bars: Bars | None = None
        self._tasks: dict[int, tuple[TaskID, str]] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        # What goes into a file must not be turned aside to where the bars are.
        self._bars = (
            create_progress_bars(redirect_stdout=stdout_console.is_terminal) if stderr_console.is_terminal else None
        )
        with self._bars or nullcontext():
            yield

    def tell(self, told: Message) -> None:
        if isinstance(told.content, TextMessage):
            self._say(told.content, self._names[told.job])
        if isinstance(told.content, ProgressMessage):
            self._draw(told.job, told.content)

    def clear(self, job: int) -> None:
        """Of what is done."""
        task = self._tasks.pop(job, None)
        if self._bars and task:
            self._bars.remove_task(task[0])

    def _say(self, said: TextMessage, name: str) -> None:
        if said.answer:
            stdout_console.file.write(said.text)
            stdout_console.file.flush()
            return
        for line in said.text.splitlines():
            text = line.removeprefix("wsisr: ")
            print_message(text if name in text else f"{name}: {text}")

    def _draw(self, job: int, step: ProgressMessage) -> None:
        if self._bars is None:
            return
        progress = step.progress
        task, stage = self._tasks.get(job, (None, ""))
        if task is None or stage != progress.stage:
            self.clear(job)
            title = f"{self._names[job]} {progress.stage}"
            task = self._bars.add_task(title, completed=progress.done_before, total=progress.total, text="")
            self._tasks[job] = task, progress.stage
        self._bars.update(task, completed=progress.done, text=step.words)


@dataclass(frozen=True, slots=True)
class _WorkerTask:
    """What a worker does with a job."""

    enlarge: SlideEnlarger
    total: int
    bars: bool

    def __call__(self, job: tuple[int, BatchItem], link: Channel) -> ReportRow:
        number, (slide, output) = job
        stderr_console.file, stdout_console.file = _MessageStream(link, answer=False), _MessageStream(link, answer=True)
        enlarge = partial(self.enlarge, desk=_WorkerFrontend(link, self.bars), seat=link.slot)
        return attempt_item((slide, output), enlarge, f"{number} of {self.total}")


class _WorkerFrontend:
    """A desk that is a terminal in another process."""

    def __init__(self, link: Channel, bars: bool) -> None:
        self._link = link
        self._bars = bars

    @contextmanager
    def catch_stop_signals(self) -> Iterator[StopFlag]:
        yield self._link.stop

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        return self._told(steps, formatter) if self._bars else show_progress(steps, formatter)

    def _told(self, steps: Iterable[Progress], words: ProgressFormatter) -> Iterator[Progress]:
        last = 0.0
        for step, said in describe_steps(steps, words):
            if time.monotonic() - last >= SHOWN_EVERY_S or step.done == step.total:
                last = time.monotonic()
                self._link.send(ProgressMessage(step, said))
            yield step


class _MessageStream(io.StringIO):
    """A stream that hands over what was written when it is flushed, as rich does after each thing it prints."""

    def __init__(self, link: Channel, *, answer: bool) -> None:
        super().__init__()
        self._link = link
        self._answer = answer

    def flush(self) -> None:
        text = self.getvalue()
        if text:
            self._link.send(TextMessage(text, self._answer))
            self.seek(0)
            self.truncate()
