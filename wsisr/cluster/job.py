"""Cluster job: the tasks of one slide, from their numbers to their results, whatever befalls the workers."""

from __future__ import annotations

import queue
from asyncio import CancelledError as AsyncCancelledError
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from wsisr.cluster import worker
from wsisr.cluster.job_spec import JobSpec, TaskFailure, TaskResult, WorkerRefusal
from wsisr.cluster.session import HEARTBEAT_S, CancelledTaskError, ClusterSession, WorkerAddress
from wsisr.errors import ClusterError, WsisrError, describe_error
from wsisr.imaging.geometry import Box

MOST_TRIES = 5
"""Times that a task is submitted again after the cluster has lost it."""


@dataclass(slots=True, eq=False)
class _Task:
    numbers: tuple[int, ...]
    expected_bytes: int
    allowed: frozenset[WorkerAddress] | None = None
    """Workers that may run it; None for all."""
    tries: int = 0


@contextmanager
def open_job(session: ClusterSession, spec: JobSpec, order: int) -> Iterator[ClusterJob]:
    """Context: a job whose tasks are run; leaving it takes back those that are not done."""
    job = ClusterJob(session, spec, order)
    try:
        yield job
    finally:
        job.cancel()


class ClusterJob:
    """The tasks of one slide."""

    def __init__(self, session: ClusterSession, spec: JobSpec, order: int) -> None:
        self._session, self._client, self._spec, self._order = session, session.client, spec, order
        self._running: dict[Any, _Task] = {}
        self._finished: queue.Queue[Any] = queue.Queue()
        self._barred: dict[WorkerAddress, str] = {}
        self._count = 0
        # Plain bytes, which also a worker without wsisr can keep for the others: they travel to each worker once.
        self._packed = session.client.submit(bytes, spec.pack(), key=f"{spec.job}-spec", priority=10)

    @property
    def is_idle(self) -> bool:
        """Whether no task is left."""
        return not self._running

    def submit(self, numbers: Sequence[int], expected_bytes: int) -> None:
        """Have tiles computed, given by their numbers. A later slide's wait for those of an earlier one."""
        self._submit(_Task(tuple(numbers), expected_bytes))

    def wait(self) -> TaskResult | None:
        """Return the result of a task that is done, or None after `HEARTBEAT_S` without one.

        Raises the `WsisrError` of a task, with the place of its tiles if it has killed its workers.
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
        if isinstance(result, TaskResult):
            return result
        if isinstance(result, TaskFailure):
            raise result.error or RuntimeError(f"on a worker:\n{result.traceback}")
        if isinstance(result, WorkerRefusal):
            self._bar(result)
            self._submit(task)
        else:
            assert error is not None
            self._repeat_or_raise(task, error)
        return None

    def cancel(self) -> None:
        """Take back what is not done."""
        futures = list(self._running)
        for task in self._running.values():
            self._session.count_outstanding(-1, -task.expected_bytes)
        self._running.clear()
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel([*futures, self._packed], force=True)

    def _fetch(self, future: Any) -> tuple[TaskResult | TaskFailure | WorkerRefusal | None, BaseException | None]:
        """Return what a worker holds, or why it could not be fetched."""
        try:
            return self._client.gather(future, direct=True), None
        except (OSError, TimeoutError, CancelledError, AsyncCancelledError) as error:
            self._session.check_alive()
            return None, CancelledTaskError(describe_error(error))

    def _submit(self, task: _Task) -> None:
        self._count += 1
        task.allowed = self._session.find_allowed(self._barred)
        restriction = {} if task.allowed is None else {"workers": sorted(task.allowed)}
        future = self._client.submit(
            worker.compute_tiles,
            self._packed,
            task.numbers,
            key=f"{self._spec.job}-{self._count}",
            priority=-self._order,
            pure=False,
            **restriction,
        )
        self._running[future] = task
        self._session.count_outstanding(1, task.expected_bytes)
        future.add_done_callback(self._finished.put)

    def _bar(self, refusal: WorkerRefusal) -> None:
        """Give a worker nothing more of this slide."""
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
        """Try the tiles of a task that has killed its workers one by one: most of them only had bad company."""
        if len(task.numbers) > 1:
            for number in task.numbers:
                self._submit(_Task((number,), task.expected_bytes // len(task.numbers)))
            return
        core = self._tile_core(task.numbers[0])
        raise ClusterError(
            f"{self._spec.request.slide_path}: several workers died at the tile of {core.size} px at {core.left}, "
            f"{core.top} of the input, out of memory?; the same command goes on from what is finished"
        )

    def _tile_core(self, number: int) -> Box:
        grid = self._spec.grid
        row, column = divmod(number, grid.columns)
        return grid.tile_at(column, row).core
