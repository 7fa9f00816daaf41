"""A crew: threads that share the items of a call among them, the caller one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from wsisr.parallel.cpu import cores

T = TypeVar("T")


class Crew:
    """As many threads as this process has cores, up to `most`. Several callers may be at it at the same time."""

    def __init__(self, most: int, name: str) -> None:
        self._helpers = min(most, cores()) - 1
        self._pool = ThreadPoolExecutor(max(1, self._helpers), name)  # none is started before there is work for it

    def each(self, work: Callable[[T], object], items: Iterable[T]) -> None:
        """Do the work on each item, in any order; return when all is done.

        Where it fails for one, what nobody has begun is left, and the error is raised when all is quiet.
        """
        found = list(items)
        left = iter(found)
        shares = [self._pool.submit(_share, work, left) for _ in found[1 : 1 + self._helpers]]
        try:
            _share(work, left)
        finally:
            # Who has not begun by now would find nothing left.
            errors = [share.exception() for share in shares if not share.cancel()]
        for error in filter(None, errors):
            raise error

    def close(self) -> None:
        """Callers work alone from now on."""
        self._helpers = 0
        self._pool.shutdown(cancel_futures=True)


def _share(work: Callable[[T], object], left: Iterator[T]) -> None:
    """Take from what is left, and do it, until nothing is; if something goes wrong, leave nothing to the others."""
    try:
        for item in left:
            work(item)
    except BaseException:
        deque(left, 0)
        raise
