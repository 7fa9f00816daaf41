"""Worker processes: each runs one job at a time, and one that dies loses only the job it was running."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

J = TypeVar("J")
R = TypeVar("R")

HEARTBEAT_S = 0.2
"""Longest time between two events, so that the caller can react to a request to stop while jobs are running."""

STOP_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name) and not (name == "SIGHUP" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
)
"""Ctrl-C, a cluster's request to end, and the end of the terminal or ssh connection, unless `nohup` has it ignored."""


class StopFlag(Protocol):
    """A flag that jobs poll to learn that they should stop."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """A worker's position among the workers."""

    number: int
    """From 0; the replacement of a worker that died has the same number."""
    count: int


class Channel:
    """A job's connection to the process that started it."""

    def __init__(self, pipe: Connection, stop: StopFlag, slot: WorkerSlot) -> None:
        self.stop = stop
        self.slot = slot
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Send any object that can be pickled; may be called from any thread."""
        with self._lock:
            self._pipe.send(message)


@dataclass(frozen=True, slots=True)
class Message:
    """An object that a running job has sent."""

    job: int
    content: Any


@dataclass(frozen=True, slots=True)
class JobDone(Generic[R]):
    """A finished job and its result."""

    job: int
    result: R


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A job that was lost because its process died."""

    job: int
    code: int
    """The exit code; if a signal ended the process, minus its number."""

    @property
    def reason(self) -> str:
        return f"signal {-self.code}, out of memory?" if self.code < 0 else f"exit code {self.code}"


WorkerEvent: TypeAlias = Message | JobDone[R] | WorkerDied | None
"""None is a heartbeat: nothing has happened for `HEARTBEAT_S`."""

JobFunction: TypeAlias = Callable[[J, Channel], R]


def run_in_processes(
    function: JobFunction[J, R], jobs: Sequence[J], count: int
) -> Generator[WorkerEvent[R], None, None]:
    """Run jobs in `count` processes and yield their events, until every job is done or lost.

    Events name a job by its index in the sequence. Function and jobs are pickled: functions and frozen dataclasses at
    module level. Each worker is limited to its share of the cores. An error of the function is raised here. If the
    generator is closed early, running jobs are told to stop and waited for.
    """
    # Forking a process that has threads, as slide readers start them, can deadlock the child.
    context = multiprocessing.get_context("spawn")
    # Python starts this process with the first worker, and then unblocks the signals that `block_signals` has blocked.
    resource_tracker.ensure_running()
    queued = deque(enumerate(jobs))
    free_slots = deque(WorkerSlot(number, count) for number in range(count))
    workers: dict[Connection, _Worker] = {}
    try:
        while queued or any(worker.job is not None for worker in workers.values()):
            while queued and len(workers) < count:
                worker = _Worker(context, free_slots.popleft(), function)
                workers[worker.pipe] = worker
            for worker in workers.values():
                if worker.job is None and queued:
                    worker.start_job(*queued.popleft())
            ready = wait(list(workers), HEARTBEAT_S)
            if not ready:
                yield None
            for pipe in ready:
                assert isinstance(pipe, Connection)
                worker = workers[pipe]
                was_idle, event = worker.job is None, worker.receive_event()
                if isinstance(event, WorkerDied):
                    free_slots.append(workers.pop(pipe).slot)
                    if was_idle:
                        continue  # no job is lost
                yield event
    finally:
        for worker in workers.values():
            worker.request_stop()
        for worker in workers.values():
            worker.finish()


@dataclass(frozen=True, slots=True)
class _JobResult:
    value: Any


@dataclass(frozen=True, slots=True)
class _JobError:
    error: Exception


class _Worker:
    """A worker process and the job it is running, on the side of the process that started it."""

    def __init__(self, context: SpawnContext, slot: WorkerSlot, function: JobFunction[Any, Any]) -> None:
        self.slot = slot
        self.job: int | None = None
        self.pipe, worker_end = context.Pipe()
        stop_receiver, self._stop_sender = context.Pipe(duplex=False)
        self._process: SpawnProcess = context.Process(target=_run_worker, args=(worker_end, stop_receiver, slot))
        with block_signals():
            self._process.start()
        worker_end.close()  # so that the pipe ends with the process
        stop_receiver.close()
        self._send(function)

    def start_job(self, number: int, job: object) -> None:
        self.job = number
        self._send(job)

    def receive_event(self) -> WorkerEvent[Any]:
        """Wait for the next event of the process. Raises what its job raised."""
        job = self.job if self.job is not None else -1
        try:
            received = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return WorkerDied(job, self._process.exitcode or 0)
        if isinstance(received, _JobError):
            self.job = None
            raise received.error
        if isinstance(received, _JobResult):
            self.job = None
            return JobDone(job, received.value)
        return Message(job, received)

    def request_stop(self) -> None:
        """Tell the running job to stop."""
        self._stop_sender.close()

    def finish(self) -> None:
        """Wait for the running job, ignore its outcome, and end the process."""
        while self.job is not None:
            try:
                if isinstance(self.pipe.recv(), _JobError | _JobResult):
                    self.job = None
            except (EOFError, ConnectionError):
                break
        self.pipe.close()
        self._process.join()

    def _send(self, message: object) -> None:
        with suppress(ConnectionError):  # the process has died, which `receive_event` reports
            self.pipe.send(message)


@contextmanager
def block_signals() -> Iterator[None]:
    """Context: a process started inside receives Ctrl-C, which a terminal sends to all processes, once it is ready."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _ClosedPipeFlag:
    """A stop flag in a worker: set once the first process has closed its end of a pipe.

    An `Event` of multiprocessing has a lock that all workers share: one that the system kills while it looks at the
    event leaves it locked, and the others wait forever. And a first process that ends at once would leave its
    semaphores behind, of which Python warns on stderr.
    """

    def __init__(self, receiver: Connection) -> None:
        self._receiver = receiver

    def is_set(self) -> bool:
        return self._receiver.poll()


def _run_worker(pipe: Connection, stop_receiver: Connection, slot: WorkerSlot) -> None:
    """Receive the function, then run job after job until the pipe is closed."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the first process acts on them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # Before the function is unpickled: that imports libraries, which count the cores they may use when they start.
    _limit_to_share_of_cores(slot)
    channel = Channel(pipe, _ClosedPipeFlag(stop_receiver), slot)
    try:
        function = pipe.recv()
        while True:
            channel.send(_run_job(function, pipe.recv(), channel))
    except (EOFError, ConnectionError):
        return  # the first process needs no more results


def _run_job(function: JobFunction[Any, Any], job: object, channel: Channel) -> _JobResult | _JobError:
    try:
        return _JobResult(function(job, channel))
    except Exception as error:  # noqa: BLE001 - passed on and raised in the first process
        error.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
        return _JobError(error)


def _limit_to_share_of_cores(slot: WorkerSlot) -> None:
    """Limit this process to its share of the cores: torch, OpenCV, ONNX Runtime and wsisr start a thread for each core.

    On systems without CPU affinity (macOS), workers compete for the cores, which costs only time.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        first, end = (len(cores) * number // slot.count for number in (slot.number, slot.number + 1))
        os.sched_setaffinity(0, cores[first:end] or [cores[slot.number % len(cores)]])


def _exit_with_parent() -> None:
    """End this process when its parent is killed: a resumed run would find its work folders still locked."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
