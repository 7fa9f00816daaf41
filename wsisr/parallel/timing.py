"""How long each stage of a run worked; stages run beside each other, so that their times overlap."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from wsisr.progress import Progress


class Times:
    """Seconds by stage, waiting left out. Every method may be called from several threads."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._lock = Lock()

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Within, that stage works."""
        began = self._clock()
        try:
            yield
        finally:
            self._add(stage, self._clock() - began)

    def step(self, steps: Iterator[Progress]) -> Progress | None:
        """The next step, its time counted for its own stage; None at the end."""
        began = self._clock()
        step = next(steps, None)
        if step is not None:
            self._add(step.stage, self._clock() - began)
        return step

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
