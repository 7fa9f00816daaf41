"""Where the run of a slide is shown, and from where it is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from wsisr.cli.progress import ProgressFormatter, show_progress
from wsisr.cli.shutdown import catch_stop_signals
from wsisr.parallel.processes import StopFlag

if TYPE_CHECKING:
    from wsisr.progress import Progress

STOPPED_MESSAGE = "stopped; what is finished is kept, and the same command goes on from there"
INTERRUPTED_MESSAGE = "interrupted at once; what is finished is kept, and the same command goes on from there"


class Frontend(Protocol):
    def catch_stop_signals(self) -> AbstractContextManager[StopFlag]:
        """Within, the wish to stop is heard."""
        ...

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        """The same steps, shown as they pass."""
        ...


class TerminalFrontend:
    """Of this very process."""

    def __init__(self, stop: StopFlag | None = None) -> None:
        """With a wish to stop that somebody hears already, as for all slides of a run."""
        self._stop = stop

    def catch_stop_signals(self) -> AbstractContextManager[StopFlag]:
        return nullcontext(self._stop) if self._stop else catch_stop_signals(end_message=INTERRUPTED_MESSAGE)

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        return show_progress(steps, formatter)
