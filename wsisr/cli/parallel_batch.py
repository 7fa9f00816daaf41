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

from wsisr.cli.batch import Facts, Job, attempted, failed, keep_report, told_of
from wsisr.cli.console import EXIT_INTERRUPTED, print_message, stderr_console, stdout_console
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


class Enlarging(Protocol):
    """One slide on one seat. It is pickled: a frozen dataclass at module level."""

    def __call__(self, slide: Path, output: Path, desk: Frontend, seat: WorkerSlot) -> Facts: ...


@dataclass(frozen=True, slots=True)
class Said:
    """Text for a stream of the terminal."""

    text: str
    answer: bool


@dataclass(frozen=True, slots=True)
class Step:
    """How far a slide is, and the words behind its bar."""

    progress: Progress
    words: str


def run(jobs: Sequence[Job], enlarge: Enlarging, workers: int, report: Path | None = None) -> list[Facts]:
    """Each job done, or its one line of error said and kept, in their order; the report is up to date after each.

    Ends with the exit of an interrupted program where stopping was asked for, after the tiles in hand.
    """
    done: dict[int, Facts] = {}
    begun: dict[int, Facts] = {}
    keep_report(report, [])
    board = _Board([slide.name for slide, _ in jobs])
    work = _InWorker(enlarge, len(jobs), stderr_console.is_terminal)
    numbered = list(enumerate(jobs, 1))
    with (
        board.shown(),
        catch_stop_signals(end_message=INTERRUPTED_AT_ONCE) as stop,
        closing(run_in_processes(work, numbered, workers)) as happenings,
    ):
        for happening in happenings:
            facts = _facts(happening, jobs)
            if facts is not None and happening is not None:
                board.clear(happening.job)
                done[happening.job] = facts
                keep_report(report, _in_order(done))
            if isinstance(happening, Message):
                begun[happening.job] = told_of(jobs[happening.job], "stopped")
                board.tell(happening)
            if stop.is_set():
                break
    if len(done) < len(jobs):
        keep_report(report, _in_order(begun | done))
        print_message(STOPPED_MESSAGE)
        raise typer.Exit(EXIT_INTERRUPTED)
    return _in_order(done)


def _in_order(done: dict[int, Facts]) -> list[Facts]:
    return [done[number] for number in sorted(done)]


def _facts(happening: WorkerEvent[Facts], jobs: Sequence[Job]) -> Facts | None:
    """What is to be reported where a job has come to its end."""
    if isinstance(happening, JobDone):
        return happening.result
    if isinstance(happening, WorkerDied):
        slide, output = jobs[happening.job]
        advice = "fewer --jobs or less --memory may help; the same command goes on from what is finished"
        place = f"{happening.job + 1} of {len(jobs)}"
        return failed(
            (slide, output), f"{slide}: its process was ended from outside ({happening.reason}); {advice}", place
        )
    return None


class _Board:
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
        if isinstance(told.content, Said):
            self._say(told.content, self._names[told.job])
        if isinstance(told.content, Step):
            self._draw(told.job, told.content)

    def clear(self, job: int) -> None:
        """Of what is done."""
        task = self._tasks.pop(job, None)
        if self._bars and task:
            self._bars.remove_task(task[0])

    def _say(self, said: Said, name: str) -> None:
        if said.answer:
            stdout_console.file.write(said.text)
            stdout_console.file.flush()
            return
        for line in said.text.splitlines():
            text = line.removeprefix("wsisr: ")
            print_message(text if name in text else f"{name}: {text}")

    def _draw(self, job: int, step: Step) -> None:
        if self._bars is None:
            return
        progress = step.progress
        task, stage = self._tasks.get(job, (None, ""))
        if task is None or stage != progress.stage:
            self.clear(job)
            title = f"{self._names[job]} {progress.stage}"
            task = self._bars.add_task(title, completed=progress.done_before, total=progress.total, words="")
            self._tasks[job] = task, progress.stage
        self._bars.update(task, completed=progress.done, words=step.words)


@dataclass(frozen=True, slots=True)
class _InWorker:
    """What a worker does with a job."""

    enlarge: Enlarging
    total: int
    bars: bool

    def __call__(self, job: tuple[int, Job], link: Channel) -> Facts:
        number, (slide, output) = job
        stderr_console.file, stdout_console.file = _Voice(link, answer=False), _Voice(link, answer=True)
        enlarge = partial(self.enlarge, desk=_WorkerFrontend(link, self.bars), seat=link.slot)
        return attempted((slide, output), enlarge, f"{number} of {self.total}")


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
                self._link.send(Step(step, said))
            yield step


class _Voice(io.StringIO):
    """A stream that hands over what was written when it is flushed, as rich does after each thing it prints."""

    def __init__(self, link: Channel, *, answer: bool) -> None:
        super().__init__()
        self._link = link
        self._answer = answer

    def flush(self) -> None:
        text = self.getvalue()
        if text:
            self._link.send(Said(text, self._answer))
            self.seek(0)
            self.truncate()
