"""Task sizes: how many tiles make a task that is long for the scheduler and short for who waits for its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from wsisr.imaging.tiling import Tile

TARGET_S = 6.0
"""Seconds that a task should take: the scheduler's millisecond is nothing of it, and a lost one is soon made again."""

MOST_TASK_BYTES = 48_000_000
"""Bytes that a task may send back, at most, unless one batch has more."""

TASKS_PER_THREAD_LEFT = 3
"""Tasks for each thread that the tiles that are left are divided into, at least, so that all threads end together."""


class BatchQueue:
    """The batches of a slide that have no result yet: those with tissue first, for they take longer.

    A task is of one kind, so that its time says how long the others of its kind will take.
    """

    def __init__(self, batches: Iterable[tuple[bool, list[Tile]]]) -> None:
        """Take batches, each with whether it holds tissue."""
        self._batches: dict[bool, deque[list[Tile]]] = {True: deque(), False: deque()}
        for has_tissue, batch in batches:
            self._batches[has_tissue].append(batch)

    def __bool__(self) -> bool:
        return any(self._batches.values())

    def take(self, sizes: TaskSizes, threads: int) -> tuple[bool, list[list[Tile]]]:
        """Take the batches of the next task, and whether they hold tissue."""
        has_tissue = bool(self._batches[True])
        waiting = self._batches[has_tissue]
        share = len(waiting) // (TASKS_PER_THREAD_LEFT * threads)
        count = max(1, min(share, sizes.choose_count(has_tissue), len(waiting)))
        return has_tissue, [waiting.popleft() for _ in range(count)]


class TaskSizes:
    """What tasks took so far. Several slides of one network may share it."""

    def __init__(self) -> None:
        self._seconds: dict[bool, float] = {}
        self._bytes: dict[bool, float] = {}

    def add(self, has_tissue: bool, batches: int, seconds: float, nbytes: int) -> None:
        """Add what a task took, by the kind of its batches; later ones count more."""
        for known, value in ((self._seconds, seconds / batches), (self._bytes, nbytes / batches)):
            known[has_tissue] = value if has_tissue not in known else 0.7 * known[has_tissue] + 0.3 * value

    def choose_count(self, has_tissue: bool) -> int:
        """Return how many batches make a good task; 1 while nothing is known."""
        if has_tissue not in self._seconds:
            return 1
        by_time = TARGET_S / max(self._seconds[has_tissue], 1e-3)
        by_bytes = MOST_TASK_BYTES / max(self._bytes[has_tissue], 1.0)
        return max(1, int(min(by_time, by_bytes)))

    def expect_bytes(self, has_tissue: bool, batches: int) -> int:
        """Return how many bytes so many batches will send back."""
        return int(self._bytes.get(has_tissue, 2_000_000) * batches)
