"""Working time of each stage of a run. Stages run at the same time, so their times overlap."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from wsisr.progress import Progress


class StageTimes:
    """Seconds by stage, without waiting. Every method may be called from several threads."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._lock = Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Context: add the time spent inside to a stage."""
        started = self._clock()
        try:
            yield
        finally:
            self.add(stage, self._clock() - started)

    def time_next(self, steps: Iterator[Progress]) -> Progress | None:
        """Take the next step and add its time to the stage that it names; return None at the end."""
        started = self._clock()
        step = next(steps, None)
        if step is not None:
            self.add(step.stage, self._clock() - started)
        return step

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
