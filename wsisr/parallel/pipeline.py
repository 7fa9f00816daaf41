"""Overlap of work: the one place where reading, computing and writing run beside each other."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from threadpoolctl import threadpool_limits

from wsisr.parallel.cpu import cores

T = TypeVar("T")
R = TypeVar("R")


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def ahead(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """The same items in the same order, made in a thread of their own, at most `depth` (1 or more) of them waiting.

    At most `depth + 2` items live at a time: those waiting, one in the making, one in the reader's hands. An error in
    the making is raised here, in its place. Closing the iterator early stops the thread once its item is made.
    """
    waiting: queue.Queue[object] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def make() -> None:
        try:
            for item in items:
                waiting.put(item)
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - handed over whole and raised by the reader
            waiting.put(_Failed(error))
        else:
            waiting.put(_END)

    thread = threading.Thread(target=make, name="wsisr-ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        _empty(waiting)  # at most one more item comes: with a free place it cannot block the thread
        thread.join()
        _closed(items)


def mapped(make: Callable[[T], R], items: Iterable[T], depth: int = 2, workers: int = 1) -> Generator[R, None, None]:
    """`make` of each item, in their order, by threads; at most `depth` (1 or more) are made, or in the making, ahead.

    At most `depth + 1` results live at a time: those, and one in the reader's hands. The items are taken in the
    reader's thread. An error is raised in its place; closing the iterator early waits for what is in the making.
    What `make` leaves to OpenMP, as torch does, takes each thread's share of the cores.
    """
    coming: deque[Future[R]] = deque()
    share = max(1, cores() // workers)
    with ThreadPoolExecutor(workers, "wsisr-mapped", partial(threadpool_limits, share, "openmp")) as pool:
        try:
            for future in _submitted(pool, make, items):
                coming.append(future)
                while coming and (len(coming) > depth or coming[0].done()):
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            _closed(items)


def _submitted(pool: ThreadPoolExecutor, make: Callable[[T], R], items: Iterable[T]) -> Iterator[Future[R]]:
    """A future for each item; an error of the items themselves is the last one's, so that those before it count."""
    try:
        for item in items:
            yield pool.submit(make, item)
    except Exception as error:  # noqa: BLE001 - handed over whole and raised in its place
        failed: Future[R] = Future()
        failed.set_exception(error)
        yield failed


def _closed(items: object) -> None:
    """Ends an iterator: a generator left in its midst would keep what it holds open, such as a thread of its own."""
    close = getattr(items, "close", None)
    if close is not None:
        close()


def _empty(waiting: queue.Queue[object]) -> None:
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
