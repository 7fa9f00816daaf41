"""Watches the losses of a run for an explosion: training that has left what it had learnt, and will not come back.

A loss that is not finite is noticed by itself. One that grows to large numbers and stays finite is not: the run would
go on for days, and its checkpoint be replaced by one of worthless weights.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from typing import Self

WINDOW_STEPS = 9
"""Steps of the running median: single batches of odd patches reach several times the median, but not five of nine."""

EXPLODED_RATIO = 20.0
"""Running median over its lowest value so far, above which a loss may have exploded."""

LEAST_EXPLODED_LOSS = 1.0
"""Loss below which none has exploded, whatever the ratio. It is about that of a guess: the mean absolute error of any
image is at most 1, the cross-entropy of even odds 0.7 for two magnifications and 1.1 for three. A loss near zero,
as that of a classifier that knows its training set, may grow a hundredfold for a while without harm."""


class LossWatch:
    """The lowest running median of a run's losses, and its latest losses."""

    def __init__(self, lowest: float = float("inf"), latest: Sequence[float] = ()) -> None:
        self.lowest = lowest
        self._latest = deque(latest, WINDOW_STEPS)

    @classmethod
    def restore(cls, values: Sequence[float]) -> Self:
        """Return the watch that `export_values` described."""
        lowest, *latest = values
        return cls(lowest, latest)

    def export_values(self) -> list[float]:
        """Return what a checkpoint keeps, so that a resumed run notices what an uninterrupted one does."""
        return [self.lowest, *self._latest]

    def add(self, loss: float) -> None:
        """Add the loss of a step: of all terms but the adversarial ones, which are no measure of the network alone."""
        self._latest.append(loss)
        self.lowest = min(self.lowest, self.median)

    @property
    def median(self) -> float:
        """Running median: of the latest `WINDOW_STEPS` losses, or of as many as there are."""
        return statistics.median_low(self._latest)

    @property
    def has_exploded(self) -> bool:
        """Whether the running median is one of an explosion; in the first steps, once it is sure to become one."""
        return sum(map(self._is_exploded, self._latest)) > WINDOW_STEPS // 2

    @property
    def is_suspect(self) -> bool:
        """Whether the latest loss is one of an explosion, if the next ones are like it: no time for a checkpoint."""
        return bool(self._latest) and self._is_exploded(self._latest[-1])

    def _is_exploded(self, loss: float) -> bool:
        return loss > LEAST_EXPLODED_LOSS and loss > EXPLODED_RATIO * self.lowest
