"""Batch in parallel: several slides at a time, each in a process of its own, and one terminal for all."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import typer

from wsisr.cli.batch import BatchItem, BatchRun, attempt_item, report_failure
from wsisr.cli.console import print_message, stderr_console, stdout_console
from wsisr.cli.exit_codes import EXIT_INTERRUPTED
from wsisr.cli.frontend import INTERRUPTED_MESSAGE, STOPPED_MESSAGE, Frontend
from wsisr.cli.progress import ProgressFormatter, create_progress_bars, describe_steps, show_progress
from wsisr.cli.run_report import ReportRow
from wsisr.cli.shutdown import catch_stop_signals
from wsisr.cli.streams import allow_lost_output, guard_streams
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

MESSAGE_EVERY_S = 0.1
"""Least time between two progress messages about one slide."""


class SlideEnlarger(Protocol):
    """Enlarges a slide in a worker. It is pickled: a frozen dataclass at module level."""

    def __call__(self, item: BatchItem, frontend: Frontend, slot: WorkerSlot) -> ReportRow: ...


@dataclass(frozen=True, slots=True)
class TextMessage:
    """Text for one of the terminal's streams."""

    text: str
    to_stdout: bool


@dataclass(frozen=True, slots=True)
class ProgressMessage:
    """How far a slide is, and the text behind its bar."""

    progress: Progress
    text: str


def run_parallel_batch(run: BatchRun, enlarge: SlideEnlarger, workers: int) -> None:
    """Enlarge the slides of a run that have no entry yet, `workers` at a time.

    An error is printed and reported, and stops no other slide; the report is up to date after each slide. Exits as an
    interrupted program once a stop is requested, after the tiles in hand.
    """
    begun: dict[int, None] = {}
    run.begin()
    numbers = run.pending
    display = BatchDisplay([run.items[number].slide.name for number in numbers])
    task = _WorkerTask(enlarge, len(run.items), stderr_console.is_terminal)
    with (
        display.show_bars(),
        catch_stop_signals(end_message=INTERRUPTED_MESSAGE) as stop,
        closing(run_in_processes(task, [(number, run.items[number]) for number in numbers], workers)) as events,
    ):
        for event in events:
            row = _row_of_finished_job(event, run, numbers)
            if row is not None and event is not None:
                display.remove_bar(event.job)
                run.add(numbers[event.job], row)
            if isinstance(event, Message):
                begun[numbers[event.job]] = None
                display.show(event)
            if stop.is_set():
                break
    if not run.is_complete:
        run.add_stopped(list(begun))
        print_message(STOPPED_MESSAGE)
        raise typer.Exit(EXIT_INTERRUPTED)


def _row_of_finished_job(event: WorkerEvent[ReportRow], run: BatchRun, numbers: Sequence[int]) -> ReportRow | None:
    """Return the report entry of the slide that an event ends; None for any other event."""
    if isinstance(event, JobDone):
        return event.result
    if isinstance(event, WorkerDied):
        number = numbers[event.job]
        item = run.items[number]
        advice = "fewer --jobs or less --memory may help; the same command goes on from what is finished"
        error = f"{item.slide}: its process was ended from outside ({event.reason}); {advice}"
        return report_failure(item, error, run.describe_position(number))
    return None


class BatchDisplay:
    """The terminal, with a bar for each slide in work. In a log there are no bars: there, slides print lines."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._bars: Bars | None = None
        self._tasks: dict[int, tuple[TaskID, str]] = {}

    @contextmanager
    def show_bars(self) -> Iterator[None]:
        """Context in which the bars are shown."""
        # Results that go into a file must not be redirected to the bars.
        self._bars = (
            create_progress_bars(redirect_stdout=stdout_console.is_terminal) if stderr_console.is_terminal else None
        )
        with self._bars or nullcontext():
            yield

    def show(self, message: Message) -> None:
        """Show what a slide has sent."""
        if isinstance(message.content, TextMessage):
            self._print(message.content, self._names[message.job])
        if isinstance(message.content, ProgressMessage):
            self._update_bar(message.job, message.content)

    def remove_bar(self, job: int) -> None:
        """Remove the bar of a slide that is done."""
        task = self._tasks.pop(job, None)
        if self._bars and task:
            self._bars.remove_task(task[0])

    def _print(self, message: TextMessage, name: str) -> None:
        """Print a slide's text; lines on stderr get the slide's name."""
        if message.to_stdout:
            stdout_console.file.write(message.text)
            stdout_console.file.flush()
            return
        for line in message.text.splitlines():
            text = line.removeprefix("wsisr: ")
            print_message(text if name in text else f"{name}: {text}")

    def _update_bar(self, job: int, message: ProgressMessage) -> None:
        if self._bars is None:
            return
        progress = message.progress
        task, stage = self._tasks.get(job, (None, ""))
        if task is None or stage != progress.stage:
            self.remove_bar(job)
            title = f"{self._names[job]} {progress.stage}"
            task = self._bars.add_task(title, completed=progress.done_before, total=progress.total, text="")
            self._tasks[job] = task, progress.stage
        self._bars.update(task, completed=progress.done, text=message.text)


@dataclass(frozen=True, slots=True)
class _WorkerTask:
    """The task of a worker process: one slide, with all its output sent to the process that owns the terminal."""

    enlarge: SlideEnlarger
    total: int
    bars: bool

    def __call__(self, job: tuple[int, BatchItem], channel: Channel) -> ReportRow:
        number, item = job
        guard_streams()
        allow_lost_output()
        stderr_console.file = _MessageStream(channel, to_stdout=False)
        stdout_console.file = _MessageStream(channel, to_stdout=True)
        enlarge = partial(self.enlarge, frontend=_WorkerFrontend(channel, self.bars), slot=channel.slot)
        return attempt_item(item, enlarge, f"{number + 1} of {self.total}")


class _WorkerFrontend:
    """A frontend whose terminal belongs to another process, which names the slide."""

    label = ""
    announces_stop = True

    def __init__(self, channel: Channel, bars: bool) -> None:
        self._channel = channel
        self._bars = bars

    @contextmanager
    def catch_stop_signals(self) -> Iterator[StopFlag]:
        yield self._channel.stop

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        return self._send_progress(steps, formatter) if self._bars else show_progress(steps, formatter)

    def show_preparation(self, _text: str) -> AbstractContextManager[None]:
        return nullcontext()

    def _send_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        sent = 0.0
        for step, text in describe_steps(steps, formatter):
            if time.monotonic() - sent >= MESSAGE_EVERY_S or step.done == step.total:
                sent = time.monotonic()
                self._channel.send(ProgressMessage(step, text))
            yield step


class _MessageStream(io.StringIO):
    """A stream that sends its text when it is flushed, as rich does after each thing it prints."""

    def __init__(self, channel: Channel, *, to_stdout: bool) -> None:
        super().__init__()
        self._channel = channel
        self._to_stdout = to_stdout

    def flush(self) -> None:
        text = self.getvalue()
        if text:
            self._channel.send(TextMessage(text, self._to_stdout))
            self.seek(0)
            self.truncate()
