"""The wish to stop, by Ctrl-C or a cluster's SIGTERM: heard between two steps of a work, never inside one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import typer

from wsisr.cli.console import INTERRUPTED, remark, remarks
from wsisr.parallel.processes import StopFlag

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_asked(*, abrupt: str | None = None) -> Iterator[threading.Event]:
    """Within, the first Ctrl-C sets the event; the second interrupts at once, wherever that is.

    `abrupt` is for a work that a kill does not harm, of which a step may take long: the first is then answered, and the
    second says it and ends the process, because threads that are deep in a step would let the interruption wait.
    """
    event = threading.Event()
    previous = {each: signal.getsignal(each) for each in SIGNALS}

    def restore() -> None:
        for each, handler in previous.items():
            signal.signal(each, handler)

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if event.is_set() and abrupt:
            remark(abrupt)
            remarks.show_cursor(True)
            os._exit(INTERRUPTED)
        event.set()
        if abrupt:
            remark("stopping after what is in hand; Ctrl-C again stops at once")
        else:
            restore()

    for each in SIGNALS:
        signal.signal(each, ask)
    try:
        yield event
    finally:
        restore()


def until(steps: Iterable[T], stop: StopFlag, advice: str = "interrupted") -> Iterator[T]:
    """The same steps; the exit of an interrupted program instead of the first that comes after stopping was asked for.

    `advice`, how to go on, is said before. A work that ends before its next step is done, not interrupted. Who made the
    steps must close them.
    """
    for step in steps:
        if stop.is_set():
            remark(advice)
            raise typer.Exit(INTERRUPTED)
        yield step
