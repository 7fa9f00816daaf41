"""Stopping by Ctrl-C, a cluster's SIGTERM or the end of the terminal: between two steps of a job, never inside one."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from types import FrameType
from typing import TypeVar

import typer

from wsisr.cli.console import print_message, stderr_console
from wsisr.cli.exit_codes import EXIT_INTERRUPTED
from wsisr.cli.streams import STDERR
from wsisr.parallel.processes import STOP_SIGNALS, StopFlag

T = TypeVar("T")

STOPPING = "stopping after the current tiles; press Ctrl-C again to stop at once"

Handler = Callable[[int, FrameType | None], None]


class StopRequest:
    """A flag that says to stop. It has no lock, unlike `threading.Event`: a second signal that falls into the handler
    of the first would wait for itself there."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether somebody has asked to stop."""
        return self._is_set

    def set(self) -> None:
        """Ask to stop."""
        self._is_set = True


@contextmanager
def catch_stop_signals(*, end_message: str | None = None) -> Iterator[StopRequest]:
    """Context: the first Ctrl-C sets the request, the second interrupts the program.

    Without an end message, the second Ctrl-C raises `KeyboardInterrupt` in the main thread. An end message is for jobs
    that a kill does not harm and whose steps may take long: the first Ctrl-C is answered at once, and the second prints
    the end message and ends the process, because an exception would wait for threads that are deep in a step.
    """
    request = StopRequest()
    if end_message is None:
        with _handle_signals(_interrupt_at_second(request)):
            yield request
    else:
        with _watch_signals(request, end_message), _handle_signals(lambda _signal, _frame: None):
            yield request


def _interrupt_at_second(request: StopRequest) -> Handler:
    """Return a handler that sets the request, and raises `KeyboardInterrupt` from its second call on."""
    earlier_calls = count()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if next(earlier_calls):  # atomic: no signal can fall between the check and the increment
            raise KeyboardInterrupt
        request.set()

    return handle


@contextmanager
def _handle_signals(handler: Handler) -> Iterator[None]:
    """Context: the handler gets the signals that ask to stop."""
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        for number in STOP_SIGNALS:
            signal.signal(number, handler)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


@contextmanager
def _watch_signals(request: StopRequest, end_message: str) -> Iterator[None]:
    """Context: a thread of its own reacts to the signals that ask to stop, whatever the main thread is waiting for.

    Python runs signal handlers in the main thread only. A signal that arrives just before the main thread waits for a
    lock, or that the system delivers to another thread, does not wake it: the handler runs when the next tile is done,
    or never. On two cores beside six busy loops, 5 of 24 runs did not notice two signals in a row within 60 s (`python
    -m tests.bench ctrl_c` counts that). CPython writes the signal's number to the wakeup descriptor at once, in C.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watcher = threading.Thread(target=_read_signals, args=(reading, request, end_message), daemon=True)
    watcher.start()
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writing)
        watcher.join()  # its message comes before the next one
        os.close(reading)


def _read_signals(pipe: int, request: StopRequest, end_message: str) -> None:
    """Announce the stop at the first signal number that the pipe delivers, end the process at the second."""
    announcing = None
    while number := os.read(pipe, 1):
        if number[0] not in STOP_SIGNALS:
            continue
        if announcing:
            if number[0] == getattr(signal, "SIGHUP", None):
                continue  # kernel and shell may both send one when a terminal ends: that is one request
            _end_process(end_message)
        # Printing takes the terminal's lock and may block on a full pipe; the second signal must not wait for it.
        announcing = threading.Thread(target=_announce_stop, args=(request,), daemon=True)
        announcing.start()
    if announcing:
        announcing.join()


def _announce_stop(request: StopRequest) -> None:
    """Print that the job will stop, and set the request: in this order, so that the job's last line comes last."""
    print_message(STOPPING)
    request.set()


def _end_process(message: str) -> None:
    """Print a line without taking a lock, over a progress bar, and end the process at once."""
    line = f"wsisr: {message}\n"
    if stderr_console.is_terminal and not stderr_console.is_dumb_terminal:
        line = f"\r\x1b[2K{line}\x1b[?25h"  # erases the bar on this line and shows the cursor again
    with suppress(OSError):
        if select.select((), (STDERR,), (), 0)[1]:  # a write to a full pipe would block
            os.write(STDERR, line.encode())
    os._exit(EXIT_INTERRUPTED)


def stop_between_steps(steps: Iterable[T], stop: StopFlag, advice: str = "interrupted") -> Iterator[T]:
    """Yield the same steps; once `stop` is set, print the advice and exit as an interrupted program.

    A job that ends before its next step is done, not interrupted. The caller must close the steps.
    """
    for step in steps:
        if stop.is_set():
            print_message(advice)
            raise typer.Exit(EXIT_INTERRUPTED)
        yield step
