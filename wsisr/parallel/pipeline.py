"""Overlap of stages: the one place where reading, computing and writing run at the same time."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from threadpoolctl import threadpool_limits

from wsisr.parallel.cpu import count_usable_cores
from wsisr.parallel.threads import translate_shortage

T = TypeVar("T")
R = TypeVar("R")


class _Failure:
    """An error of the items, on its way from the thread to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def prefetch(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Yield the same items in the same order, produced in a thread of their own; up to `depth` (1 or more) wait.

    At most `depth + 2` items exist at a time: those waiting, one being produced, one with the consumer. An error of the
    producer is raised here in its place. Closing the iterator early stops the thread after its current item.
    """
    waiting: queue.Queue[object] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def produce() -> None:
        try:
            for item in items:
                waiting.put(item)
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - passed on and raised in the consumer's thread
            waiting.put(_Failure(error))
        else:
            waiting.put(_END)

    thread = threading.Thread(target=produce, name="wsisr-prefetch", daemon=True)
    with translate_shortage():
        thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        _drain(waiting)  # the thread puts at most one more item, which a free place keeps from blocking it
        thread.join()
        _close_iterator(items)


def parallel_map(
    function: Callable[[T], R], items: Iterable[T], depth: int = 2, threads: int = 1
) -> Generator[R, None, None]:
    """Yield the function's result for each item, in order, computed by threads at most `depth` (1 or more) items ahead.

    At most `depth + 1` results exist at a time: those and one with the consumer. The items are taken in the consumer's
    thread. An error is raised in its place; closing the iterator early waits for the calls that are running. OpenMP
    within the function, which torch uses, is limited to each thread's share of the cores.
    """
    pending: deque[Future[R]] = deque()
    share = max(1, count_usable_cores() // threads)
    with ThreadPoolExecutor(threads, "wsisr-map", partial(threadpool_limits, share, "openmp")) as pool:
        try:
            for future in _submit_all(pool, function, items):
                pending.append(future)
                while pending and (len(pending) > depth or pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            _close_iterator(items)


def _submit_all(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T]) -> Iterator[Future[R]]:
    """Yield a future for each item. An error of the items becomes the last future, after the results before it."""
    try:
        for item in items:
            with translate_shortage():
                future = pool.submit(function, item)
            yield future
    except Exception as error:  # noqa: BLE001 - passed on and raised in its place
        failed: Future[R] = Future()
        failed.set_exception(error)
        yield failed


def _close_iterator(items: object) -> None:
    """Close an iterator, if it can be closed: a suspended generator would keep its resources, such as a thread."""
    close = getattr(items, "close", None)
    if close is not None:
        close()


def _drain(waiting: queue.Queue[object]) -> None:
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
