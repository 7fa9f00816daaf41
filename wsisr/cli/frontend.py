"""Where the run of a slide is shown, and from where it is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from wsisr.cli.progress import Words, drawn
from wsisr.cli.shutdown import stop_asked
from wsisr.parallel.processes import StopFlag

if TYPE_CHECKING:
    from wsisr.progress import Progress

STOPPED = "stopped; what is finished is kept, and the same command goes on from there"
INTERRUPTED = "interrupted at once; what is finished is kept, and the same command goes on from there"


class Desk(Protocol):
    def stop_asked(self) -> AbstractContextManager[StopFlag]:
        """Within, the wish to stop is heard."""
        ...

    def drawn(self, steps: Iterable[Progress], words: Words) -> Iterator[Progress]:
        """The same steps, shown as they pass."""
        ...


class Terminal:
    """Of this very process."""

    def __init__(self, stop: StopFlag | None = None) -> None:
        """With a wish to stop that somebody hears already, as for all slides of a run."""
        self._stop = stop

    def stop_asked(self) -> AbstractContextManager[StopFlag]:
        return nullcontext(self._stop) if self._stop else stop_asked(abrupt=INTERRUPTED)

    def drawn(self, steps: Iterable[Progress], words: Words) -> Iterator[Progress]:
        return drawn(steps, words)
