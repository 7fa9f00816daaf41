"""Cluster job: numbered work, such as the tiles of a slide, from tasks to results, whatever befalls the workers."""

from __future__ import annotations

import asyncio
import queue
from asyncio import CancelledError as AsyncCancelledError
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for_futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from wsisr.cluster.job_spec import TaskFailure, WorkerRefusal
from wsisr.cluster.session import HEARTBEAT_S, CancelledTaskError, ClusterSession, WorkerAddress
from wsisr.errors import ClusterError, WsisrError, describe_error

R = TypeVar("R")

MOST_TRIES = 5
"""Times that a task is submitted again after the cluster has lost it."""


@dataclass(slots=True, eq=False)
class _Task:
    numbers: tuple[int, ...]
    expected_bytes: int
    allowed: frozenset[WorkerAddress] | None = None
    """Workers that may run it; None for all."""
    tries: int = 0


@dataclass(frozen=True, slots=True)
class RemoteWork(Generic[R]):
    """What workers are to do, piece by piece; a piece is named by its number."""

    job: str
    """Name of the job, unique among all runs."""
    packed: bytes
    """All that a worker must know, in a few kB."""
    compute: Callable[[bytes, Sequence[int]], R | TaskFailure | WorkerRefusal]
    """Computes pieces on a worker."""
    describe_death: Callable[[int], str]
    """Returns the beginning of the message about a piece at which several workers died."""


@contextmanager
def open_job(session: ClusterSession, work: RemoteWork[R], order: int) -> Iterator[ClusterJob[R]]:
    """Context: a job whose tasks are run; leaving it takes back those that are not done."""
    job = ClusterJob(session, work, order)
    try:
        yield job
    finally:
        job.cancel()


class ClusterJob(Generic[R]):
    """The tasks of one slide, or of one command."""

    def __init__(self, session: ClusterSession, work: RemoteWork[R], order: int) -> None:
        self._session, self._client, self._work, self._order = session, session.client, work, order
        self._running: dict[Any, _Task] = {}
        self._finished: queue.Queue[Any] = queue.Queue()
        self._barred: dict[WorkerAddress, str] = {}
        self._count = 0
        # Plain bytes, which also a worker without wsisr can keep for the others: they travel to each worker once.
        self._packed = session.client.submit(bytes, work.packed, key=f"{work.job}-spec", priority=10)

    @property
    def is_idle(self) -> bool:
        """Whether no task is left."""
        return not self._running

    def submit(self, numbers: Sequence[int], expected_bytes: int) -> None:
        """Have pieces computed, given by their numbers. A later job's wait for those of an earlier one."""
        self._submit(_Task(tuple(numbers), expected_bytes))

    def wait(self) -> R | None:
        """Return the result of a task that is done, or None after `HEARTBEAT_S` without one.

        Raises the `WsisrError` of a task, with its place if it has killed its workers.
        """
        try:
            future = self._finished.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            self._rescue_stranded()
            return None
        task = self._running.pop(future, None)
        if task is None:
            return None
        self._session.count_outstanding(-1, -task.expected_bytes)
        error = self._session.find_error(future)
        result = None
        if error is None:
            result, error = self._fetch(future)
        future.release()
        if error is not None:
            self._repeat_or_raise(task, error)
            return None
        if isinstance(result, TaskFailure):
            raise result.error or RuntimeError(f"on a worker:\n{result.traceback}")
        if isinstance(result, WorkerRefusal):
            self._bar(result)
            self._submit(task)
            return None
        return result

    def cancel(self) -> None:
        """Take back what is not done."""
        futures = list(self._running)
        for task in self._running.values():
            self._session.count_outstanding(-1, -task.expected_bytes)
        self._running.clear()
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel([*futures, self._packed], force=True)

    def _fetch(self, future: Any) -> tuple[R | TaskFailure | WorkerRefusal | None, BaseException | None]:
        """Return what a worker holds, or why it could not be fetched: `gather` alone waits for ever for a lost one."""
        gathering = self._client.gather(future, direct=True, asynchronous=True)
        fetching = asyncio.run_coroutine_threadsafe(gathering, self._client.loop.asyncio_loop)
        while not wait_for_futures([fetching], timeout=HEARTBEAT_S).done:
            if future.status != "finished":
                fetching.cancel()
                self._session.check_alive()
                return None, CancelledTaskError("the worker that held it is gone")
        try:
            return fetching.result(), None
        except (OSError, TimeoutError, CancelledError, AsyncCancelledError) as error:
            self._session.check_alive()
            return None, CancelledTaskError(describe_error(error))

    def _submit(self, task: _Task) -> None:
        self._count += 1
        task.allowed = self._session.find_allowed(self._barred)
        restriction = {} if task.allowed is None else {"workers": sorted(task.allowed)}
        future = self._client.submit(
            self._work.compute,
            self._packed,
            task.numbers,
            key=f"{self._work.job}-{self._count}",
            priority=-self._order,
            pure=False,
            **restriction,
        )
        self._running[future] = task
        self._session.count_outstanding(1, task.expected_bytes)
        future.add_done_callback(self._finished.put)

    def _bar(self, refusal: WorkerRefusal) -> None:
        """Give a worker nothing more of this job."""
        self._barred[refusal.worker] = refusal.reason
        self._session.tell_refusal(refusal, of_one_slide=True)

    def _rescue_stranded(self) -> None:
        """Submit tasks anew whose workers have all gone, where others may have come."""
        workers = frozenset(self._session.list_workers())
        for future, task in list(self._running.items()):
            if task.allowed is not None and workers and not task.allowed & workers and future.status == "pending":
                del self._running[future]
                self._session.count_outstanding(-1, -task.expected_bytes)
                future.cancel(force=True)
                self._submit(task)

    def _repeat_or_raise(self, task: _Task, error: BaseException) -> None:
        from distributed import KilledWorker  # noqa: PLC0415

        if isinstance(error, WsisrError):
            raise error
        if isinstance(error, KilledWorker):
            self._divide_or_raise(task)
            return
        task.tries += 1
        if isinstance(error, ImportError | CancelledTaskError) and task.tries <= MOST_TRIES:
            self._session.check_late_workers()
            self._submit(task)
            return
        raise error

    def _divide_or_raise(self, task: _Task) -> None:
        """Try the pieces of a task that has killed its workers one by one: most of them only had bad company."""
        if len(task.numbers) > 1:
            for number in task.numbers:
                self._submit(_Task((number,), task.expected_bytes // len(task.numbers)))
            return
        death = self._work.describe_death(task.numbers[0])
        raise ClusterError(f"{death}, out of memory?; the same command goes on from what is finished")
