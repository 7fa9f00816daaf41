"""A team of threads that share the items of a call; the calling thread is one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Condition
from typing import TypeVar

from wsisr.errors import ShortageError, describe_shortage
from wsisr.parallel.cpu import count_usable_cores

T = TypeVar("T")


@contextmanager
def translate_shortage() -> Iterator[None]:
    """Context: raise `ShortageError` where the system starts no thread."""
    try:
        yield
    except RuntimeError as error:
        shortage = describe_shortage(error)
        if shortage:
            raise ShortageError(shortage) from error
        raise


class ThreadTeam:
    """As many threads as this process has cores, at most `max_threads`. Several threads may call it at once."""

    def __init__(self, max_threads: int, name: str) -> None:
        self._helpers = min(max_threads, count_usable_cores()) - 1
        self._pool = ThreadPoolExecutor(max(1, self._helpers), name)  # starts no thread before the first item

    def for_each(self, function: Callable[[T], object], items: Iterable[T]) -> None:
        """Call the function on each item, in any order; return when all are done.

        Where the system starts no thread, those that run do the work, at least the calling one. If the function fails
        on an item, items not yet started are dropped, and the error is raised once no thread is working.
        """
        call = _Call(function, items)
        helpers = []
        with suppress(RuntimeError):
            for _ in range(min(call.item_count - 1, self._helpers)):
                helpers.append(self._pool.submit(call.process_items))
        call.process_items()
        for helper in helpers:
            helper.cancel()  # one that has not started by now would find no items
        call.wait()

    def close(self) -> None:
        """End the threads; later calls run in the calling thread alone."""
        self._helpers = 0
        self._pool.shutdown(cancel_futures=True)


class _Call:
    """The items of one call, which any number of threads take from.

    Who works is counted here, as `submit` may raise an error and yet leave its work for a thread that runs.
    """

    def __init__(self, function: Callable[[T], object], items: Iterable[T]) -> None:
        all_items = list(items)
        self.item_count = len(all_items)
        self._function, self._remaining = function, iter(all_items)
        self._working = 0
        self._changed = Condition()
        self._error: BaseException | None = None

    def process_items(self) -> None:
        """Process items until none remain; on an error, take all that remain from the other threads."""
        with self._changed:
            self._working += 1
        try:
            for item in self._remaining:
                self._function(item)
        except BaseException as error:  # noqa: BLE001 - raised by `wait`, in the calling thread
            deque(self._remaining, 0)
            self._error = self._error or error
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until no thread is working, and raise the first error."""
        with self._changed:
            self._changed.wait_for(lambda: not self._working)
        if self._error is not None:
            raise self._error
