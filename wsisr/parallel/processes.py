"""Worker processes: each does one job at a time, and one that dies costs only the job that it had in hand."""

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
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

J = TypeVar("J")
R = TypeVar("R")

HEARTBEAT_S = 0.2
"""Longest time between two things that happen, so that a wish to stop is heard while jobs are in hand."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag(Protocol):
    """To end; heard by who looks."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's place among the workers."""

    number: int
    """From 0; who takes the place of one that died has the same."""
    count: int


class Link:
    """What a job sees of the process that gave it."""

    def __init__(self, pipe: Connection, stop: StopFlag, seat: Seat) -> None:
        self.stop = stop
        self.seat = seat
        self._pipe = pipe
        self._lock = threading.Lock()

    def tell(self, what: object) -> None:
        """Anything that can be pickled; from any thread."""
        with self._lock:
            self._pipe.send(what)


@dataclass(frozen=True, slots=True)
class Told:
    """By a job in hand."""

    job: int
    what: Any


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    job: int
    result: R


@dataclass(frozen=True, slots=True)
class Died:
    """A job whose process was ended."""

    job: int
    code: int
    """Minus the signal's number, where it was one; else the exit code."""

    @property
    def why(self) -> str:
        return f"signal {-self.code}, out of memory?" if self.code < 0 else f"exit code {self.code}"


Happening: TypeAlias = Told | Done[R] | Died | None
"""None now and then."""

Work: TypeAlias = Callable[[J, Link], R]


def in_processes(work: Work[J, R], jobs: Sequence[J], count: int) -> Generator[Happening[R], None, None]:
    """What happens to jobs, by their place in the sequence, as it happens, until all are done or have died.

    `work` and jobs are pickled: functions and frozen dataclasses at module level. Each worker keeps to its share of the
    cores. What `work` raises is raised here. Left early, jobs in hand hear the wish to stop, and are waited for.
    """
    # Forking a process that has threads, as readers of slides start them, may lock it up.
    context = multiprocessing.get_context("spawn")
    stop, left = context.Event(), deque(enumerate(jobs))
    seats = deque(Seat(number, count) for number in range(count))
    crew: dict[Connection, _Worker] = {}
    try:
        while left or any(worker.job is not None for worker in crew.values()):
            while left and len(crew) < count:
                worker = _Worker(context, stop, seats.popleft(), work)
                crew[worker.pipe] = worker
            for worker in crew.values():
                if worker.job is None and left:
                    worker.take(*left.popleft())
            ready = wait(list(crew), HEARTBEAT_S)
            if not ready:
                yield None
            for pipe in ready:
                assert isinstance(pipe, Connection)
                worker = crew[pipe]
                idle, happening = worker.job is None, worker.heard()
                if isinstance(happening, Died):
                    seats.append(crew.pop(pipe).seat)
                    if idle:
                        continue  # which costs nobody anything
                yield happening
    finally:
        stop.set()
        for worker in crew.values():
            worker.end()


@dataclass(frozen=True, slots=True)
class _Result:
    value: Any


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception


class _Worker:
    """A process, as who gives it jobs sees it."""

    def __init__(self, context: SpawnContext, stop: StopFlag, seat: Seat, work: Work[Any, Any]) -> None:
        self.seat = seat
        self.job: int | None = None
        self.pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(theirs, stop, seat))
        with signals_held():
            self._process.start()
        theirs.close()  # so that the pipe ends with the process
        self._send(work)

    def take(self, number: int, job: object) -> None:
        self.job = number
        self._send(job)

    def heard(self) -> Happening[Any]:
        """What the process has to say. Raises what its work raised."""
        number = self.job if self.job is not None else -1
        try:
            said = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return Died(number, self._process.exitcode or 0)
        if isinstance(said, _Raised):
            self.job = None
            raise said.error
        if isinstance(said, _Result):
            self.job = None
            return Done(number, said.value)
        return Told(number, said)

    def end(self) -> None:
        """After the job in hand, whatever becomes of it."""
        while self.job is not None:
            try:
                if isinstance(self.pipe.recv(), _Raised | _Result):
                    self.job = None
            except (EOFError, ConnectionError):
                break
        self.pipe.close()
        self._process.join()

    def _send(self, what: object) -> None:
        with suppress(ConnectionError):  # it died, which is heard where it is asked
            self.pipe.send(what)


@contextmanager
def signals_held() -> Iterator[None]:
    """A process that begins within hears Ctrl-C, which goes to all processes of a terminal, when it is ready for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, stop: StopFlag, seat: Seat) -> None:
    """The life of a worker. What to do comes first, for it brings libraries that look how many cores there are."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # for the first process to act upon
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _keep_to_share(seat)
    link = Link(pipe, stop, seat)
    try:
        work = pipe.recv()
        while True:
            link.tell(_outcome(work, pipe.recv(), link))
    except (EOFError, ConnectionError):
        return  # nothing more is wanted


def _outcome(work: Work[Any, Any], job: object, link: Link) -> _Result | _Raised:
    try:
        return _Result(work(job, link))
    except Exception as error:  # noqa: BLE001 - handed over whole and raised where it is waited for
        error.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
        return _Raised(error)


def _keep_to_share(seat: Seat) -> None:
    """Torch, OpenCV, ONNX Runtime and we start as many threads as there are cores for this process: so there are fewer.

    Where the system knows no such thing (macOS), workers are in each other's way, which costs time and nothing else.
    """
    if hasattr(os, "sched_setaffinity"):
        present = sorted(os.sched_getaffinity(0))
        first, end = (len(present) * number // seat.count for number in (seat.number, seat.number + 1))
        os.sched_setaffinity(0, present[first:end] or [present[seat.number % len(present)]])


def _end_with_parent() -> None:
    """A run that is killed leaves nobody at work: whoever goes on with it would find its folders taken."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
