"""Frontend: where the progress of a slide is shown, and from where the job is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from wsisr.cli.progress import ProgressFormatter, show_preparation, show_progress
from wsisr.cli.shutdown import catch_stop_signals
from wsisr.parallel.processes import StopFlag

if TYPE_CHECKING:
    from wsisr.progress import Progress

STOPPED_MESSAGE = "stopped; what is finished is kept, and the same command goes on from there"
INTERRUPTED_MESSAGE = "interrupted at once; what is finished is kept, and the same command goes on from there"


class Frontend(Protocol):
    """What the job of one slide knows of the terminal, in this process or in another one."""

    label: str
    """Begins the messages about one slide of many; empty where they need no name, or get it elsewhere."""
    announces_stop: bool
    """Whether a slide says that it was stopped; elsewhere somebody says so for all."""

    def catch_stop_signals(self) -> AbstractContextManager[StopFlag]:
        """Context that gives the flag which says to stop."""
        ...

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        """Yield the same steps, and show them as they pass."""
        ...

    def show_preparation(self, text: str) -> AbstractContextManager[None]:
        """Context of work before the first step, whose end is not known."""
        ...


class TerminalFrontend:
    """The terminal of this process."""

    def __init__(self, stop: StopFlag | None = None, label: str = "") -> None:
        """Take a flag that is set elsewhere, as for all slides of a batch, or by default catch signals here.

        A label names one slide of many; in a log such a slide says only every 30 s how far it is.
        """
        self._stop = stop
        self.label = label
        self.announces_stop = True

    def catch_stop_signals(self) -> AbstractContextManager[StopFlag]:
        return nullcontext(self._stop) if self._stop else catch_stop_signals(end_message=INTERRUPTED_MESSAGE)

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        return show_progress(steps, formatter, label=self.label)

    def show_preparation(self, text: str) -> AbstractContextManager[None]:
        return show_preparation(f"{self.label}{text}")
