"""Progress of a long job: a bar on a terminal, a line every 30 s in a log, nothing if quiet.

Rich is imported when a bar is drawn: a command's first line comes before all that takes time to load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.cli.console import print_message, stderr_console
from wsisr.progress import format_count

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from wsisr.progress import Progress

ProgressFormatter = Callable[["Progress", float], str]
"""Maps progress and the seconds since its stage began to the text behind the bar, such as a rate."""

LINE_EVERY_S = 30.0
"""Seconds between two lines in a log."""

SHORT_S = 0.1
"""A stage that has run for less shows no rate."""


def print_first_line(text: str, *inputs: Path, quiet: bool = False) -> None:
    """Print what a command is going to do, before its heavy imports; nothing where an input is missing."""
    if not quiet and all(os.path.lexists(path) for path in inputs):
        print_message(text)


@contextmanager
def show_preparation(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Context of work of unknown length, such as loading a network: a moving bar on a terminal, and then nothing."""
    if quiet or not stderr_console.is_terminal:
        yield
        return
    with create_progress_bars(transient=True) as bars:
        bars.add_task("prepare", total=None, text=text)
        yield


def show_progress(
    steps: Iterable[Progress], formatter: ProgressFormatter, *, quiet: bool = False, label: str = ""
) -> Iterator[Progress]:
    """Yield the same steps, and show them on stderr as they pass. A label names one job of many."""
    if quiet:
        yield from steps
    elif stderr_console.is_terminal:
        yield from _show_bar(steps, formatter, label)
    else:
        yield from _print_lines(steps, formatter, label)


def format_rate(progress: Progress, seconds: float, noun: str = "") -> str:
    """Return `12/40, 3.1/s`, or with a noun `12/40 tiles, 3.1 tiles/s`. The rate leaves out earlier runs."""
    total, unit = (format_count(progress.total, noun), f" {noun}s") if noun else (f"{progress.total:,}", "")
    if seconds < SHORT_S:
        return f"{progress.done:,}/{total}"
    rate = (progress.done - progress.done_before) / seconds
    return f"{progress.done:,}/{total}, {rate:{',.0f' if rate >= 100 else '.3g'}}{unit}/s"


def format_duration(seconds: float) -> str:
    """Return `42 s`, `3:05 min` or `2:10:00 h`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def describe_steps(steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[tuple[Progress, str]]:
    """Yield each step with the text behind its bar."""
    turn, began, now = None, 0.0, time.monotonic()
    for step in steps:
        if (step.stage, step.done_before) != turn:  # a stage that goes on after a stop has a rate of its own
            turn, began = (step.stage, step.done_before), now  # a stage began when the one before it ended
        now = time.monotonic()
        yield step, formatter(step, now - began)


def create_progress_bars(*, redirect_stdout: bool = True, transient: bool = False) -> Bars:
    """Return a display on stderr that has no bar yet. It may take stdout, too: results appear above the bars.

    A transient display vanishes at its end.
    """
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn("line"),  # turns although a first tile takes long
        TextColumn("{task.description:>10}", markup=False),
        BarColumn(),
        # Work of unknown length has no percentage.
        TaskProgressColumn("{task.percentage:>3.0f}%", "", markup=False),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(),
    )
    return Bars(*columns, console=stderr_console, redirect_stdout=redirect_stdout, transient=transient)


def _show_bar(steps: Iterable[Progress], formatter: ProgressFormatter, label: str) -> Iterator[Progress]:
    with create_progress_bars(transient=bool(label)) as bars:
        task, stage = None, ""
        for step, text in describe_steps(steps, formatter):
            if step.stage != stage or task is None:
                stage = step.stage
                task = bars.add_task(f"{label}{stage}", completed=step.done_before, total=step.total, text="")
            bars.update(task, completed=step.done, total=step.total, text=text)
            yield step


def _print_lines(steps: Iterable[Progress], formatter: ProgressFormatter, label: str) -> Iterator[Progress]:
    turn, began, printed, now = None, 0.0, 0.0, time.monotonic()
    for step in steps:
        if (step.stage, step.done_before) != turn:
            turn, began, printed = (step.stage, step.done_before), now, now  # it began when the one before it ended
        now = time.monotonic()
        if now - printed >= LINE_EVERY_S or (step.done == step.total and not label):
            printed = now
            percent = 100 * step.done // max(step.total, 1)
            left = (now - began) * (step.total - step.done) / max(step.done - step.done_before, 1)
            done = f"{percent} %, {formatter(step, now - began)}"
            print_message(f"{label}{step.stage}: {done}, {format_duration(left)} left")
        yield step
