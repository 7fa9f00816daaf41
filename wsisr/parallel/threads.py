"""A team of threads that share the items of a call; the calling thread is one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from wsisr.parallel.cpu import count_usable_cores

T = TypeVar("T")


class ThreadTeam:
    """As many threads as this process has cores, at most `max_threads`. Several threads may call it at once."""

    def __init__(self, max_threads: int, name: str) -> None:
        self._helpers = min(max_threads, count_usable_cores()) - 1
        self._pool = ThreadPoolExecutor(max(1, self._helpers), name)  # starts no thread before the first item

    def for_each(self, function: Callable[[T], object], items: Iterable[T]) -> None:
        """Call the function on each item, in any order; return when all are done.

        If it fails on one, items not yet started are dropped, and the error is raised once no thread is working.
        """
        all_items = list(items)
        remaining = iter(all_items)
        helpers = [self._pool.submit(_process_remaining, function, remaining) for _ in all_items[1 : 1 + self._helpers]]
        try:
            _process_remaining(function, remaining)
        finally:
            # A helper that has not started by now would find no items.
            errors = [helper.exception() for helper in helpers if not helper.cancel()]
        for error in filter(None, errors):
            raise error

    def close(self) -> None:
        """End the threads; later calls run in the calling thread alone."""
        self._helpers = 0
        self._pool.shutdown(cancel_futures=True)


def _process_remaining(work: Callable[[T], object], remaining: Iterator[T]) -> None:
    """Process items until none remain; on an error, take all that remain from the other threads."""
    try:
        for item in remaining:
            work(item)
    except BaseException:
        deque(remaining, 0)
        raise
